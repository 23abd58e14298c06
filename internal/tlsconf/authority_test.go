package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/syncbuf"
)

var discard = slog.New(slog.DiscardHandler)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T, dir string) *Authority {
	t.Helper()
	a, err := OpenAuthority(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, dir string, r Request) (cert *x509.Certificate, certFile, keyFile string) {
	t.Helper()
	certFile, keyFile, err := a.Issue(dir, r, now)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = readLeaf(certFile); err != nil {
		t.Fatal(err)
	}
	return cert, certFile, keyFile
}

// openssl runs a command of OpenSSL, which must accept what Go makes.
func openssl(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("no openssl: install the Debian package openssl, or run sudo make deps")
	}
	out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
	if err != nil {
		t.Errorf("openssl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Certificates have the names, uses and dates that were asked for, and OpenSSL verifies them.
func TestIssue(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	a := authority(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the directory: %v, %v", info.Mode(), err)
	}
	server, serverFile, serverKey := issue(t, a, dir, Request{Name: "server", Hosts: []string{"weir.example", "*.hall.example", "192.0.2.10", "2001:db8::7"}})
	client, clientFile, clientKey := issue(t, a, dir, Request{Name: "press-7", Client: true, Days: 30})
	if !slices.Equal(server.DNSNames, []string{"weir.example", "*.hall.example"}) || len(server.IPAddresses) != 2 ||
		!server.IPAddresses[0].Equal(net.ParseIP("192.0.2.10")) || !server.IPAddresses[1].Equal(net.ParseIP("2001:db8::7")) {
		t.Errorf("the server is %q %v", server.DNSNames, server.IPAddresses)
	}
	if client.Subject.String() != "CN=press-7" || len(client.DNSNames)+len(client.IPAddresses) > 0 {
		t.Errorf("the client is %s, %q, %v", client.Subject, client.DNSNames, client.IPAddresses)
	}
	for cert, days := range map[*x509.Certificate]int{a.cert: authorityDays, server: DefaultDays, client: 30} {
		if !cert.NotBefore.Equal(now.Add(-time.Hour)) || !cert.NotAfter.Equal(now.AddDate(0, 0, days)) {
			t.Errorf("%s is valid from %s to %s", cert.Subject, cert.NotBefore, cert.NotAfter)
		}
	}
	if server.SerialNumber.Cmp(client.SerialNumber) == 0 {
		t.Error("two certificates have the same serial number")
	}
	for _, file := range []string{serverKey, clientKey, filepath.Join(dir, authorityKey)} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of %s: %v, %v", file, info.Mode(), err)
		}
	}

	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	verify := func(cert *x509.Certificate, host string, use x509.ExtKeyUsage, at time.Time) bool {
		_, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{use}, CurrentTime: at})
		return err == nil
	}
	for _, c := range []struct {
		cert *x509.Certificate
		host string
		use  x509.ExtKeyUsage
		at   time.Time
		want bool
	}{
		{server, "weir.example", x509.ExtKeyUsageServerAuth, now, true},
		{server, "press.hall.example", x509.ExtKeyUsageServerAuth, now, true},
		{server, "192.0.2.10", x509.ExtKeyUsageServerAuth, now, true},
		{server, "2001:db8::7", x509.ExtKeyUsageServerAuth, now, true},
		{server, "evil.example", x509.ExtKeyUsageServerAuth, now, false},
		{server, "192.0.2.11", x509.ExtKeyUsageServerAuth, now, false},
		{server, "", x509.ExtKeyUsageClientAuth, now, false},
		{client, "", x509.ExtKeyUsageClientAuth, now, true},
		{client, "", x509.ExtKeyUsageServerAuth, now, false},
		{server, "weir.example", x509.ExtKeyUsageServerAuth, now.AddDate(0, 0, DefaultDays).Add(time.Second), false},
		{client, "", x509.ExtKeyUsageClientAuth, now.AddDate(0, 0, 31), false},
	} {
		if got := verify(c.cert, c.host, c.use, c.at); got != c.want {
			t.Errorf("%s for %q, use %d, at %s: %t", c.cert.Subject, c.host, c.use, c.at, got)
		}
	}
	ca, at := filepath.Join(dir, authorityCert), strconv.FormatInt(now.Unix(), 10)
	openssl(t, "verify", "-x509_strict", "-purpose", "sslserver", "-verify_ip", "192.0.2.10", "-attime", at, "-CAfile", ca, serverFile)
	openssl(t, "verify", "-x509_strict", "-purpose", "sslclient", "-attime", at, "-CAfile", ca, clientFile)
	if text := openssl(t, "x509", "-in", serverFile, "-noout", "-ext", "subjectAltName"); !strings.Contains(text, "DNS:weir.example") || !strings.Contains(text, "IP Address:192.0.2.10") {
		t.Errorf("OpenSSL reads %s", text)
	}
	openssl(t, "pkey", "-in", serverKey, "-check", "-noout")
}

