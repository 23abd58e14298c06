package guard

import (
	"fmt"
	"net"
	"net/netip"
)

// Loopback reports whether only this machine can reach an address.
func Loopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// ExposedError means that an address is reachable from other machines, and not protected.
type ExposedError struct {
	Part    string // that listens
	Address string
	Missing string
}

// Error names the address, what is missing, and the ways forward.
func (e *ExposedError) Error() string {
	return fmt.Sprintf("%s at %s can be reached by other machines, and has %s: serve TLS with --listen-cert and --listen-key (weir cert makes them) "+
		"and add a user with weir users add (weir up --secure-listen does both), listen at 127.0.0.1, or say --insecure-listen", e.Part, e.Address, e.Missing)
}

// CheckExposed returns an *ExposedError if other machines can reach an address without TLS or
// without a login.
func CheckExposed(part, hostPort string, tls, login bool) error {
	if Loopback(hostPort) || tls && login {
		return nil
	}
	missing := "neither TLS nor a login"
	switch {
	case login:
		missing = "no TLS"
	case tls:
		missing = "no login"
	}
	return &ExposedError{part, hostPort, missing}
}
