package tlsconf

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// An authority for development and for single machines: ECDSA P-256, files in PEM.

// Files of an authority's directory.
const (
	authorityCert = "ca.pem"
	authorityKey  = "ca-key.pem"
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
	switch {
	case certErr == nil && keyErr == nil:
		return readAuthority(certFile, keyFile)
	case certErr == nil || keyErr == nil:
		return nil, fmt.Errorf("%s has only one of %s and %s: restore the other, or choose another directory", dir, authorityCert, authorityKey)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
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
	return &Authority{CertFile: certFile, cert: cert, key: key}, nil
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
	if err := os.WriteFile(tmp, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
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
