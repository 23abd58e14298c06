package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"weir.example/weir/internal/secret"
)

// Server is the certificate of listeners. Its files are read again when they change, so that
// certificates can be renewed while clients are connected.
type Server struct {
	certFile, keyFile, clientCA string
	log                         *slog.Logger

	config  atomic.Pointer[tls.Config]
	checked atomic.Int64 // when the files were looked at, in Unix nanoseconds

	mu      sync.Mutex
	version string // of the files that are in use
}

// checkEvery is how often the files are looked at.
const checkEvery = time.Second

// NewServer reads a certificate and its key in PEM. With clientCA, clients may present
// certificates of these authorities. TLS is 1.2 or later.
func NewServer(certFile, keyFile, clientCA string, log *slog.Logger) (*Server, error) {
	s := &Server{certFile: certFile, keyFile: keyFile, clientCA: clientCA, log: log}
	if certFile == "" || keyFile == "" {
		return nil, errors.New("a certificate needs its key: set both")
	}
	config, err := s.read()
	if err != nil {
		return nil, err
	}
	s.version = s.filesVersion()
	s.config.Store(config)
	s.checked.Store(time.Now().UnixNano())
	if left := time.Until(s.Expires()); left <= 0 {
		log.Warn("the certificate has expired: clients refuse it", "file", certFile, "expired", s.Expires())
	}
	return s, nil
}

func (s *Server) read() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s with key %s: %w", s.certFile, s.keyFile, err)
	}
	if err := secret.CheckPrivate(s.keyFile); err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if s.clientCA != "" {
		if config.ClientCAs, err = readPool(s.clientCA); err != nil {
			return nil, err
		}
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}

// filesVersion changes with the files.
func (s *Server) filesVersion() string {
	version := ""
	for _, file := range []string{s.certFile, s.keyFile, s.clientCA} {
		if info, err := os.Stat(file); err == nil {
			version += fmt.Sprintln(info.ModTime().UnixNano(), info.Size(), info.Mode())
		}
	}
	return version
}

// Config returns the configuration of a listener.
func (s *Server) Config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s.reload()
			c := s.config.Load()
			if len(protocols) > 0 {
				c = c.Clone()
				c.NextProtos = protocols
			}
			return c, nil
		},
	}
}

// reload reads the files again if they have changed. Files that cannot be read change nothing: they
// may be incomplete.
func (s *Server) reload() {
	if time.Now().UnixNano()-s.checked.Load() < int64(checkEvery) || !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	s.checked.Store(time.Now().UnixNano())
	version := s.filesVersion()
	if version == s.version {
		return
	}
	s.version = version
	config, err := s.read()
	if err != nil {
		s.log.Error("the changed certificate cannot be used: the one before remains in use", "err", err)
		return
	}
	s.config.Store(config)
	s.log.Info("read the changed certificate", "file", s.certFile, "expires", s.Expires())
}

// Expires returns when the certificate in use expires. It sees a renewal although nobody connects.
func (s *Server) Expires() time.Time {
	s.reload()
	if leaf := s.config.Load().Certificates[0].Leaf; leaf != nil {
		return leaf.NotAfter
	}
	return time.Time{}
}

// CertFile returns the file of the certificate.
func (s *Server) CertFile() string { return s.certFile }

// ClientCerts reports whether clients may present certificates.
func (s *Server) ClientCerts() bool { return s.clientCA != "" }

// Pinned returns a client's configuration that accepts the certificate in a file and no other,
// whatever host name it is for: for processes of the machine that serves it.
func Pinned(certFile string) (*tls.Config, error) {
	if _, err := readLeaf(certFile); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // verified below
		VerifyConnection: func(state tls.ConnectionState) error {
			want, err := readLeaf(certFile)
			if err != nil {
				return err
			}
			if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(want) {
				return fmt.Errorf("the server's certificate is not the one in %s", certFile)
			}
			return nil
		},
	}, nil
}

func readLeaf(certFile string) (*x509.Certificate, error) {
	certs, err := readCertificates(certFile)
	if err != nil {
		return nil, err
	}
	return certs[0], nil
}
