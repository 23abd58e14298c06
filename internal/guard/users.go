package guard

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"weir.example/weir/internal/saved"
	"weir.example/weir/internal/secret"
)

// UsersFile is the file of a data directory that has its users.
const UsersFile = "users.json"

// User is a user of a data directory. Users whose certificate or token names them need no
// credentials.
type User struct {
	Name  string `json:"name"`
	Role  Role   `json:"role,omitempty"`
	SCRAM []Keys `json:"scram,omitempty"` // one per mechanism
	Token string `json:"token,omitempty"` // SHA-256 of the bearer token, in hexadecimal digits

	// Unseen means that the user is a First whose password was not shown, and that may have no
	// ACLs yet.
	Unseen bool `json:"unseen,omitempty"`
}

// Mechanisms returns the mechanisms of the user's password.
func (u User) Mechanisms() []string {
	var all []string
	for _, k := range u.SCRAM {
		all = append(all, k.Mechanism)
	}
	return all
}

func (u User) keys(mechanism string) (Keys, bool) {
	i := slices.IndexFunc(u.SCRAM, func(k Keys) bool { return k.Mechanism == mechanism })
	if i < 0 {
		return Keys{}, false
	}
	return u.SCRAM[i], true
}

// identity changes with each of the user's credentials.
func (u User) identity() string {
	var b strings.Builder
	b.WriteString(u.Token)
	for _, k := range u.SCRAM {
		b.Write(k.Stored)
	}
	return b.String()
}

// Users are the users in a file. Changes by other processes are seen within a second.
type Users struct {
	path string

	loaded  atomic.Pointer[map[string]User]
	checked atomic.Int64 // when the file was looked at, in Unix nanoseconds

	mu      sync.Mutex
	version string // of the file that is loaded
	failed  error  // of the last attempt to load the file
}

const usersMode = 0o600

// noUsers returns the users of a process without a data directory.
func noUsers() *Users {
	u := &Users{}
	u.loaded.Store(&map[string]User{})
	return u
}

// OpenUsers reads the users of a data directory; a missing file has none.
func OpenUsers(dir string) (*Users, error) {
	u := &Users{path: filepath.Join(dir, UsersFile)}
	if err := u.load(); err != nil {
		return nil, err
	}
	return u, nil
}

// load reads the file if it has changed. After an error, the users are those loaded before.
func (u *Users) load() error {
	if u.path == "" {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.checked.Store(time.Now().UnixNano())
	version := ""
	info, err := os.Stat(u.path)
	switch {
	case err == nil:
		version = fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read users: %w", err)
	}
	if u.loaded.Load() != nil && version == u.version {
		return u.failed
	}
	users, err := readUsers(u.path)
	u.version, u.failed = version, err
	if err == nil {
		u.loaded.Store(&users)
	}
	return err
}

// all returns the current users, by name.
func (u *Users) all() map[string]User {
	if time.Now().UnixNano()-u.checked.Load() > int64(time.Second) {
		_ = u.load() // reported by Err
	}
	return *u.loaded.Load()
}

// Err returns why the file cannot be read any more, or nil.
func (u *Users) Err() error { return u.load() }

// Find returns the user with a name.
func (u *Users) Find(name string) (User, bool) {
	user, ok := u.all()[name]
	return user, ok
}

// Empty reports whether there are no users.
func (u *Users) Empty() bool { return len(u.all()) == 0 }

// List returns all users, by name.
func (u *Users) List() []User {
	var list []User
	for _, user := range u.all() {
		list = append(list, user)
	}
	slices.SortFunc(list, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// withToken returns the user with a bearer token.
func (u *Users) withToken(token string) (User, bool) {
	hash := tokenHash(token)
	for _, user := range u.all() {
		if user.Token != "" && user.Token == hash { // hashes may be compared in any time
			return user, true
		}
	}
	return User{}, false
}

// usersFile is the form of the file.
type usersFile struct {
	Version int    `json:"version"`
	Users   []User `json:"users"`
}

const usersVersion = 1

// maxUsersFile bounds the file: a million users.
const maxUsersFile = 1 << 30

func readUsers(path string) (map[string]User, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return make(map[string]User), nil
	}
	if err == nil {
		if err := secret.CheckPrivate(path); err != nil {
			return nil, fmt.Errorf("%w, and rotate the passwords", err)
		}
	}
	if err == nil && info.Size() > maxUsersFile {
		err = errors.New("the file is too large")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path) //nolint:gosec // in the data directory
	}
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	users, err := decodeUsers(data)
	if err != nil {
		return nil, fmt.Errorf("read users in %s: %w", path, err)
	}
	return users, nil
}

func decodeUsers(data []byte) (map[string]User, error) {
	const restore = "restore the file, or remove it and add the users again"
	var file usersFile
	if err := saved.Decode(data, &file, "version"); err != nil {
		return nil, fmt.Errorf("%w: %s", err, restore)
	}
	switch {
	case file.Version > usersVersion:
		return nil, fmt.Errorf("version %d is that of a newer Weir: run that, or %s", file.Version, restore)
	case file.Version < usersVersion:
		return nil, fmt.Errorf("there is no version %d: %s", file.Version, restore)
	}
	users := make(map[string]User)
	for _, user := range file.Users {
		if _, twice := users[user.Name]; twice || user.Name == "" {
			return nil, fmt.Errorf("the user %q is there twice, or has no name: %s", user.Name, restore)
		}
		users[user.Name] = user
	}
	return users, nil
}

func encodeUsers(users map[string]User) ([]byte, error) {
	file := usersFile{Version: usersVersion}
	for _, user := range users {
		file.Users = append(file.Users, user)
	}
	slices.SortFunc(file.Users, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	return json.MarshalIndent(file, "", "  ")
}

// Change calls change with the users, and writes what it leaves. No other process changes them in
// the meantime.
func (u *Users) Change(change func(users map[string]User) error) error {
	lock := flock.New(u.path+".lock", flock.SetPermissions(usersMode))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("lock users: %w", err)
	}
	defer lock.Unlock() //nolint:errcheck // closing the file releases the lock in any case
	users, err := readUsers(u.path)
	if err != nil {
		return err
	}
	if err := change(users); err != nil {
		return err
	}
	data, err := encodeUsers(users)
	if err != nil {
		return err
	}
	if err := writePrivate(u.path, append(data, '\n')); err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	return u.load()
}

// writePrivate replaces a file that only its owner may read, durably.
func writePrivate(path string, data []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, usersMode) //nolint:gosec // in the data directory
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(usersMode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// NewToken returns a bearer token and its hash.
func NewToken() (token, hash string) {
	token = "weir_" + randomText(32)
	return token, tokenHash(token)
}

// NewPassword returns a random password of 160 bits.
func NewPassword() string { return randomText(20) }

func randomText(bytes int) string {
	random := make([]byte, bytes)
	_, _ = rand.Read(random) // it never fails
	return base64.RawURLEncoding.EncodeToString(random)
}

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
