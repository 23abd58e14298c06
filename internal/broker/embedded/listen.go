package embedded

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"weir.example/weir/internal/guard"
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

// checkExposed returns an error if other machines can reach the broker without TLS or a login.
func (b *Broker) checkExposed() error {
	err := guard.CheckExposed("the embedded broker", b.cfg.Addr, b.cfg.TLS != nil, !b.guard.Open())
	if err != nil && b.cfg.InsecureListen {
		b.cfg.Logger.Warn("whoever reaches the embedded broker can read and write all topics, or read the traffic: --insecure-listen allows it",
			"part", "broker", "address", b.cfg.Addr, "tls", b.cfg.TLS != nil, "login", !b.guard.Open())
		return nil
	}
	return err
}

// listen opens the broker's listener.
func (b *Broker) listen(network string) (net.Listener, error) {
	l, err := net.Listen(network, b.cfg.Addr) //nolint:noctx // kfake's ListenFn has no context
	if err != nil {
		return nil, err
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
