package main

import (
	"crypto/tls"
	"crypto/x509"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir.example/weir/internal/longtest"
)

var shown = regexp.MustCompile(`First start: user admin, password (\S+)`)

// trusting returns a client of HTTP that trusts an authority only.
func trusting(t *testing.T, authority string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(authority)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
	}}
}

// The first start makes a certificate and a user, and shows the password once; the next ones use
// them. A first start that is killed at any time is completed by the next one: the last password
// that was shown is valid, on the broker as well.
func TestSecureListen(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	args := []string{"up", "--data-dir=" + data, "--no-fleet", "--listen=127.0.0.1:0", "--console-listen=0.0.0.0:0", "--admin-listen=0.0.0.0:0", "--secure-listen"}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
	password := ""
	for range longtest.Size(2, 4, 40) {
		up := start(t, args...)
		time.Sleep(time.Duration(random.IntN(600)) * time.Millisecond)
		up.kill()
		if found := shown.FindStringSubmatch(up.errOut.String()); found != nil {
			password = found[1]
		}
	}
	addresses := regexp.MustCompile(`(?s)broker at (127\.0\.0\.1:\d+).*https://\[::\]:(\d+) +live console.*https://\[::\]:(\d+)/metrics`)
	begin := func() (up *weir, broker, console, admin string) {
		t.Helper()
		up = start(t, args...)
		waitFor(t, "the start", func() bool { return addresses.MatchString(up.errOut.String()) })
		found := addresses.FindStringSubmatch(up.errOut.String())
		return up, found[1], "https://127.0.0.1:" + found[2], "https://127.0.0.1:" + found[3]
	}
	end := func(up *weir) {
		t.Helper()
		up.signal(syscall.SIGTERM)
		if code := up.wait(time.Minute); code != exitOK {
			t.Fatalf("exit %d: %s", code, up.errOut.String())
		}
	}
	up, _, _, _ := begin()
	if found := shown.FindStringSubmatch(up.errOut.String()); found != nil {
		password = found[1]
	}
	if password == "" {
		t.Fatalf("no password was shown: %s", up.errOut.String())
	}
	end(up)

	up, broker, console, admin := begin()
	if shown.MatchString(up.errOut.String()) {
		t.Error("a password is shown again")
	}
	authority := filepath.Join(data, "tls", "ca.pem")
	client := trusting(t, authority)
	get := func(url, password string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth("admin", password)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for _, url := range []string{console + "/api/overview", admin + "/metrics"} {
		if none, wrong, right := get(url, ""), get(url, "guess"), get(url, password); none != 401 || wrong != 401 || right != 200 {
			t.Errorf("%s: %d without a login, %d with a wrong password, %d as admin", url, none, wrong, right)
		}
	}
	remote := []string{"--brokers=" + broker, "--tls-ca=" + authority, "--sasl=SCRAM-SHA-512", "--user=admin", "--password=" + password}
	if listed := must(t, append([]string{"acl", "list"}, remote...)...); !strings.Contains(listed, "User:admin") {
		t.Errorf("the ACLs are %s", listed)
	}
	if code, _, _ := do(t, "acl", "list", "--brokers="+broker, "--tls-ca="+authority); code == exitOK {
		t.Error("the broker needs no login")
	}
	must(t, "users", "list", "--data-dir="+data)
	end(up)
	for _, file := range []string{"users.json", "tls/ca-key.pem", "tls/server-key.pem"} {
		if info, err := os.Stat(filepath.Join(data, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", file, info.Mode(), err)
		}
	}
	_ = filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), password) {
			t.Errorf("%s has the password, or cannot be read: %v", path, err)
		}
		return nil
	})
}

func TestSecureListenRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"leave out --brokers": {"--brokers=127.0.0.1:1"},
		"exclude each other":  {"--insecure-listen"},
	} {
		args = append([]string{"up", "--data-dir=" + filepath.Join(t.TempDir(), "data"), "--secure-listen"}, args...)
		if code, _, stderr := do(t, args...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("weir %s: exit %d, %s", strings.Join(args, " "), code, stderr)
		}
	}
}
