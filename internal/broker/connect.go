package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/tlsconf"
)

// Config names the brokers, and how to authenticate with them.
type Config struct {
	Brokers []string // host:port of the seed brokers; at least one

	TLS         bool   // default false; implied by CAFile and CertFile
	CAFile      string // PEM with the authorities to trust; default the system's
	CertFile    string // PEM with the client's certificate, for mutual TLS
	KeyFile     string // PEM with the key of CertFile
	TLSInsecure bool   // default false; true accepts any server certificate: for tests

	SASL      string // one of Mechanisms, or ""
	User      string // for PLAIN and SCRAM
	Password  string // for PLAIN and SCRAM; never logged
	TokenFile string // for OAUTHBEARER: read at each login, so that a renewed token is used

	// DataDir is the directory of the embedded broker at Brokers, for processes that may read it:
	// they log in with its secret and accept its certificate, whatever the other settings say.
	// Default none.
	DataDir string

	ClientID string // default "weir"

	MaxDecompressed int // bytes that a batch may have when it is decompressed; default MaxDecompressed
	withhold        bool

	Observer *Observer // of the long-lived clients; default none
}

// Mechanisms lists the SASL mechanisms that Config.SASL accepts. AWS_MSK_IAM takes the credentials
// of the environment, as AWS's tools name them. GSSAPI (Kerberos) is not supported.
var Mechanisms = []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", oauthBearer, mskIAM}

const (
	oauthBearer = "OAUTHBEARER"
	mskIAM      = "AWS_MSK_IAM"
)

// Validate returns an error for the first invalid setting.
func (c *Config) Validate() error {
	if len(c.Brokers) == 0 {
		return errors.New("no brokers: name at least one host:port")
	}
	for _, b := range c.Brokers {
		if _, port, err := net.SplitHostPort(b); err != nil || port == "" {
			return fmt.Errorf("broker %q is not host:port, such as 127.0.0.1:9092", b)
		}
	}
	if c.MaxDecompressed < 0 || c.MaxDecompressed > 0 && c.MaxDecompressed < 1<<20 || c.MaxDecompressed > 1<<30 {
		return fmt.Errorf("a decompressed batch may have from 1 MiB to 1 GiB, got %d bytes", c.MaxDecompressed)
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return errors.New("a client certificate needs its key: set both or neither")
	}
	if c.SASL == "" {
		if c.User != "" || c.Password != "" || c.TokenFile != "" {
			return fmt.Errorf("a user, password or token is set but no SASL mechanism: choose one of %s", strings.Join(Mechanisms, ", "))
		}
		return nil
	}
	if !slices.Contains(Mechanisms, strings.ToUpper(c.SASL)) {
		return fmt.Errorf("unknown SASL mechanism %q: choose one of %s", c.SASL, strings.Join(Mechanisms, ", "))
	}
	switch mechanism := strings.ToUpper(c.SASL); {
	case mechanism == oauthBearer && c.TokenFile == "":
		return errors.New("SASL OAUTHBEARER needs a file with the token")
	case mechanism != oauthBearer && c.TokenFile != "":
		return fmt.Errorf("a token is for SASL OAUTHBEARER, not for %s", c.SASL)
	case mechanism == oauthBearer || mechanism == mskIAM:
		if c.User != "" || c.Password != "" {
			return fmt.Errorf("SASL %s has neither user nor password", c.SASL)
		}
	case c.User == "":
		return fmt.Errorf("SASL %s needs a user", c.SASL)
	}
	return nil
}

// Options returns the options that all clients of this configuration share. It reads the TLS files;
// errors name the file.
func (c *Config) Options() ([]kgo.Opt, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	id := c.ClientID
	if id == "" {
		id = "weir"
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(id),
		kgo.DialTimeout(5 * time.Second),
		// Readers must never see records that may yet be aborted (KIP-98).
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The shortest interval between metadata requests, for example after a change of leaders.
		kgo.MetadataMinAge(250 * time.Millisecond),
	}
	opts = append(opts, c.decompression()...)
	if c.DataDir != "" {
		return c.ownOptions(opts)
	}
	if c.TLS || c.CAFile != "" || c.CertFile != "" || c.TLSInsecure {
		t, err := tlsconf.Client(c.CAFile, c.CertFile, c.KeyFile)
		if err != nil {
			return nil, err
		}
		t.InsecureSkipVerify = c.TLSInsecure
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if m := c.mechanism(); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// CertLink is the file of a data directory with the path of the certificate that its broker serves.
const CertLink = "broker.tls"

// ownOptions are those of a process that may read the data directory. The broker changes the secret
// at each start, so each login reads it.
func (c *Config) ownOptions(opts []kgo.Opt) ([]kgo.Opt, error) {
	if file, err := os.ReadFile(filepath.Join(c.DataDir, CertLink)); err == nil { //nolint:gosec // the data directory is the user's choice
		t, err := tlsconf.Pinned(strings.TrimSpace(string(file)))
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if secret, err := guard.Secret(c.DataDir); err != nil || secret == "" { // of an earlier version, without logins
		return opts, err
	}
	return append(opts, kgo.SASL(scram.Sha256(func(context.Context) (scram.Auth, error) {
		secret, err := guard.Secret(c.DataDir)
		return scram.Auth{User: guard.InternalName, Pass: secret}, err
	}))), nil
}

func (c *Config) mechanism() sasl.Mechanism {
	switch strings.ToUpper(c.SASL) {
	case "PLAIN":
		return plain.Auth{User: c.User, Pass: c.Password}.AsMechanism()
	case "SCRAM-SHA-256":
		return scram.Auth{User: c.User, Pass: c.Password}.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		return scram.Auth{User: c.User, Pass: c.Password}.AsSha512Mechanism()
	case oauthBearer:
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := secret.ReadFile(c.TokenFile)
			return oauth.Auth{Token: strings.TrimSpace(token)}, err
		})
	case mskIAM:
		return aws.ManagedStreamingIAM(func(context.Context) (aws.Auth, error) {
			auth := aws.Auth{
				AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
				UserAgent: "weir",
			}
			if auth.AccessKey == "" || auth.SecretKey == "" {
				return auth, errors.New("AWS_MSK_IAM needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
			}
			return auth, nil
		})
	default:
		return nil
	}
}

// connectTimeout bounds the first contact: a wrong address must be reported within ten seconds.
const connectTimeout = 8 * time.Second

// Connect returns a client that has reached a broker. opts override the configuration's options.
// The error is an *UnreachableError if no broker answers within eight seconds.
func Connect(ctx context.Context, c Config, opts ...kgo.Opt) (*kgo.Client, error) {
	base, err := c.Options()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(base, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("configure Kafka client: %w", err)
	}
	ping, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := client.Ping(ping); err != nil {
		client.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &UnreachableError{Brokers: c.Brokers, Err: err}
	}
	return client, nil
}

// UnreachableError means that none of the brokers answered.
type UnreachableError struct {
	Brokers []string
	Err     error // from the last attempt
}

// Error names the brokers, the reason and a remedy, in one line.
func (e *UnreachableError) Error() string {
	reason := e.Err.Error()
	if errors.Is(e.Err, context.DeadlineExceeded) {
		reason = "no answer within " + connectTimeout.String()
	}
	return fmt.Sprintf("no Kafka broker reached at %s: %s; check the address, TLS and SASL settings, and that the broker runs",
		strings.Join(e.Brokers, ","), reason)
}

// Unwrap returns the error of the last attempt.
func (e *UnreachableError) Unwrap() error { return e.Err }
