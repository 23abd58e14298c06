package mqtt

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"weir.example/weir/internal/guard"
)

// errConnect ends a connection whose CONNECT was answered with a refusal.
var errConnect = errors.New("the connection was refused")

// connect checks a CONNECT. It answers the client itself if it refuses it.
func (b *Broker) connect(cl *mochi.Client, pk *packets.Packet) error {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return errConnect
	}
	c.id, c.version, c.anonymous = cl.ID, cl.Properties.ProtocolVersion, pk.Connect.ClientIdentifier == ""
	refuse := func(code packets.Code, reason string) error {
		b.stats.refuse(reason)
		b.log.Debug("refused an MQTT client", "client", cl.ID, "remote", c.RemoteAddr().String(), "reason", reason)
		if c.version < 5 { // the codes that it has
			switch code {
			case packets.ErrNotAuthorized:
				code = packets.ErrBadUsernameOrPassword
			case packets.ErrQuotaExceeded, packets.ErrConnectionRateExceeded, packets.ErrQosNotSupported, packets.ErrTopicNameInvalid:
				code = packets.ErrServerUnavailable
			}
		}
		_ = b.server.SendConnack(cl, code, false, nil)
		return errConnect
	}
	if len(cl.ID) > maxClientID || strings.HasPrefix(cl.ID, "$") || cl.ID == mochi.InlineClientId {
		return refuse(packets.ErrClientIdentifierNotValid, "client ids that are too long or reserved")
	}
	var err error
	if c.who, err = b.login(c, pk); err != nil {
		if errors.Is(err, errTooManyFailures) {
			return refuse(packets.ErrConnectionRateExceeded, "addresses with too many failed logins")
		}
		return refuse(packets.ErrBadUsernameOrPassword, "logins")
	}
	owner := ""
	if c.who != nil {
		owner = c.who.Name
		if c.who.Role == "" && !c.who.Internal {
			return refuse(packets.ErrNotAuthorized, "users without a role")
		}
	}
	existing, known := b.server.Clients.Get(cl.ID)
	switch {
	case known && string(existing.Properties.Username) != owner:
		return refuse(packets.ErrClientIdentifierNotValid, "client ids of another user's session")
	case !known && b.crowded(owner):
		return refuse(packets.ErrQuotaExceeded, "clients with further sessions")
	}
	cl.Properties.Username = []byte(owner)
	// mochi-mqtt would send a message again without its topic, on a connection that does not know
	// the alias.
	cl.Properties.Props.TopicAliasMaximum = 0
	if topic := pk.Connect.WillTopic; pk.Connect.WillFlag {
		switch {
		case pk.Connect.WillQos > 1:
			return refuse(packets.ErrQosNotSupported, "wills with QoS 2")
		case len(topic) > maxTopic || strings.HasPrefix(topic, "$SYS") || strings.ContainsAny(topic, "+#"):
			return refuse(packets.ErrTopicNameInvalid, "wills with an invalid topic")
		case !b.may(c.who, cl.ID, topic, true):
			return refuse(packets.ErrNotAuthorized, "wills that the user may not publish")
		}
	}
	if c.version == 5 && (cl.State.Keepalive == 0 || cl.State.Keepalive > maxKeepalive) {
		cl.State.Keepalive, cl.State.ServerKeepalive = maxKeepalive, true
	}
	return nil
}

// crowded reports whether there is no room for another session of a user. Sessions of absent
// clients stay until they expire: there may be as many of them as connections, and a user may have
// half of all.
func (b *Broker) crowded(owner string) bool {
	n := b.server.Clients.Len()
	if n < b.cfg.MaxClients || n >= 2*b.cfg.MaxClients {
		return n >= 2*b.cfg.MaxClients
	}
	if owner == "" { // nobody has to log in
		return false
	}
	own := 0
	for _, cl := range b.server.Clients.GetAll() {
		if string(cl.Properties.Username) == owner {
			own++
		}
	}
	return own >= b.cfg.MaxClients
}

var (
	errTooManyFailures = errors.New("too many logins have failed")
	errNoLogin         = errors.New("no login")
)

// login returns who connects; nil if nobody has to log in.
func (b *Broker) login(c *conn, pk *packets.Packet) (*guard.Principal, error) {
	g := b.cfg.Guard
	if g == nil || g.Open() {
		return nil, nil //nolint:nilnil // nobody has to log in
	}
	if secure, ok := c.Conn.(*tls.Conn); ok && !pk.Connect.UsernameFlag && !pk.Connect.PasswordFlag {
		if state := secure.ConnectionState(); len(state.VerifiedChains) > 0 {
			return g.Certificate(state.PeerCertificates[0])
		}
	}
	if !pk.Connect.PasswordFlag {
		return nil, errNoLogin
	}
	from := addressOf(c.Conn)
	if !g.Failures.Allowed(from, time.Now()) {
		return nil, errTooManyFailures
	}
	b.logins <- struct{}{} // it takes milliseconds of CPU
	defer func() { <-b.logins }()
	who, err := credentials(g, string(pk.Connect.Username), string(pk.Connect.Password))
	if err != nil {
		g.Failures.Failed(from, time.Now())
		b.log.Warn("an MQTT login failed", "user", string(pk.Connect.Username), "remote", c.RemoteAddr().String())
	}
	return who, err
}

// credentials returns the principal of a user name and a password, or of a token in place of the
// password, whose user must be the one that is named, if one is.
func credentials(g *guard.Guard, user, password string) (*guard.Principal, error) {
	if user != "" && user != guard.InternalName {
		if who, err := g.Password(user, password); err == nil {
			return who, nil
		}
	}
	who, err := g.Token(password)
	if err == nil && user != "" && who.Name != user {
		return nil, errNoLogin
	}
	return who, err
}

func addressOf(c net.Conn) netip.Addr {
	addr, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap()
}

// valid reports whether the connection may go on.
func (c *conn) valid(now time.Time) bool {
	if c.who == nil {
		return c.b.cfg.Guard.Open()
	}
	return c.b.cfg.Guard.Valid(c.who, now)
}

// establish makes the connection the one that may change its session. It ends an older connection
// of the same client first, and waits for it: mochi-mqtt would remove the new session with the old
// one if they overlap.
func (b *Broker) establish(cl *mochi.Client, c *conn, pk *packets.Packet) {
	for {
		b.mu.Lock()
		old := b.current[c.id]
		if old == nil {
			b.current[c.id] = c
			b.conns[c] = struct{}{}
			b.mu.Unlock()
			break
		}
		b.mu.Unlock()
		old.disconnect(packets.ErrSessionTakenOver)
		<-old.finished
	}
	if pk.Connect.Clean {
		b.store.forget(c.id)
	}
	if persistent(cl) {
		b.store.session(cl)
	}
	b.store.sync()
}

// persistent reports whether a session outlives its connection.
func persistent(cl *mochi.Client) bool {
	if cl.Properties.ProtocolVersion == 5 {
		return cl.Properties.Props.SessionExpiryInterval > 0
	}
	return !cl.Properties.Clean
}

// owns reports whether a connection may change the session of its client.
func (b *Broker) owns(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current[c.id] == c
}
