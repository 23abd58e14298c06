package alert

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // required by CRAM-MD5
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const password = "a secret, ünseen" //nolint:gosec // used by this test only

// mailServer is an SMTP server that records mails.
type mailServer struct {
	cert       *tls.Certificate // nil: no TLS
	implicit   bool             // TLS from the first byte
	mechanisms []string         // of authentication; nil: none
	rejects    map[string]int   // status codes by address
	busy       int              // number of mails to reject temporarily

	address string
	mu      sync.Mutex
	mails   []taken
}

type taken struct {
	user, text string
	to         []string
	secure     bool
}

func newMailServer(t *testing.T, s *mailServer) *mailServer {
	t.Helper()
	server := smtp.NewServer(s)
	server.Domain, server.AllowInsecureAuth = "mail.example.org", true
	server.ErrorLog = discard{}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed with the server
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	if s.cert != nil {
		config := &tls.Config{Certificates: []tls.Certificate{*s.cert}, MinVersion: tls.VersionTLS12}
		if s.implicit {
			l = tls.NewListener(l, config)
		} else {
			server.TLSConfig = config
		}
	}
	go func() { _ = server.Serve(l) }() // closed at the end of the test
	t.Cleanup(func() { _ = server.Close() })
	return s
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

// taken returns the accepted mails.
func (s *mailServer) taken() []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// NewSession implements smtp.Backend.
func (s *mailServer) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, secure := c.TLSConnectionState()
	session := &mailSession{server: s, mail: taken{secure: secure}}
	if s.mechanisms == nil {
		return struct{ smtp.Session }{session}, nil // without AUTH
	}
	return session, nil
}

type mailSession struct {
	server *mailServer
	mail   taken
}

func (m *mailSession) AuthMechanisms() []string             { return m.server.mechanisms }
func (m *mailSession) Mail(string, *smtp.MailOptions) error { return nil }
func (m *mailSession) Reset()                               { m.mail.to = nil }
func (m *mailSession) Logout() error                        { return nil }

func (m *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if code := m.server.rejects[to]; code != 0 {
		return &smtp.SMTPError{Code: code, Message: "not " + to}
	}
	m.mail.to = append(m.mail.to, to)
	return nil
}

func (m *mailSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	if m.server.busy > 0 {
		m.server.busy--
		return &smtp.SMTPError{Code: 451, Message: "try again"}
	}
	m.mail.text = string(text)
	m.server.mails = append(m.server.mails, m.mail)
	return nil
}

func (m *mailSession) login(user, given string) error {
	if user != "weir" || given != password {
		return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "authentication failed"}
	}
	m.mail.user = user
	return nil
}

func (m *mailSession) Auth(mechanism string) (sasl.Server, error) {
	switch mechanism {
	case "PLAIN":
		return sasl.NewPlainServer(func(_, user, given string) error { return m.login(user, given) }), nil
	case "LOGIN":
		return &loginServer{check: m.login}, nil
	default:
		return &cramServer{check: m.login}, nil
	}
}

// loginServer implements AUTH LOGIN.
type loginServer struct {
	check func(user, given string) error
	asked int
	user  string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	l.asked++
	switch l.asked {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	default:
		return nil, true, l.check(l.user, string(response))
	}
}

// cramServer implements AUTH CRAM-MD5 (RFC 2195).
type cramServer struct {
	check func(user, given string) error
	asked bool
}

func (c *cramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	const words = "<1896.697170952@mail.example.org>"
	if !c.asked {
		c.asked = true
		return []byte(words), false, nil
	}
	user, sum, _ := strings.Cut(string(response), " ")
	h := hmac.New(md5.New, []byte(password))
	h.Write([]byte(words))
	if sum != hex.EncodeToString(h.Sum(nil)) {
		return nil, true, c.check(user, "")
	}
	return nil, true, c.check(user, password)
}

// authority is a certificate authority; file has its certificate.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "ca.pem")}
	made := a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, start.AddDate(100, 0, 0))
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) sign(c *x509.Certificate, until time.Time) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), start.AddDate(-10, 0, 0), until
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func receiver(t *testing.T, c *Config, name string) (*ReceiverConfig, Receiver) {
	t.Helper()
	r, err := NewReceiver(c.Receivers[name])
	if err != nil {
		t.Fatal(err)
	}
	return c.Receivers[name], r
}

