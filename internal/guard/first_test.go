package guard

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// loggedIn reports whether the user admin of a directory logs in with a password.
func loggedIn(t *testing.T, dir, password string) bool {
	t.Helper()
	g, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	who, err := login(t, g, SCRAM256, "admin", password)
	return err == nil && who.Name == "admin"
}

// The first user gets another password until one was shown, and never again.
func TestFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	add := func() *First {
		t.Helper()
		first, err := AddFirst(dir)
		if err != nil {
			t.Fatal(err)
		}
		return first
	}
	killed := add()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the directory: %v, %v", info.Mode(), err)
	}
	first := add()
	if first.Password == killed.Password || loggedIn(t, dir, killed.Password) {
		t.Error("a password that nobody has seen is still valid")
	}
	if err := killed.Show(func() error { t.Error("it is shown"); return nil }); err == nil {
		t.Error("a password that was replaced is shown")
	}
	broken := errors.New("the terminal is gone")
	if err := first.Show(func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("showing failed: %v", err)
	}
	first = add()
	if err := first.Show(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if again := add(); again != nil {
		t.Error("there is another first user")
	}
	if !loggedIn(t, dir, first.Password) {
		t.Error("the password that was shown is not valid")
	}
	data, err := os.ReadFile(filepath.Join(dir, UsersFile))
	if err != nil {
		t.Fatal(err)
	}
	if user, ok := mustUsers(t, dir)["admin"]; !ok || user.Role != Admin || user.Unseen {
		t.Errorf("the users are %s", data)
	}
}

// Where there are users, nobody is added.
func TestNoFirst(t *testing.T) {
	g, dir := open(t)
	add(t, g, "alice", "one", Reader)
	if first, err := AddFirst(dir); err != nil || first != nil {
		t.Errorf("a first user after alice: %v, %v", first, err)
	}
	if users := mustUsers(t, dir); len(users) != 1 {
		t.Errorf("the users are %v", users)
	}
}

func mustUsers(t *testing.T, dir string) map[string]User {
	t.Helper()
	users, err := readUsers(filepath.Join(dir, UsersFile))
	if err != nil {
		t.Fatal(err)
	}
	return users
}