// An authority is created once; a certificate is replaced by a renewed one, with another key.
func TestRenewal(t *testing.T) {
	dir := t.TempDir()
	a := authority(t, dir)
	first, certFile, _ := issue(t, a, dir, Request{Name: "server", Hosts: []string{"a"}})
	again := authority(t, dir)
	if !again.cert.Equal(a.cert) {
		t.Fatal("the second call has made another authority")
	}
	second, sameFile, keyFile := issue(t, again, dir, Request{Name: "server", Hosts: []string{"a"}})
	if sameFile != certFile || second.Equal(first) {
		t.Error("the certificate was not replaced")
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Errorf("the renewed certificate has another key: %v", err)
	}
	if err := second.CheckSignatureFrom(a.cert); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, authorityKey)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir, now); err == nil || !strings.Contains(err.Error(), authorityKey) {
		t.Errorf("half an authority: %v", err)
	}
}

// Names that are not those of files in the directory, and impossible lifetimes, are refused.
func TestIssueRefuses(t *testing.T) {
	dir := t.TempDir()
	a := authority(t, dir)
	before, err := os.ReadFile(filepath.Join(dir, authorityCert))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Request{
		{Name: ""}, {Name: "../x"}, {Name: "a/b"}, {Name: "ca"}, {Name: "ca-key"}, {Name: "server-key"}, {Name: "."}, {Name: ".."}, {Name: "a\x00b"}, {Name: "x", Days: -1}, {Name: "x", Days: authorityDays + 1},
	} {
		if _, _, err := a.Issue(dir, r, now); err == nil {
			t.Errorf("%+v was issued", r)
		}
	}
	if after, err := os.ReadFile(filepath.Join(dir, authorityCert)); err != nil || string(after) != string(before) {
		t.Errorf("the authority has changed: %v", err)
	}
	_, cert, key := issue(t, a, dir, Request{Name: "server", Hosts: []string{"a"}})
	other := t.TempDir()
	for from, to := range map[string]string{cert: authorityCert, key: authorityKey} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other, to), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenAuthority(other, now); err == nil || !strings.Contains(err.Error(), "not that of an authority") {
		t.Errorf("a server's certificate is an authority: %v", err)
	}
}