// mailTo sends a test mail with settings of the receiver and of its email. It checks that the error
// does not contain the password.
func mailTo(t *testing.T, server, settings, email string) error {
	t.Helper()
	t.Setenv("SMTP_PASSWORD", password)
	c := config(t, fmt.Sprintf("receivers: {mail: {%s email: {to: [a@example.org, b@example.org], from: weir@example.org, server: %q, %s}}}\nroutes: [{receivers: [mail]}]", settings, server, email))
	err := c.Try(t.Context(), "mail", start)
	if err != nil {
		for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(password)), base64.StdEncoding.EncodeToString([]byte("\x00weir\x00" + password))} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error has the password: %v", err)
			}
		}
	}
	return err
}

const user = `user: weir, password: "${SMTP_PASSWORD}"`

// Mail is sent over implicit TLS and STARTTLS, with each mechanism of authentication and without.
func TestEmailOverTLS(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, start.AddDate(100, 0, 0))
	for name, test := range map[string]struct {
		server *mailServer
		email  string
	}{
		"STARTTLS, PLAIN":       {&mailServer{cert: cert, mechanisms: []string{"PLAIN", "LOGIN"}}, user},
		"STARTTLS, LOGIN":       {&mailServer{cert: cert, mechanisms: []string{"XOAUTH2", "LOGIN"}}, user + ", tls: starttls"},
		"STARTTLS, CRAM-MD5":    {&mailServer{cert: cert, mechanisms: []string{"CRAM-MD5"}}, user},
		"TLS, PLAIN":            {&mailServer{cert: cert, implicit: true, mechanisms: []string{"PLAIN"}}, user + ", tls: tls"},
		"TLS, LOGIN":            {&mailServer{cert: cert, implicit: true, mechanisms: []string{"LOGIN"}}, user + ", tls: tls"},
		"TLS, no user":          {&mailServer{cert: cert, implicit: true}, "tls: tls"},
		"no TLS, loopback only": {&mailServer{mechanisms: []string{"PLAIN"}}, user + ", tls: none"},
	} {
		t.Run(name, func(t *testing.T) {
			server := newMailServer(t, test.server)
			if err := mailTo(t, server.address, "ca: "+ca.file+",", test.email); err != nil {
				t.Fatal(err)
			}
			got := server.taken()
			if len(got) != 1 || fmt.Sprint(got[0].to) != "[a@example.org b@example.org]" || !strings.Contains(got[0].text, "nothing is wrong") {
				t.Fatalf("the server got %+v", got)
			}
			if got[0].secure != (test.server.cert != nil) || (got[0].user == "weir") != (test.server.mechanisms != nil) {
				t.Errorf("over TLS: %t, by user %q", got[0].secure, got[0].user)
			}
		})
	}
}

// Errors have the cause and a hint, and no password is sent where it could be intercepted.
func TestEmailErrors(t *testing.T) {
	ca := newAuthority(t)
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	cert := ca.sign(&x509.Certificate{IPAddresses: loopback}, start.AddDate(100, 0, 0))
	other := ca.sign(&x509.Certificate{DNSNames: []string{"mail.example.org"}}, start.AddDate(100, 0, 0))
	expired := ca.sign(&x509.Certificate{IPAddresses: loopback}, start.AddDate(-1, 0, 0))
	plain := []string{"PLAIN"}
	trust := "ca: " + ca.file + ","
	for name, test := range map[string]struct {
		server          *mailServer
		settings, email string
		wants           []string
	}{
		"unknown authority":            {&mailServer{cert: cert, mechanisms: plain}, "", user, []string{"STARTTLS", "unknown authority", "file of its authority (ca)"}},
		"unknown authority, TLS":       {&mailServer{cert: cert, implicit: true}, "", "tls: tls", []string{"unknown authority", "file of its authority (ca)"}},
		"another name":                 {&mailServer{cert: other, mechanisms: plain}, trust, user, []string{"another name", "127.0.0.1"}},
		"expired":                      {&mailServer{cert: expired, mechanisms: plain}, trust, user, []string{"expired"}},
		"wrong user":                   {&mailServer{cert: cert, mechanisms: plain}, trust, `user: nobody, password: "${SMTP_PASSWORD}"`, []string{"rejects the user nobody with PLAIN", "check user and password", "535"}},
		"wrong user, LOGIN":            {&mailServer{cert: cert, mechanisms: []string{"LOGIN"}}, trust, `user: nobody, password: "${SMTP_PASSWORD}"`, []string{"rejects the user nobody with LOGIN", "535"}},
		"no STARTTLS":                  {&mailServer{mechanisms: plain}, trust, user, []string{"does not offer STARTTLS", "tls: tls"}},
		"no users":                     {&mailServer{cert: cert}, trust, user, []string{"does not offer authentication"}},
		"no known mechanism":           {&mailServer{cert: cert, mechanisms: []string{"XOAUTH2"}}, trust, user, []string{"XOAUTH2 only", "expected PLAIN"}},
		"TLS at a STARTTLS port":       {&mailServer{cert: cert, mechanisms: plain}, trust, user + ", tls: tls", []string{"does not use implicit TLS", "tls: starttls"}},
		"STARTTLS at a TLS port":       {&mailServer{cert: cert, implicit: true}, trust + "timeout: 200ms,", user, []string{"no answer to a greeting", "tls: tls", "within 200ms"}},
		"all addresses rejected":       {&mailServer{rejects: map[string]int{"a@example.org": 550, "b@example.org": 553}}, "", "tls: none", []string{"rejects a@example.org", "550", "rejects b@example.org", "553"}},
		"temporarily rejected address": {&mailServer{rejects: map[string]int{"b@example.org": 450}}, "", "tls: none", []string{"rejects b@example.org", "450"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := newMailServer(t, test.server)
			err := mailTo(t, server.address, test.settings, test.email)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
			if got := server.taken(); len(got) > 0 {
				t.Errorf("the server got %+v", got)
			}
		})
	}
}

