package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/trail"
)

// The audit trail says who has logged in, or has failed to, and who has changed what, or was
// denied. It has no secrets.
func TestTrailOfClients(t *testing.T) {
	dir := t.TempDir()
	users, err := guard.OpenUsers(dir)
	if err != nil {
		t.Fatal(err)
	}
	const password = "correct horse battery"
	if err := users.Change(func(all map[string]guard.User) error {
		keys, err := guard.BothKeys(password)
		all["alice"] = guard.User{Name: "alice", SCRAM: keys}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b := open(t, Config{Dir: dir})
	connect := func(name, password string) *kgo.Client {
		c, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.SASL(scram.Auth{User: name, Pass: password}.AsSha256Mechanism()), kgo.RequestRetries(0))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	secret, err := guard.Secret(dir)
	if err != nil {
		t.Fatal(err)
	}
	root := connect(guard.InternalName, secret)
	if _, err := kadm.NewClient(root).CreateTopic(t.Context(), 1, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	root.Close()
	alice := connect("alice", password)
	if _, err := kadm.NewClient(alice).DeleteTopic(t.Context(), "orders"); !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("alice deletes a topic: %v", err)
	}
	alice.Close()
	guess := connect("alice", "wrong "+password)
	if err := guess.Ping(t.Context()); err == nil {
		t.Error("a wrong password is accepted")
	}
	guess.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	if _, err := trail.Read(dir, trail.Filter{}, func(d trail.Deed) error {
		outcome := "done"
		if d.Error != "" {
			outcome = "refused"
		}
		got = append(got, strings.Join([]string{d.Who, d.What, d.On, outcome}, " "))
		if d.From != "127.0.0.1" || d.At.IsZero() {
			t.Errorf("%+v", d)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"weir topic-create orders done", "alice login SCRAM-SHA-256 done", "alice topic-delete orders refused", " login SCRAM-SHA-256 refused",
	} {
		found := false
		for _, line := range got {
			found = found || line == want
		}
		if !found {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "audit*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || strings.Contains(string(text), "correct horse") || strings.Contains(string(text), secret) {
			t.Errorf("%s: %v, or it has a secret", file, err)
		}
	}
}
