package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/tlsconf/tlstest"
)

// secure starts a broker with TLS whose certificate and authority are in dir/tls.
func secure(t *testing.T) (b *Broker, ca *tlsconf.Authority, dir string) {
	t.Helper()
	dir = t.TempDir()
	served, ca := tlstest.Server(t, filepath.Join(dir, "tls"), true)
	b = open(t, Config{Dir: dir, TLS: served})
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, ca, dir
}

// own returns the client of a process that owns the directory.
func own(t *testing.T, b *Broker, dir string) *kgo.Client {
	t.Helper()
	c, err := broker.Connect(t.Context(), broker.Config{Brokers: []string{b.Addr()}, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func addUser(t *testing.T, b *Broker, name, password string) {
	t.Helper()
	if err := b.Guard().Users().Change(func(all map[string]guard.User) error {
		keys, err := guard.BothKeys(password)
		all[name] = guard.User{Name: name, SCRAM: keys}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func allow(t *testing.T, c *kgo.Client, principal string) {
	t.Helper()
	acls := kadm.NewACLs().Allow("User:" + principal).AllowHosts("*").Topics("*").Operations(kadm.OpAll).ResourcePatternType(kadm.ACLPatternLiteral)
	created, err := kadm.NewClient(c).CreateACLs(t.Context(), acls)
	if err != nil || len(created) != 1 || created[0].Err != nil {
		t.Fatalf("create ACL: %+v, %v", created, err)
	}
}

// TestLogins writes and reads with each way to log in, over TLS.
func TestLogins(t *testing.T) {
	b, ca, dir := secure(t)
	addUser(t, b, "alice", "secret of alice")
	root := own(t, b, dir)
	createTopic(t, root, "t", nil)
	allow(t, root, "alice")
	allow(t, root, "CN=press")
	allow(t, root, "CN=hall 2")
	trust, err := tlsconf.Client(ca.CertFile, "", "")
	if err != nil {
		t.Fatal(err)
	}
	withCert := func(name string, from *tlsconf.Authority) kgo.Opt {
		cert, key, err := from.Issue(t.TempDir(), tlsconf.Request{Name: name, Client: true}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		conf, err := tlsconf.Client(ca.CertFile, cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return kgo.DialTLSConfig(conf)
	}
	stranger, err := tlsconf.OpenAuthority(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	alice := scram.Auth{User: "alice", Pass: "secret of alice"}
	for _, tt := range []struct {
		name string
		opts []kgo.Opt
		ok   bool
	}{
		{"SCRAM-SHA-256", []kgo.Opt{kgo.DialTLSConfig(trust), kgo.SASL(alice.AsSha256Mechanism())}, true},
		{"SCRAM-SHA-512", []kgo.Opt{kgo.DialTLSConfig(trust), kgo.SASL(alice.AsSha512Mechanism())}, true},
		{"PLAIN", []kgo.Opt{kgo.DialTLSConfig(trust), kgo.SASL(plain.Auth{User: "alice", Pass: "secret of alice"}.AsMechanism())}, true},
		{"certificate", []kgo.Opt{withCert("press", ca)}, true},
		{"certificate of another authority", []kgo.Opt{withCert("press", stranger)}, false},
		{"wrong password", []kgo.Opt{kgo.DialTLSConfig(trust), kgo.SASL(scram.Auth{User: "alice", Pass: "x"}.AsSha256Mechanism())}, false},
		{"unknown user", []kgo.Opt{kgo.DialTLSConfig(trust), kgo.SASL(scram.Auth{User: "bob", Pass: "x"}.AsSha256Mechanism())}, false},
		{"internal user with another secret", []kgo.Opt{kgo.DialTLSConfig(trust), kgo.SASL(scram.Auth{User: guard.InternalName, Pass: "x"}.AsSha256Mechanism())}, false},
		{"no login", []kgo.Opt{kgo.DialTLSConfig(trust)}, false},
		{"no TLS", []kgo.Opt{kgo.SASL(alice.AsSha256Mechanism())}, false},
		{"TLS 1.1", []kgo.Opt{kgo.DialTLSConfig(&tls.Config{MaxVersion: tls.VersionTLS11, RootCAs: trust.RootCAs}), kgo.SASL(alice.AsSha256Mechanism())}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := client(t, b, append(tt.opts, kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"), kgo.RecordRetries(0), kgo.RequestRetries(0))...)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := c.Ping(ctx)
			if (err == nil) != tt.ok {
				t.Fatalf("login: %v", err)
			}
			if !tt.ok {
				return
			}
			if err := c.ProduceSync(ctx, &kgo.Record{Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatalf("produce: %v", err)
			}
			if fetched := c.PollFetches(ctx); fetched.NumRecords() == 0 {
				t.Errorf("fetch: %v", fetched.Err())
			}
		})
	}
}

// TestWithoutLogin checks that nothing but a login passes before it.
func TestWithoutLogin(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir})
	t.Cleanup(func() { _ = b.Close() })
	before := client(t, b)
	createTopic(t, before, "t", nil) // everybody may, without users
	acl := kadm.NewACLs().Deny("User:*").DenyHosts("*").Topics("t").Operations(kadm.OpAll).ResourcePatternType(kadm.ACLPatternLiteral)
	if created, err := kadm.NewClient(before).CreateACLs(t.Context(), acl); err != nil || !errors.Is(created[0].Err, kerr.SecurityDisabled) {
		t.Errorf("an ACL that nothing enforces: %+v, %v", created, err)
	}
	user := func(name string) []kadm.UpsertSCRAM {
		return []kadm.UpsertSCRAM{{User: name, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "p"}}
	}
	if users, err := kadm.NewClient(before).AlterUserSCRAMs(t.Context(), nil, user("mallory")); err != nil || !errors.Is(users["mallory"].Err, kerr.SecurityDisabled) {
		t.Errorf("a first user that locks out all others: %+v, %v", users, err)
	}
	root := own(t, b, dir)
	if users, err := kadm.NewClient(root).AlterUserSCRAMs(t.Context(), nil, user("alice")); err != nil || users["alice"].Err != nil {
		t.Fatalf("a user of the owner: %+v, %v", users, err)
	}
	// From now on, nobody may do anything without a login, on old and new connections.
	for _, c := range []*kgo.Client{before, client(t, b)} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if _, err := kadm.NewClient(c).ListTopics(ctx); err == nil {
			t.Error("topics are listed without a login")
		}
		cancel()
	}
	alice := client(t, b, kgo.SASL(scram.Auth{User: "alice", Pass: "p"}.AsSha256Mechanism()))
	topics, err := kadm.NewClient(alice).ListTopics(t.Context())
	if err != nil || len(topics) != 0 {
		t.Errorf("a user without ACLs sees %v, %v", topics, err)
	}
	// Without the last user, a login is still required.
	if users, err := kadm.NewClient(root).AlterUserSCRAMs(t.Context(), []kadm.DeleteSCRAM{{User: "alice", Mechanism: kadm.ScramSha256}}, nil); err != nil || users["alice"].Err != nil {
		t.Fatalf("remove the user: %+v, %v", users, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := kadm.NewClient(alice).ListGroups(ctx); err == nil { // ListTopics may be answered by a cache
		t.Error("a removed user's connection is served")
	}
	if _, err := kadm.NewClient(client(t, b)).ListTopics(ctx); err == nil {
		t.Error("the broker is open after its last user was removed")
	}
	if stored, err := os.ReadFile(filepath.Join(dir, dataDir, "sasl.json")); err == nil && strings.Contains(string(stored), "alice") {
		t.Error("kfake has stored the user")
	}
}

// TestRenewedCertificate replaces the files while the broker runs.
func TestRenewedCertificate(t *testing.T) {
	b, ca, dir := secure(t)
	trust, err := tlsconf.Client(ca.CertFile, "", "")
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		c, err := tls.Dial("tcp", b.Addr(), trust)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	old := serial()
	if _, _, err := ca.Issue(filepath.Join(dir, "tls"), tlsconf.Request{Name: "server", Hosts: []string{"127.0.0.1"}, Days: 7}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); serial() == old; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the broker serves the old certificate")
		}
	}
	own(t, b, dir) // pinned to the new one
	if left := time.Until(b.cfg.TLS.Expires()); left > 8*24*time.Hour {
		t.Errorf("the certificate expires in %v", left)
	}
}

// TestHalfOpenTLS checks that a connection without a handshake ends, and holds up nobody.
func TestHalfOpenTLS(t *testing.T) {
	served, _ := tlstest.Server(t, t.TempDir(), false)
	cfg := Config{Dir: t.TempDir(), TLS: served}
	cfg.Limits.LoginTimeout = 200 * time.Millisecond
	b := open(t, cfg)
	t.Cleanup(func() { _ = b.Close() })
	c, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own(t, b, cfg.Dir) // meanwhile
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection without a handshake: %v", err)
	}
}
