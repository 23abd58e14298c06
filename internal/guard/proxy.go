package guard

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the reverse proxies whose headers are believed. Other clients' headers are ignored.
type Proxies struct {
	From   []netip.Prefix // their addresses
	Header string         // names the user; default DefaultProxyHeader
}

// DefaultProxyHeader is the header in which a proxy names the user.
const DefaultProxyHeader = "X-Forwarded-User"

// ParseProxies returns the proxies with these addresses or networks, such as 192.0.2.0/24.
func ParseProxies(addresses []string, header string) (Proxies, error) {
	p := Proxies{Header: header}
	for _, text := range addresses {
		prefix, err := netip.ParsePrefix(text)
		if addr, failed := netip.ParseAddr(text); failed == nil {
			prefix, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
		}
		if err != nil {
			return Proxies{}, fmt.Errorf("invalid address of a proxy %q: expected an address or a network, such as 192.0.2.7 or 192.0.2.0/24", text)
		}
		p.From = append(p.From, prefix.Masked())
	}
	return p, nil
}

func (p *Proxies) has(addr netip.Addr) bool {
	return slices.ContainsFunc(p.From, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// user returns the user that a proxy names, or "". A header that is there twice names nobody, since
// one of them may be the client's.
func (p *Proxies) user(r *http.Request) string {
	name := p.Header
	if name == "" {
		name = DefaultProxyHeader
	}
	if !p.has(From(r)) || len(r.Header.Values(name)) != 1 {
		return ""
	}
	return r.Header.Get(name)
}

// secure reports whether a proxy has received a request by TLS.
func (p *Proxies) secure(r *http.Request) bool {
	return p.has(From(r)) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// client returns the address of a request's client: behind proxies, the last one that no proxy has.
func (p *Proxies) client(r *http.Request) netip.Addr {
	at := From(r)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for p.has(at) && len(hops) > 0 {
		before, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1]))
		if err != nil {
			break
		}
		at, hops = before.Unmap(), hops[:len(hops)-1]
	}
	return at
}
