package front

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/guard"
)

// Logins are served here, in the goroutine that reads a connection: kfake never sees them. Until a
// client has logged in, its connection passes only ApiVersions.

// SetGuard requires clients to log in, as soon as the guard has a way to. Call it before Accept.
func (l *Listener) SetGuard(g *guard.Guard) { l.guard = g }

// SetTLS serves TLS. Call it before Accept.
func (l *Listener) SetTLS(config *tls.Config) { l.tls = config }

// session is the login of a connection; only Read uses it.
type session struct {
	mechanism    string // of the login that has begun; "" if none has
	conversation guard.Conversation
}

// handshake completes the TLS handshake, and logs in with the client's certificate.
func (c *conn) handshake() error {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	_ = secure.SetDeadline(time.Now().Add(c.l.limits.LoginTimeout)) // fails on a closed connection, and so does the handshake
	if err := secure.Handshake(); err != nil {                      //nolint:noctx // the deadline bounds it
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return &refusal{ReasonSlow, "no TLS handshake within " + c.l.limits.LoginTimeout.String()}
		}
		if errors.Is(err, io.EOF) {
			return err // a port scan, or a process that looks whether the broker runs
		}
		return &refusal{ReasonTLS, err.Error()}
	}
	_ = secure.SetDeadline(time.Time{})
	c.deadline = time.Time{}
	if state := secure.ConnectionState(); len(state.VerifiedChains) > 0 && c.l.guard != nil {
		who, err := c.l.guard.Certificate(state.PeerCertificates[0])
		c.l.reportLogin(who, c.from, "certificate "+state.PeerCertificates[0].Subject.String(), err)
		if err != nil {
			return &refusal{ReasonLogin, err.Error()}
		}
		c.who.Store(who)
	}
	return nil
}

// authorized returns a refusal if a request needs a login that its connection does not have.
func (c *conn) authorized(key kmsg.Key) error {
	if c.l.guard == nil || key == kmsg.ApiVersions {
		return nil
	}
	who := c.who.Load()
	if who == nil {
		if c.l.guard.Open() {
			return nil
		}
		return &refusal{ReasonLogin, fmt.Sprintf("%s without a login", kmsg.NameForKey(int16(key)))}
	}
	if !c.l.guard.Valid(who, time.Now()) {
		return &refusal{ReasonLogin, fmt.Sprintf("the login of %q has ended", who.Name)}
	}
	return nil
}

// idleTimeout returns how long a connection may take for its next request: not long before its
// login.
func (c *conn) idleTimeout() time.Duration {
	if c.loggedIn() {
		return c.l.limits.IdleTimeout
	}
	return min(c.l.limits.LoginTimeout, c.l.limits.IdleTimeout)
}

// loggedIn reports whether the client has logged in, or does not have to.
func (c *conn) loggedIn() bool {
	return c.l.guard == nil || c.who.Load() != nil || c.l.guard.Open()
}

// maxLoginFrame is the size of a request before the login: Kafka's sasl.server.max.receive.size.
const maxLoginFrame = 512 << 10

// isLogin reports whether a request is a part of a login.
func isLogin(key int16) bool {
	return key == int16(kmsg.SASLHandshake) || key == int16(kmsg.SASLAuthenticate)
}

// login answers a request of a login.
func (c *conn) login(req request, frame []byte) error {
	body, err := served()[req.key].at(req.version).header(frame[headerBytes:])
	if err != nil {
		return &refusal{ReasonMalformed, err.Error()}
	}
	parsed := kmsg.RequestForKey(req.key)
	parsed.SetVersion(req.version)
	if err := parsed.ReadFrom(body); err != nil {
		return &refusal{ReasonMalformed, err.Error()}
	}
	if err := c.waitForAnswers(); err != nil {
		return err
	}
	var resp kmsg.Response
	var failed error
	switch r := parsed.(type) {
	case *kmsg.SASLHandshakeRequest:
		resp, failed = c.onHandshake(r)
	case *kmsg.SASLAuthenticateRequest:
		resp, failed = c.onAuthenticate(r)
	}
	answer := append(make([]byte, 4, 256), byte(req.correlation>>24), byte(req.correlation>>16), byte(req.correlation>>8), byte(req.correlation))
	if resp.IsFlexible() {
		answer = append(answer, 0) // no tagged fields in the header
	}
	if err := c.send(resp.AppendTo(answer)); err != nil {
		return err
	}
	return failed
}