// serve answers TLS handshakes with a certificate until the test ends.
func serve(t *testing.T, s *Server) (addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// seen returns the certificate that a client sees.
func seen(t *testing.T, addr string, config *tls.Config) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// A server reads changed files again, keeps the certificate before while they cannot be used, and
// does so while connections are open.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	a, err := OpenAuthority(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	renew := func() *x509.Certificate {
		t.Helper()
		certFile, _, err := a.Issue(dir, Request{Name: "server", Hosts: []string{"127.0.0.1"}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		cert, err := readLeaf(certFile)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	first := renew()
	s, err := NewServer(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem"), "", discard)
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, s)
	trust, err := Client(a.CertFile, "", "")
	if err != nil {
		t.Fatal(err)
	}
	look := func() *x509.Certificate {
		t.Helper()
		s.checked.Store(0) // as if a second had passed
		return seen(t, addr, trust)
	}
	if !look().Equal(first) {
		t.Error("another certificate is served")
	}
	open, err := tls.Dial("tcp", addr, trust)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()

	second := renew()
	if !look().Equal(second) {
		t.Error("the renewed certificate is not served")
	}
	if _, err := open.Write([]byte("x")); err != nil {
		t.Errorf("a connection ends with the renewal: %v", err)
	}

	key := filepath.Join(dir, "server-key.pem")
	third := renew()
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if !look().Equal(second) {
		t.Error("a key that others can read is used")
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	if !look().Equal(third) {
		t.Error("the certificate is not read again once its key is private")
	}

	if err := os.WriteFile(filepath.Join(dir, "server.pem"), []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !look().Equal(third) {
		t.Error("an incomplete certificate replaces the one before")
	}
	if fourth := renew(); !look().Equal(fourth) {
		t.Error("the certificate is not read again after an incomplete one")
	}
}

// Only the certificate in the file is accepted by those who pin it.
func TestPinned(t *testing.T) {
	dir := t.TempDir()
	a, err := OpenAuthority(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if _, _, err := a.Issue(dir, Request{Name: name, Hosts: []string{"elsewhere"}}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	s, err := NewServer(filepath.Join(dir, "one.pem"), filepath.Join(dir, "one-key.pem"), "", discard)
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, s)
	for name, want := range map[string]bool{"one": true, "two": false} {
		config, err := Pinned(filepath.Join(dir, name+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.Dial("tcp", addr, config)
		if (err == nil) != want {
			t.Errorf("pinned to %s: %v", name, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

// The certificate that a server makes itself is kept as long as it fits, and whatever part is
// missing after a kill is made again, under the same authority.
func TestOwnServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "tls")
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	open := func(at time.Time, hosts ...string) (own OwnServer, cert *x509.Certificate) {
		t.Helper()
		own, err := OpenOwnServer(dir, hosts, at)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(own.CertFile, own.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		pool, err := readPool(own.Authority)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range hosts {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host, CurrentTime: at}); err != nil {
				t.Errorf("for %s: %v", host, err)
			}
		}
		return own, pair.Leaf
	}
	own, first := open(now, hosts...)
	if _, again := open(now.AddDate(0, 0, DefaultDays-61), hosts...); !again.Equal(first) {
		t.Error("a certificate that fits was replaced")
	}
	if _, other := open(now, "weir.example", "192.0.2.10"); other.Equal(first) {
		t.Error("the certificate has not got another name")
	}
	_, first = open(now, hosts...)
	if _, renewed := open(now.AddDate(0, 0, DefaultDays-59), hosts...); renewed.Equal(first) {
		t.Error("a certificate that expires soon was kept")
	}
	before, err := readLeaf(own.Authority)
	if err != nil {
		t.Fatal(err)
	}
	// What a kill leaves: any of the files may be missing, except that each key is written before
	// its certificate. A temporary file may remain.
	for _, missing := range [][]string{{own.CertFile}, {own.CertFile, own.KeyFile}, {own.KeyFile}, {own.CertFile, own.KeyFile, own.Authority}} {
		for _, file := range missing {
			if err := os.Rename(file, file+".tmp"); err != nil {
				t.Fatal(err)
			}
		}
		open(now, hosts...)
		after, err := readLeaf(own.Authority)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(after.RawSubjectPublicKeyInfo, before.RawSubjectPublicKeyInfo) {
			t.Errorf("without %v, the authority has another key", missing)
		}
	}
	text, err := os.ReadFile(own.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, authorityKey), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenOwnServer(dir, hosts, now); err == nil || !strings.Contains(err.Error(), "is not the key of") {
		t.Errorf("with the key of another certificate: %v", err)
	}
}

// A running process renews its certificate before it expires, and serves it under the same
// authority. A failed attempt is repeated.
func TestKeepOwnServer(t *testing.T) {
	dir, hosts := filepath.Join(t.TempDir(), "tls"), []string{"localhost"}
	own, err := OpenOwnServer(dir, hosts, now)
	if err != nil {
		t.Fatal(err)
	}
	var log syncbuf.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	server, err := NewServer(own.CertFile, own.KeyFile, "", logger)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := readPool(own.Authority)
	if err != nil {
		t.Fatal(err)
	}
	times := make(chan time.Time)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); KeepOwnServer(ctx, dir, hosts, times, logger) }()
	look := func(at time.Time) { times <- at; times <- now } // the second is received once the first is done
	first := server.Expires()
	look(now.AddDate(0, 0, DefaultDays-61))
	if text := log.String(); text != "" {
		t.Errorf("a certificate that fits was touched: %s", text)
	}
	late := now.AddDate(0, 0, DefaultDays-59)
	key, err := os.ReadFile(filepath.Join(dir, authorityKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, authorityKey)); err != nil {
		t.Fatal(err)
	}
	look(late)
	if text := log.String(); !strings.Contains(text, "cannot renew the certificate") {
		t.Errorf("without the authority's key: %s", text)
	}
	if err := os.WriteFile(filepath.Join(dir, authorityKey), key, 0o600); err != nil {
		t.Fatal(err)
	}
	look(late)
	server.checked.Store(0) // as if a second had passed
	if renewed := server.Expires(); !renewed.After(first) {
		t.Errorf("the certificate that is served expires at %s, and did before at %s: %s", renewed, first, log.String())
	}
	if _, err := server.config.Load().Certificates[0].Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "localhost", CurrentTime: late}); err != nil {
		t.Errorf("clients do not trust the renewed certificate: %v", err)
	}
	stop()
	<-ended
}
