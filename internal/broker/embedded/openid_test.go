package embedded

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/guard"
)

// provider is an OpenID provider with one key.
type provider struct {
	t   *testing.T
	key *rsa.PrivateKey
	url string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body any
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			body = map[string]any{"issuer": p.url, "jwks_uri": p.url + "/keys"}
		case "/keys":
			body = map[string]any{"keys": []any{map[string]any{
				"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256",
				"n": encoded(key.N.Bytes()), "e": encoded(big.NewInt(int64(key.E)).Bytes()),
			}}}
		default:
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token returns a token for a user, changed by fn.
func (p *provider) token(user string, fn func(header, claims map[string]any)) string {
	p.t.Helper()
	header := map[string]any{"alg": "RS256", "kid": "1", "typ": "JWT"}
	claims := map[string]any{"iss": p.url, "aud": "weir", "sub": user, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	if fn != nil {
		fn(header, claims)
	}
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			p.t.Fatal(err)
		}
		parts = append(parts, encoded(text))
	}
	signed := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(signed))
	var signature []byte
	switch header["alg"] {
	case "RS256":
		var err error
		if signature, err = rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:]); err != nil {
			p.t.Fatal(err)
		}
	case "HS256": // with the public key as the secret, which everybody knows
		mac := hmac.New(sha256.New, p.key.N.Bytes())
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	}
	return signed + "." + encoded(signature)
}

// Clients log in with tokens of an OpenID provider, whose keys the broker fetches. Tokens of
// others, for others, and those that have expired, or that nobody has signed, are refused.
func TestOpenIDTokens(t *testing.T) {
	p, other := newProvider(t), newProvider(t)
	dir := t.TempDir()
	users, err := guard.OpenUsers(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := users.Change(func(all map[string]guard.User) error {
		all["alice"] = guard.User{Name: "alice", Role: guard.Admin}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b := open(t, Config{Dir: dir, OpenID: &guard.OpenID{Issuer: p.url, Audience: "weir"}})
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	file := filepath.Join(t.TempDir(), "token")
	login := func(token string) error {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		client, err := broker.Connect(ctx, broker.Config{Brokers: []string{b.Addr()}, SASL: "oauthbearer", TokenFile: file})
		if err != nil {
			return err
		}
		defer client.Close()
		_, err = kadm.NewClient(client).ListTopics(ctx)
		return err
	}
	if err := login(p.token("alice", nil)); err != nil {
		t.Errorf("a valid token: %v", err)
	}
	refused := map[string]string{
		"of another provider": other.token("alice", nil),
		"signed by another":   other.token("alice", func(_, claims map[string]any) { claims["iss"] = p.url }),
		"for another":         p.token("alice", func(_, claims map[string]any) { claims["aud"] = "others" }),
		"expired":             p.token("alice", func(_, claims map[string]any) { claims["exp"] = time.Now().Add(-time.Hour).Unix() }),
		"not signed":          p.token("alice", func(header, _ map[string]any) { header["alg"] = "none" }),
		"signed with the public key": p.token("alice", func(header, _ map[string]any) {
			header["alg"] = "HS256"
		}),
		"without a subject":   p.token("", nil),
		"of the owner's name": p.token(guard.InternalName, nil),
		"no token":            "nonsense",
	}
	for what, token := range refused {
		if err := login(token); err == nil {
			t.Errorf("a token %s is accepted", what)
		} else if strings.Contains(err.Error(), token) {
			t.Errorf("the error has the token: %v", err)
		}
	}
	if err := login(p.token("alice", nil)); err != nil { // what was refused has changed nothing
		t.Errorf("a valid token again: %v", err)
	}
}
