package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Other mechanisms.
const (
	Plain       = "PLAIN"
	OAuthBearer = "OAUTHBEARER"
)

// Conversation is a login by SASL: each message of the client has an answer, until who is set or
// an error ends it.
type Conversation interface {
	Step(in []byte) (out []byte, who *Principal, err error)
}

// Mechanisms returns the SASL mechanisms that are served.
func (g *Guard) Mechanisms() []string {
	all := []string{SCRAM256, SCRAM512, Plain}
	if g.tokens != nil {
		all = append(all, OAuthBearer)
	}
	return all
}

// Start starts a login; false if the mechanism is not served.
func (g *Guard) Start(mechanism string) (Conversation, bool) {
	if !slices.Contains(g.Mechanisms(), mechanism) {
		return nil, false
	}
	switch mechanism {
	case Plain:
		return plainConversation{g}, true
	case OAuthBearer:
		return &bearerConversation{g: g}, true
	}
	c, err := g.newSCRAM(mechanism)
	return c, err == nil
}

// plainConversation is a login by PLAIN (RFC 4616).
type plainConversation struct{ g *Guard }

func (c plainConversation) Step(in []byte) ([]byte, *Principal, error) {
	parts := bytes.Split(in, []byte{0})
	if len(parts) != 3 || len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, nil, errCredentials
	}
	who, err := c.g.Password(string(parts[1]), string(parts[2]))
	return []byte{}, who, err
}

// bearerConversation is a login with a token of an OpenID provider (RFC 7628).
type bearerConversation struct {
	g      *Guard
	failed error // told to the client, which has to answer before the login ends
}

var bearerMessage = regexp.MustCompile("^n,(?:a=([^,\x01]*))?,\x01(?:[a-zA-Z]+=[^\x01]*\x01)*auth=[Bb]earer ([-a-zA-Z0-9._~+/]+=*)\x01(?:[a-zA-Z]+=[^\x01]*\x01)*\x01$")

func (c *bearerConversation) Step(in []byte) ([]byte, *Principal, error) {
	if c.failed != nil {
		return nil, nil, c.failed
	}
	found := bearerMessage.FindSubmatch(in)
	if found == nil {
		return nil, nil, errors.New("the message is not one of OAUTHBEARER")
	}
	who, err := c.g.IDToken(string(found[2]))
	if err == nil && len(found[1]) > 0 && string(found[1]) != who.Name {
		err = errCredentials
	}
	if err != nil {
		c.failed = err
		return []byte(`{"status":"invalid_token"}`), nil, nil
	}
	return []byte{}, who, nil
}

// OpenID names the provider whose tokens are accepted.
type OpenID struct {
	Issuer   string // as in the tokens; required
	Audience string // as in the tokens; required
	Keys     string // URL of the provider's keys (JWKS); default: that of its configuration
	Claim    string // that names the principal; default sub
}

// Validate returns an error for the first invalid setting.
func (o *OpenID) Validate() error {
	if o.Issuer == "" || o.Audience == "" {
		return errors.New("an OpenID provider needs an issuer and an audience")
	}
	for _, url := range []string{o.Issuer, o.Keys} {
		if url != "" && !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://127.0.0.1:") && !strings.HasPrefix(url, "http://localhost:") {
			return fmt.Errorf("the OpenID provider at %s must be reached by https", url)
		}
	}
	return nil
}

// tokens verifies tokens of an OpenID provider.
type tokens struct {
	*oidc.IDTokenVerifier
	claim string
}

const keysTimeout = 10 * time.Second

// openID returns the verifier. The keys are fetched when the first token arrives, and again when
// one is signed with an unknown key.
func openID(ctx context.Context, o OpenID) (*tokens, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Claim == "" {
		o.Claim = "sub"
	}
	config := &oidc.Config{ClientID: o.Audience, SupportedSigningAlgs: []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
	}}
	if o.Keys != "" {
		return &tokens{oidc.NewVerifier(o.Issuer, oidc.NewRemoteKeySet(ctx, o.Keys), config), o.Claim}, nil
	}
	provider, err := oidc.NewProvider(ctx, o.Issuer)
	if err != nil {
		return nil, fmt.Errorf("read the configuration of the OpenID provider: %w", err)
	}
	return &tokens{provider.VerifierContext(ctx, config), o.Claim}, nil
}

// maxToken is the size of a token, in bytes.
const maxToken = 64 << 10

// IDToken returns the principal of a token of the OpenID provider.
func (g *Guard) IDToken(token string) (*Principal, error) {
	if g.tokens == nil || len(token) > maxToken {
		return nil, errCredentials
	}
	ctx, cancel := context.WithTimeout(context.Background(), keysTimeout)
	defer cancel()
	verified, err := g.tokens.Verify(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("token not accepted: %w", err)
	}
	var claims map[string]json.RawMessage
	if err := verified.Claims(&claims); err != nil {
		return nil, fmt.Errorf("token not accepted: %w", err)
	}
	var name string
	err = json.Unmarshal(claims[g.tokens.claim], &name)
	who, invalid := g.named(name, verified.Expiry)
	if err != nil || invalid != nil {
		return nil, fmt.Errorf("token not accepted: its claim %s is not the name of a principal", g.tokens.claim)
	}
	return who, nil
}
