package tlsconf

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// An authority for development and for single machines: ECDSA P-256, files in PEM.

// Files of an authority's directory.
const (
	authorityCert = "ca.pem"
	authorityKey  = "ca-key.pem"
	ownServer     = "server" // and -key
)

// Validity of certificates.
const (
	authorityDays = 3650
	DefaultDays   = 365
)

// Authority signs certificates.
type Authority struct {
	CertFile string
	cert     *x509.Certificate
	key      crypto.Signer
}

// OpenAuthority opens the authority in a directory, or creates one.
func OpenAuthority(dir string, now time.Time) (*Authority, error) {
	certFile, keyFile := filepath.Join(dir, authorityCert), filepath.Join(dir, authorityKey)
	_, certErr := os.Stat(certFile)
	_, keyErr := os.Stat(keyFile)
	var key crypto.Signer
	var err error
	switch {
	case certErr == nil && keyErr == nil:
		return readAuthority(certFile, keyFile)
	case certErr == nil:
		return nil, fmt.Errorf("%s has %s, but not %s: restore it, or choose another directory", dir, authorityCert, authorityKey)
	case keyErr == nil: // a process was killed before it had written the certificate
		key, err = readAuthorityKey(keyFile)
	default:
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("create authority: %w", err)
		}
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Weir development CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, authorityDays),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	if err := errors.Join(writeKey(keyFile, key), writePEM(certFile, 0o644, "CERTIFICATE", der)); err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	return readAuthority(certFile, keyFile)
}

func readAuthority(certFile, keyFile string) (*Authority, error) {
	cert, err := readLeaf(certFile)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("the certificate in %s is not that of an authority", certFile)
	}
	key, err := readAuthorityKey(keyFile)
	if err != nil {
		return nil, err
	}
	if public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
		return nil, fmt.Errorf("%s is not the key of the certificate in %s: restore both, or choose another directory", keyFile, certFile)
	}
	return &Authority{CertFile: certFile, cert: cert, key: key}, nil
}

func readAuthorityKey(keyFile string) (crypto.Signer, error) {
	text, err := os.ReadFile(keyFile) //nolint:gosec // chosen by the user
	if err != nil {
		return nil, fmt.Errorf("read the authority's key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("no key in PEM in %s", keyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the authority's key in %s: %w", keyFile, err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key in %s cannot sign", keyFile)
	}
	return key, nil
}

// Request describes a certificate.
type Request struct {
	Name   string   // of the files, and the subject's common name
	Hosts  []string // names and addresses of a server
	Client bool     // a client's certificate, for mutual TLS
	Days   int      // default DefaultDays
}

// Issue writes NAME.pem and NAME-key.pem in a directory, and returns their paths. It replaces the
// files of an earlier certificate with that name.
func (a *Authority) Issue(dir string, r Request, now time.Time) (certFile, keyFile string, err error) {
	if r.Days == 0 {
		r.Days = DefaultDays
	}
	if r.Name == "" || r.Name != filepath.Base(r.Name) || slices.Contains([]string{".", "..", "ca"}, r.Name) || strings.HasSuffix(r.Name, "-key") {
		return "", "", fmt.Errorf("invalid name of a certificate %q: it becomes the name of files next to those of the authority, NAME.pem and NAME-key.pem", r.Name)
	}
	if r.Days < 1 || r.Days > authorityDays {
		return "", "", fmt.Errorf("a certificate is valid for 1 to %d days, not %d", authorityDays, r.Days)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("create key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: r.Name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, r.Days),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if r.Client {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for _, host := range r.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return "", "", fmt.Errorf("sign certificate: %w", err)
	}
	certFile, keyFile = filepath.Join(dir, r.Name+".pem"), filepath.Join(dir, r.Name+"-key.pem")
	if err := errors.Join(writeKey(keyFile, key), writePEM(certFile, 0o644, "CERTIFICATE", der)); err != nil {
		return "", "", fmt.Errorf("write certificate: %w", err)
	}
	return certFile, keyFile, nil
}

// OwnServer is a server's certificate that its own process makes.
type OwnServer struct {
	Authority         string // file with the certificate of the authority that signs it
	CertFile, KeyFile string
}

// renewBefore is how long before its end OpenOwnServer replaces a certificate.
const renewBefore = 60 * 24 * time.Hour

// RenewEvery is how often KeepOwnServer looks at a certificate.
const RenewEvery = 12 * time.Hour

// KeepOwnServer renews a certificate of OpenOwnServer under the same authority until ctx is done.
// It looks at it at each of the times that arrive.
func KeepOwnServer(ctx context.Context, dir string, hosts []string, times <-chan time.Time, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-times:
			file := filepath.Join(dir, ownServer+".pem")
			before, _ := readLeaf(file) // a missing one is made
			_, err := OpenOwnServer(dir, hosts, now)
			var after *x509.Certificate
			if err == nil {
				after, err = readLeaf(file)
			}
			switch {
			case err != nil:
				log.Error("cannot renew the certificate: the next attempt is in "+RenewEvery.String(), "file", file, "err", err)
			case before == nil || !after.Equal(before):
				log.Info("renewed the certificate", "file", file, "expires", after.NotAfter)
			}
		}
	}
}

// OpenOwnServer returns the certificate in a directory of a server that has the names or addresses
// hosts. It creates what is missing, and replaces a certificate that does not fit: one without its
// key, of another authority, without one of the hosts, or that expires soon. A process that is
// killed meanwhile leaves what the next call completes.
func OpenOwnServer(dir string, hosts []string, now time.Time) (own OwnServer, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return own, fmt.Errorf("create certificate: %w", err)
	}
	lock := flock.New(filepath.Join(dir, ".lock"), flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return own, fmt.Errorf("create certificate: %w", err)
	}
	defer lock.Unlock() //nolint:errcheck // closing the file releases the lock in any case
	authority, err := OpenAuthority(dir, now)
	if err != nil {
		return own, err
	}
	own = OwnServer{authority.CertFile, filepath.Join(dir, ownServer+".pem"), filepath.Join(dir, ownServer+"-key.pem")}
	if !authority.fits(own, hosts, now) {
		_, _, err = authority.Issue(dir, Request{Name: ownServer, Hosts: hosts}, now)
	}
	return own, err
}

func (a *Authority) fits(own OwnServer, hosts []string, now time.Time) bool {
	pair, err := tls.LoadX509KeyPair(own.CertFile, own.KeyFile)
	if err != nil {
		return false
	}
	without := func(host string) bool { return pair.Leaf.VerifyHostname(host) != nil }
	return pair.Leaf.CheckSignatureFrom(a.cert) == nil && now.Add(renewBefore).Before(pair.Leaf.NotAfter) && !slices.ContainsFunc(hosts, without)
}

func serial() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // it never fails
	return n
}

func writeKey(path string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, 0o600, "PRIVATE KEY", der)
}

// writePEM replaces a file.
func writePEM(path string, mode os.FileMode, kind string, der []byte) error {
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode) //nolint:gosec // chosen by the user
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// readCertificates returns the certificates in a file, at least one.
func readCertificates(file string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(file) //nolint:gosec // chosen by the user
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificate in %s: %w", file, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("no certificate in PEM in %s", file)
	}
	return certs, nil
}
