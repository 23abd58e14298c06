package guard

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// Config configures a Guard.
type Config struct {
	Dir         string  // data directory with the users; "": no users
	OpenID      *OpenID // nil: none
	ClientCerts bool    // certificates of clients are required or may log in
}

// Guard knows who may use what this process serves.
type Guard struct {
	users    *Users
	tokens   *tokens // nil: none
	certs    bool
	secret   string
	joined   string // data directory whose secret another process may replace; "": none
	internal Keys
	unknown  [32]byte // key of the salts of users that don't exist

	closed   atomic.Bool // a login is required until the end
	Failures Failures    // of all listeners
}

// SecretFile is the file of a data directory with the secret of its processes.
const SecretFile = "internal.secret"

// Open returns the guard of a data directory, with a new secret for its processes.
func Open(ctx context.Context, c Config) (*Guard, error) {
	g, err := withSecret(ctx, c, randomText(32))
	if err != nil {
		return nil, err
	}
	return g, writePrivate(filepath.Join(c.Dir, SecretFile), []byte(g.secret))
}

// Join returns the guard of a data directory whose broker another process serves, or none does. It
// leaves the secret as it is; whoever has it may do everything by HTTP.
func Join(ctx context.Context, c Config) (*Guard, error) {
	g, err := withSecret(ctx, c, randomText(32)) // known to nobody
	if err != nil {
		return nil, err
	}
	g.joined = c.Dir
	return g, nil
}

func withSecret(ctx context.Context, c Config, secret string) (*Guard, error) {
	g := &Guard{certs: c.ClientCerts, secret: secret}
	_, _ = rand.Read(g.unknown[:]) // it never fails
	var err error
	if c.Dir == "" {
		g.users = noUsers()
	} else if g.users, err = OpenUsers(c.Dir); err != nil {
		return nil, err
	}
	salt := []byte(randomText(16))
	salted, err := saltedPassword(SCRAM256, g.secret, salt, MinIterations)
	if err != nil {
		return nil, err
	}
	g.internal = KeysOf(SCRAM256, salted, salt, MinIterations)
	if c.OpenID != nil {
		if g.tokens, err = openID(ctx, *c.OpenID); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Secret returns the secret with which processes that own a data directory log in, as the user
// InternalName with SCRAM256. It is "" if the broker is of an earlier version, without logins.
func Secret(dir string) (string, error) {
	secret, err := os.ReadFile(filepath.Join(dir, SecretFile)) //nolint:gosec // in the data directory
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the secret of the data directory: %w", err)
	}
	return strings.TrimSpace(string(secret)), nil
}

// Users returns the users.
func (g *Guard) Users() *Users { return g.users }

// Open reports whether everybody may do everything, because there is no way to log in. Once there
// is one, it is never true again: a file of users that is removed must not open what it protected.
func (g *Guard) Open() bool {
	if g.closed.Load() {
		return false
	}
	open := !g.certs && g.tokens == nil && g.users.Empty()
	if !open {
		g.closed.Store(true)
	}
	return open
}

// errCredentials is the error of a failed login. It does not tell whether the user exists.
var errCredentials = errors.New("invalid credentials")

// keysOf returns a user's keys.
func (g *Guard) keysOf(name, mechanism string) (User, Keys, bool) {
	if name == InternalName {
		return User{Name: InternalName}, g.internal, mechanism == SCRAM256
	}
	user, ok := g.users.Find(name)
	if !ok {
		return User{}, Keys{}, false
	}
	keys, ok := user.keys(mechanism)
	return user, keys, ok
}

func (g *Guard) principal(user User) *Principal {
	if user.Name == InternalName {
		return &Principal{Name: InternalName, Role: Admin, Internal: true}
	}
	return &Principal{Name: user.Name, Role: user.Role, keys: user.identity()}
}

// Password returns the principal with a name and password. It takes milliseconds of CPU.
func (g *Guard) Password(name, password string) (*Principal, error) {
	if name == InternalName && g.isSecret(password) {
		return g.principal(User{Name: InternalName}), nil
	}
	user, keys, ok := g.keysOf(name, SCRAM256)
	if !ok {
		if user, keys, ok = g.keysOf(name, SCRAM512); !ok {
			user, keys = User{}, g.unknownKeys(SCRAM256, name) // takes the same time
		}
	}
	if !keys.verify(password) || user.Name == "" {
		return nil, errCredentials
	}
	return g.principal(user), nil
}

// isSecret reports whether a text is the secret of the data directory.
func (g *Guard) isSecret(text string) bool {
	if g == nil {
		return false
	}
	if g.joined == "" {
		return equal(text, g.secret)
	}
	secret, err := Secret(g.joined)
	return err == nil && secret != "" && equal(text, secret)
}

// equal compares in constant time, which does not even leak the length.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// Token returns the principal with a bearer token: a user's, the secret of the data directory, or
// one that the OpenID provider has signed.
func (g *Guard) Token(token string) (*Principal, error) {
	if g.isSecret(token) {
		return g.principal(User{Name: InternalName}), nil
	}
	if user, ok := g.users.withToken(token); ok {
		return g.principal(user), nil
	}
	if strings.Count(token, ".") == 2 {
		return g.IDToken(token)
	}
	return nil, errCredentials
}

// Certificate returns the principal of a client certificate that was verified: its subject as
// Kafka writes it, for example CN=press-7,OU=hall 2.
func (g *Guard) Certificate(cert *x509.Certificate) (*Principal, error) {
	var subject pkix.RDNSequence // cert.Subject has lost its order
	if _, err := asn1.Unmarshal(cert.RawSubject, &subject); err != nil {
		return nil, fmt.Errorf("certificate not accepted: %w", err)
	}
	who, err := g.named(subject.String(), cert.NotAfter)
	if err != nil {
		return nil, fmt.Errorf("certificate not accepted: %w", err)
	}
	return who, nil
}

// named returns the principal with a name that somebody vouches for.
func (g *Guard) named(name string, expires time.Time) (*Principal, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	who := &Principal{Name: name, Expires: expires}
	if g != nil {
		user, _ := g.users.Find(name)
		who.Role = user.Role
	}
	return who, nil
}

// current returns a principal that has logged in before, with the role that it has now, or nil if
// it may not go on.
func (g *Guard) current(p *Principal, now time.Time) *Principal {
	if !g.Valid(p, now) {
		return nil
	}
	if p.Internal || p.shared {
		return p
	}
	user, _ := g.users.Find(p.Name)
	fresh := *p
	fresh.Role = user.Role
	return &fresh
}

// Valid reports whether a principal that has logged in may go on: its token has not expired, and
// its user has neither been removed nor been given another password.
func (g *Guard) Valid(p *Principal, now time.Time) bool {
	if !p.Expires.IsZero() && !now.Before(p.Expires) {
		return false
	}
	if p.keys == "" {
		return true
	}
	user, ok := g.users.Find(p.Name)
	return ok && user.identity() == p.keys
}
