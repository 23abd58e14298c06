// Package secret keeps secrets out of everything that others can read: texts refer to them, and
// they are inserted only where they are used.
//
//	secret.go   references to environment variables and files, and their expansion
//	redact.go   secrets that are written in texts after all are replaced before a text is shown
//	private.go  files and directories that only their owner can read; private_other.go: systems
//	            without modes
package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// reference matches ${env:NAME} and ${file:PATH}.
var reference = regexp.MustCompile(`\$\{(env|file):([^}]*)\}`)

// Refers reports whether a text contains a reference to a secret.
func Refers(text string) bool { return reference.MatchString(text) }

// Source is where references find secrets: in the environment, and in files below a directory.
type Source struct {
	Dir string // "" refuses references to files
}

// Expand replaces the references in a text. The error names a reference, never a secret.
func (s Source) Expand(text string) (string, error) {
	return s.expand(text, func(secret string) string { return secret })
}

// Expander is a Source that remembers the secrets that it has inserted, so that they can be kept
// out of texts.
type Expander struct {
	Source
	Used []string
}

// Expand is Source.Expand.
func (e *Expander) Expand(text string) (string, error) {
	return e.expand(text, func(secret string) string {
		e.Used = append(e.Used, secret)
		return secret
	})
}

// ExpandSQL replaces the references in string literals of a statement.
func (s Source) ExpandSQL(statement string) (string, error) {
	return s.expand(statement, func(secret string) string { return strings.ReplaceAll(secret, "'", "''") })
}

func (s Source) expand(text string, quote func(string) string) (string, error) {
	var failed error
	expanded := reference.ReplaceAllStringFunc(text, func(ref string) string {
		part := reference.FindStringSubmatch(ref)
		secret, err := s.find(part[1], part[2])
		if err != nil && failed == nil {
			failed = fmt.Errorf("secret %s: %w", ref, err)
		}
		return quote(secret)
	})
	if failed != nil {
		return "", failed
	}
	return expanded, nil
}

func (s Source) find(kind, name string) (string, error) {
	if kind == "file" {
		return s.file(name)
	}
	value, ok := os.LookupEnv(name)
	if !ok {
		return "", errors.New("the environment variable is not set")
	}
	return value, nil
}

// maxFile bounds the size of a file with a secret.
const maxFile = 64 << 10

// file reads a file below the directory. Links are followed only within it.
func (s Source) file(name string) (string, error) {
	if s.Dir == "" {
		return "", errors.New("files are read only below --secrets-dir, which is not set")
	}
	if !filepath.IsLocal(name) {
		return "", errors.New("the path must be relative, and below --secrets-dir")
	}
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return "", fmt.Errorf("open --secrets-dir: %w", err)
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	return read(f, name)
}

// ReadFile reads a file that contains a secret, without the end of its line. It refuses a file that
// other users can read.
func ReadFile(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // path given by the user
	if err != nil {
		return "", err
	}
	return read(f, path)
}

func read(f *os.File, path string) (string, error) {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if err := checkPrivate(path, info); err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return "", err
	case len(content) > maxFile:
		return "", fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r"), nil
}

// CheckPrivate returns an error if other users can read or change a file that contains secrets. All
// files with secrets are checked by it: passwords, tokens, keys, the users of a data directory.
func CheckPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return checkPrivate(path, info)
}

// checkPrivate accepts files of other owners, whose modes the user can't change, such as those that
// Docker and Kubernetes mount.
func checkPrivate(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() && info.Mode().Perm()&0o066 != 0 && ownFile(info) {
		return fmt.Errorf("%s contains secrets, and other users can read or change it (mode %#o): chmod 600 %[1]s", path, info.Mode().Perm())
	}
	return nil
}
