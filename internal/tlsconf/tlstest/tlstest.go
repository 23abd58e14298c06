// Package tlstest makes certificates for tests.
package tlstest

import (
	"log/slog"
	"testing"
	"time"

	"weir.example/weir/internal/tlsconf"
)

// Server returns a server's new certificate for 127.0.0.1 and the authority that has issued it,
// whose files are in dir. With mutual, clients with certificates of the authority are known.
func Server(t testing.TB, dir string, mutual bool) (*tlsconf.Server, *tlsconf.Authority) {
	t.Helper()
	ca, err := tlsconf.OpenAuthority(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(dir, tlsconf.Request{Name: "server", Hosts: []string{"127.0.0.1"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	clientCA := ""
	if mutual {
		clientCA = ca.CertFile
	}
	served, err := tlsconf.NewServer(cert, key, clientCA, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return served, ca
}
