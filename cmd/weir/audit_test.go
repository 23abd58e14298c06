package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir.example/weir/internal/registry/embedded"
	"weir.example/weir/internal/tlsconf/tlstest"
	"weir.example/weir/internal/trail"
)

// Users, ACLs and logins are managed from the command line, and the audit trail has all of it, and
// no password.
func TestUsersACLsAndAudit(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	up := start(t, "up", "--data-dir="+data, "--listen=127.0.0.1:0", "--rate=10", "--admin-listen=none")
	waitFor(t, "the broker", func() bool { return strings.Contains(up.errOut.String(), "weir verify") })
	password := strings.TrimSpace(lastLine(must(t, "users", "add", "alice", "--role=reader", "--data-dir="+data)))
	if password == "" {
		t.Fatal("no password is printed")
	}
	if code, _, stderr := do(t, "users", "add", "alice", "--role=reader", "--data-dir="+data); code == exitOK || !strings.Contains(stderr, "alice") {
		t.Errorf("a second alice: exit %d, %s", code, stderr)
	}
	if listed := must(t, "users", "list", "--data-dir="+data, "-o=json"); !strings.Contains(listed, "alice") || !strings.Contains(listed, "reader") || strings.Contains(listed, password) {
		t.Errorf("listed: %s", listed)
	}
	rotated := strings.TrimSpace(lastLine(must(t, "users", "rotate", "alice", "--data-dir="+data)))
	if rotated == "" || rotated == password {
		t.Error("the password has not changed")
	}
	must(t, "acl", "add", "--principal=alice", "--operation=write", "--topic=orders", "--data-dir="+data)
	if listed := must(t, "acl", "list", "--data-dir="+data, "-o=json"); !strings.Contains(listed, "orders") {
		t.Errorf("ACLs: %s", listed)
	}
	must(t, "acl", "remove", "--principal=alice", "--operation=write", "--topic=orders", "--data-dir="+data)
	if listed := must(t, "acl", "list", "--data-dir="+data, "-o=json"); strings.Contains(listed, "orders") {
		t.Errorf("ACLs after their removal: %s", listed)
	}
	must(t, "users", "remove", "alice", "--data-dir="+data)
	if listed := must(t, "users", "list", "--data-dir="+data, "-o=json"); strings.Contains(listed, "alice") {
		t.Errorf("listed after the removal: %s", listed)
	}
	up.signal(syscall.SIGTERM)
	if code := up.wait(time.Minute); code != exitOK {
		t.Fatalf("exit %d: %s", code, up.errOut.String())
	}

	lines := must(t, "audit", "--data-dir="+data, "-o=json")
	if strings.Contains(lines, password) || strings.Contains(lines, rotated) {
		t.Error("the audit trail has a password")
	}
	found := make(map[string]int)
	for line := range strings.Lines(lines) {
		var d trail.Deed
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		found[d.What+" "+d.On]++
	}
	for _, want := range []string{
		"command up", "command-end up", "command users add alice", "command-end users rotate alice", "command acl add", "command users remove alice",
		"topic-create sensor_data_tx",
	} {
		ok := false
		for what := range found {
			ok = ok || strings.HasPrefix(what, want)
		}
		if !ok {
			t.Errorf("%q is missing in %v", want, found)
		}
	}
	if failed := must(t, "audit", "--data-dir="+data, "--failed", "--what=command-end"); strings.Count(failed, "\n") != 2 || !strings.Contains(failed, "users add alice") {
		t.Errorf("failed commands: %s", failed)
	}
	if code, _, stderr := do(t, "audit", "--data-dir="+data, "--what=nothing"); code != exitUsage || !strings.Contains(stderr, "user-change") {
		t.Errorf("an unknown kind: exit %d, %s", code, stderr)
	}
	if code, _, _ := do(t, "audit", "--data-dir="+filepath.Join(data, "missing")); code != exitFailed {
		t.Errorf("a missing directory: exit %d", code)
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// With --registry-login, the registry knows the broker's users, and processes that may read the
// data directory log in by themselves. What is registered is in the audit trail.
func TestRegistryLogin(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	up := start(t, "up", "--data-dir="+data, "--listen=127.0.0.1:0", "--rate=10", "--format=avro-confluent", "--registry-login", "--admin-listen=none")
	var url string
	waitFor(t, "the registry", func() bool {
		url, _ = embedded.Find(data)
		return url != "" && strings.Contains(up.errOut.String(), "weir verify")
	})
	if code := statusOf(t, url+"/subjects", "", ""); code != http.StatusOK {
		t.Errorf("without users: %d", code)
	}
	password := lastLine(must(t, "users", "add", "bob", "--role=reader", "--data-dir="+data))
	waitFor(t, "the user", func() bool { return statusOf(t, url+"/subjects", "", "") == http.StatusUnauthorized })
	if code := statusOf(t, url+"/subjects", "bob", password); code != http.StatusOK {
		t.Errorf("a reader: %d", code)
	}
	file := filepath.Join(t.TempDir(), "s.avsc")
	if err := os.WriteFile(file, []byte(`{"type":"string"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := do(t, "schema", "register", "s", "--file="+file, "--registry="+url, "--registry-user=bob", "--registry-password="+password); code != exitFailed || !strings.Contains(stderr, "operator") {
		t.Errorf("a reader registers a schema: exit %d, %s", code, stderr)
	}
	waitFor(t, "statistics of readings with a schema", func() bool {
		_, rows, _ := do(t, "tail", "device_stats", "--from-start", "--until-end", "--data-dir="+data)
		return strings.Contains(rows, "device-")
	})
	must(t, "schema", "register", "s", "--file="+file, "--data-dir="+data)
	up.signal(syscall.SIGTERM)
	if code := up.wait(time.Minute); code != exitOK {
		t.Fatalf("exit %d: %s", code, up.errOut.String())
	}
	if changes := must(t, "audit", "--what=schema-change", "--data-dir="+data); !strings.Contains(changes, "/subjects/s/versions") {
		t.Errorf("the audit trail has %s", changes)
	}
}

func statusOf(t *testing.T, url, user, password string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// The console, the admin port and the registry of weir up have the broker's users and, at addresses
// that other machines can reach, its certificate; failed logins count together.
func TestUpLogins(t *testing.T) {
	data, tls := filepath.Join(t.TempDir(), "data"), t.TempDir()
	tlstest.Server(t, tls, false)
	token := lastLine(must(t, "users", "add", "prometheus", "--role=reader", "--token", "--data-dir="+data))
	password := lastLine(must(t, "users", "add", "bob", "--role=operator", "--data-dir="+data))
	up := start(t, "up", "--data-dir="+data, "--listen=127.0.0.1:0", "--rate=10", "--format=avro-confluent",
		"--registry-listen=0.0.0.0:0", "--console-listen=0.0.0.0:0", "--admin-listen=127.0.0.1:0",
		"--listen-cert="+filepath.Join(tls, "server.pem"), "--listen-key="+filepath.Join(tls, "server-key.pem"))
	waitFor(t, "the start", func() bool { return strings.Contains(up.errOut.String(), "weir verify") })
	find := func(pattern string) string {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatch(up.errOut.String())
		if found == nil {
			t.Fatalf("no %s in %s", pattern, up.errOut.String())
		}
		return found[1]
	}
	admin := find(`(http://127\.0\.0\.1:\d+)/metrics`)
	_, port, _ := strings.Cut(find(`(https://\[::\]:\d+)\s.*(?i:console|read)`), "]:")
	page := "https://127.0.0.1:" + port
	if code := statusOf(t, admin+"/metrics", "", ""); code != http.StatusUnauthorized {
		t.Errorf("the admin port without a login: %d", code)
	}
	if code := statusOf(t, admin+"/metrics", "bob", password); code != http.StatusOK {
		t.Errorf("the admin port: %d", code)
	}
	ca := "--console-ca=" + filepath.Join(tls, "ca.pem")
	if text := must(t, "status", "--console="+page, ca, "--console-user=bob", "--console-password="+password, "-o=json"); !strings.Contains(text, "pipelines") {
		t.Errorf("status as a user: %s", text)
	}
	must(t, "status", "--console="+page, ca, "--console-token="+token)
	if code, _, stderr := do(t, "status", "--console="+page, ca); code != exitFailed || !strings.Contains(stderr, "--console-user") {
		t.Errorf("status without a login: exit %d, %s", code, stderr)
	}
	if listed := must(t, "schema", "list", "--data-dir="+data); !strings.Contains(listed, "sensor_data_tx") {
		t.Errorf("schemas by TLS: %s", listed)
	}
	for range 40 {
		statusOf(t, admin+"/status", "bob", "guess")
	}
	if code, _, stderr := do(t, "status", "--console="+page, ca, "--console-user=bob", "--console-password="+password); code != exitFailed || !strings.Contains(stderr, "too many logins") {
		t.Errorf("the console after 40 guesses at the admin port: exit %d, %s", code, stderr)
	}
	up.signal(syscall.SIGTERM)
	if code := up.wait(time.Minute); code != exitOK {
		t.Fatalf("exit %d: %s", code, up.errOut.String())
	}
	if logins := must(t, "audit", "--what=login", "--who=bob", "--data-dir="+data); !strings.Contains(logins, "console: password") || !strings.Contains(logins, "admin port: password") {
		t.Errorf("the audit trail has %s", logins)
	}
}