// send writes a frame, whose first four bytes are for its size.
func (c *conn) send(frame []byte) error {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))         //nolint:gosec // a short frame
	_ = c.SetWriteDeadline(time.Now().Add(c.l.limits.LoginTimeout)) // fails on a closed connection, and so does Write
	_, err := c.Conn.Write(frame)
	return err
}

// waitForAnswers waits until the answers to all earlier requests were written.
func (c *conn) waitForAnswers() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		waiting := c.writing || slices.ContainsFunc(c.pending, func(r request) bool { return r.answered })
		switch {
		case c.dead:
			return net.ErrClosed
		case !waiting:
			return nil
		}
		c.written.Wait()
	}
}

func (c *conn) onHandshake(r *kmsg.SASLHandshakeRequest) (kmsg.Response, error) {
	resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse) //nolint:forcetypeassert // kmsg pairs them
	if c.l.guard == nil {
		resp.ErrorCode = kerr.IllegalSaslState.Code
		return resp, &refusal{ReasonLogin, "logins are not served"}
	}
	resp.SupportedMechanisms = c.l.guard.Mechanisms()
	conversation, ok := c.l.guard.Start(r.Mechanism)
	if !ok {
		resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		return resp, &refusal{ReasonLogin, fmt.Sprintf("mechanism %q: %s are served", r.Mechanism, strings.Join(resp.SupportedMechanisms, ", "))}
	}
	c.session = session{mechanism: r.Mechanism, conversation: conversation}
	return resp, nil
}

func (c *conn) onAuthenticate(r *kmsg.SASLAuthenticateRequest) (kmsg.Response, error) {
	resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse) //nolint:forcetypeassert // kmsg pairs them
	if c.session.conversation == nil {
		resp.ErrorCode = kerr.IllegalSaslState.Code
		resp.ErrorMessage = kmsg.StringPtr("SaslAuthenticate request received without a handshake")
		return resp, &refusal{ReasonLogin, "SaslAuthenticate without a handshake"}
	}
	out, who, err := c.step(r.SASLAuthBytes)
	if err != nil || who != nil {
		c.l.reportLogin(who, c.from, c.session.mechanism, err)
	}
	if err != nil {
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		resp.ErrorMessage = kmsg.StringPtr("Authentication failed: " + err.Error())
		return resp, &refusal{ReasonLogin, fmt.Sprintf("%s: %v", c.session.mechanism, err)}
	}
	resp.SASLAuthBytes = out
	if who == nil {
		return resp, nil
	}
	if !who.Expires.IsZero() {
		resp.SessionLifetimeMillis = max(time.Until(who.Expires).Milliseconds(), 1) // then clients log in again (KIP-368)
	}
	if _, secure := c.Conn.(*tls.Conn); c.session.mechanism == guard.Plain && !secure && !c.from.IsLoopback() {
		c.l.plainWarning.Do(func() {
			c.l.log.Warn("a password arrived over the network without TLS: whoever sees the traffic has it", "part", "broker", "client", c.RemoteAddr())
		})
	}
	c.session = session{}
	return resp, nil
}

// step passes a message to the login. A failure is answered late, which slows down guessing.
func (c *conn) step(in []byte) (out []byte, who *guard.Principal, err error) {
	failures := &c.l.guard.Failures
	internal, ok := c.session.conversation.(interface{ Internal(message []byte) bool })
	if failures.Allowed(c.from, time.Now()) || ok && internal.Internal(in) {
		out, who, err = c.session.conversation.Step(in)
	} else {
		err = errors.New("too many logins from this address have failed: try again later")
	}
	if err != nil {
		failures.Failed(c.from, time.Now())
	}
	if before := c.who.Load(); err == nil && who != nil && before != nil && before.Name != who.Name {
		err = fmt.Errorf("the connection is that of %q", before.Name)
	}
	if err == nil {
		if who != nil {
			c.who.Store(who)
		}
		return out, who, nil
	}
	timer := time.NewTimer(c.l.limits.FailedLoginDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	}
	return nil, nil, err
}

// Identity returns the principal of a connection that kfake serves: nil if it has not logged in.
// Unless known, the connection is not one of this package.
func Identity(c net.Conn) (who *guard.Principal, known bool) {
	for {
		switch inner := c.(type) {
		case *conn:
			return inner.who.Load(), true
		case interface{ NetConn() net.Conn }:
			c = inner.NetConn()
		default:
			return nil, false
		}
	}
}