// A permanently rejected address does not keep the mail from the others, and is reported.
func TestEmailToSome(t *testing.T) {
	server := newMailServer(t, &mailServer{rejects: map[string]int{"a@example.org": 550}})
	err := mailTo(t, server.address, "", "tls: none")
	var partly *PartlyError
	if !errors.As(err, &partly) || len(partly.Rejected) != 1 || !strings.Contains(err.Error(), "delivered to the other addresses only: the server rejects a@example.org") {
		t.Errorf("%v", err)
	}
	if got := server.taken(); len(got) != 1 || fmt.Sprint(got[0].to) != "[b@example.org]" {
		t.Errorf("the server got %+v", got)
	}
}

// A server that stops responding delays a mail for no longer than its timeout, and the error names
// the step. A mail that the server has already accepted counts as delivered.
func TestEmailSilence(t *testing.T) {
	answers := []string{"220 here", "250 here", "250 ok", "250 ok", "250 ok", "354 send it", "250 taken"}
	var all sync.WaitGroup
	try := func(after int, silent bool, check func(error) bool) {
		c := config(t, fmt.Sprintf(`
receivers: {mail: {timeout: 2s, email: {to: [a@example.org, b@example.org], from: weir@example.org, server: %q, tls: none}}}
routes: [{receivers: [mail]}]`, scriptedServer(t, answers[:after], silent)))
		all.Go(func() {
			if err := c.Try(t.Context(), "mail", start); !check(err) {
				t.Errorf("after %d responses, silent %t: %v", after, silent, err)
			}
		})
	}
	for after, want := range []string{"a greeting", "EHLO", "MAIL and RCPT", "MAIL and RCPT", "MAIL and RCPT", "the mail", "the mail"} {
		try(after, true, func(err error) bool {
			return err != nil && strings.HasPrefix(err.Error(), "no answer to "+want) && strings.HasSuffix(err.Error(), "within 2s")
		})
		try(after, false, func(err error) bool { return err != nil && !strings.Contains(err.Error(), "no answer") })
	}
	for _, silent := range []bool{true, false} {
		try(len(answers), silent, func(err error) bool { return err == nil })
	}
	all.Wait()
}

// scriptedServer sends its responses in order, and then stays silent or closes the connection.
func scriptedServer(t *testing.T, answers []string, silent bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-ended })
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for i, answer := range answers {
			if i > 0 {
				if line, err := in.ReadString('\n'); err != nil {
					return
				} else if i == len(answers)-1 && strings.HasPrefix(answer, "250 taken") {
					for line != ".\r\n" && err == nil {
						line, err = in.ReadString('\n')
					}
				}
			}
			fmt.Fprintf(c, "%s\r\n", answer)
		}
		if silent {
			_, _ = io.Copy(io.Discard, in) // until the client closes the connection
		}
	}()
	return l.Addr().String()
}
