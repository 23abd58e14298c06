package embedded

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// checkAddresses returns an error for an invalid Config.Addr or Config.Advertise, and for a
// wildcard, which is no address that clients could use.
func checkAddresses(listen, advertise string) error {
	for _, addr := range []string{listen, advertise} {
		if addr == "" {
			continue
		}
		_, port, err := net.SplitHostPort(addr)
		if n, numeric := strconv.ParseUint(port, 10, 16); err != nil || numeric != nil || n == 0 && addr == advertise {
			return fmt.Errorf("invalid address %q: expected host:port, such as 127.0.0.1:9092", addr)
		}
	}
	switch {
	case wildcard(advertise):
		return fmt.Errorf("clients cannot connect to %s: choose for --advertise the host name or address at which they reach this machine", advertise)
	case wildcard(listen) && advertise == "":
		_, port, _ := net.SplitHostPort(listen) // valid, see above
		return fmt.Errorf("--listen %s accepts clients at every address of this machine, but does not say at which one they reach it: "+
			"add --advertise HOST:%s with that name or address, or listen at a single address, such as 127.0.0.1:%s", listen, port, port)
	}
	return nil
}

// wildcard reports whether an address stands for all addresses of the machine.
func wildcard(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// listen opens the broker's listener. It warns if other machines can reach it.
func (b *Broker) listen(network string) (net.Listener, error) {
	l, err := net.Listen(network, b.cfg.Addr) //nolint:noctx // kfake's ListenFn has no context
	if err != nil {
		return nil, err
	}
	if ap, err := netip.ParseAddrPort(l.Addr().String()); err == nil && !ap.Addr().Unmap().IsLoopback() {
		b.cfg.Logger.Warn("the embedded broker has neither TLS nor authentication: whoever reaches its address can read and write all topics",
			"part", "broker", "address", l.Addr().String())
	}
	if b.cfg.Advertise != "" {
		return advertised{l, b.cfg.Advertise}, nil
	}
	return l, nil
}

// advertised is a listener that reports an address other than its own: kfake announces the
// listener's address to clients.
type advertised struct {
	net.Listener
	address string
}

// Addr returns the address that is announced to clients.
func (a advertised) Addr() net.Addr { return address(a.address) }

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func explainListen(addr string, err, listenErr error) error {
	if errors.Is(listenErr, syscall.EADDRINUSE) {
		return fmt.Errorf("address %s is in use by another program: stop it, or choose another address with --listen", addr)
	}
	if listenErr != nil {
		return fmt.Errorf("listen on %s: %w", addr, listenErr)
	}
	return fmt.Errorf("start embedded broker: %w", err)
}
