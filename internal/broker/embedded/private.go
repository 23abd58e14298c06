package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A data directory holds every reading and the password verifiers of users, so only its owner may
// access it: directories have mode 0700, files 0600. kfake creates its files with 0644 and its
// directories with 0755; they are out of reach below kafka/, which Open creates first, and are
// tightened at the start, at each maintenance and at the end.

const (
	privateDir  = 0o700
	privateFile = 0o600
)

// entries of a data directory, by exact name or, with a final *, by prefix. Other files in the
// directory are not the broker's, and keep their modes.
var ownEntries = []string{
	lockFile, joinedFile, addrFile, uncleanFile, dataDir, floorsFile, reserveFile,
	linkingDir, linkedDir, doneDir, windowsDir, "commit-intent.*", "transactions*", // journals
	"users.json*", "internal.secret", "broker.tls", "tls", // logins and TLS
	"registry.addr", "state", // of the registry and the pipelines
	"audit.*", "audit-*", "ingest-spool", "mqtt", // the audit trail, and what devices have sent
}

func isOwnEntry(name string) bool {
	name = strings.TrimSuffix(name, ".tmp")
	return slices.ContainsFunc(ownEntries, func(own string) bool {
		prefix, isPrefix := strings.CutSuffix(own, "*")
		return name == own || isPrefix && strings.HasPrefix(name, prefix)
	})
}

// createPrivate creates kfake's directory in the data directory, and tightens and logs what an
// earlier version has left with wider modes.
func createPrivate(dir string, log *slog.Logger) error {
	if err := os.MkdirAll(filepath.Join(dir, dataDir), privateDir); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	changed, err := tighten(dir)
	if changed > 0 {
		log.Info("restricted the data directory to its owner", "part", "broker", "dir", dir, "changed", changed)
	}
	if err != nil {
		log.Warn("cannot restrict the data directory to its owner: other users may be able to read it",
			"part", "broker", "dir", dir, "err", err)
	}
	return nil
}

// tighten tightens what kfake has created.
func (b *Broker) tighten() {
	if _, err := tighten(b.cfg.Dir); err != nil {
		b.cfg.Logger.Debug("restrict new files to their owner", "part", "broker", "err", err)
	}
}

// tighten removes the permissions of other users from the broker's files and directories, and from
// dir itself if it has nothing else in it. It returns the number of changed modes.
func tighten(dir string) (changed int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var errs []error
	shared := false
	for _, e := range entries {
		if !isOwnEntry(e.Name()) {
			shared = true
			continue
		}
		n, err := tightenTree(filepath.Join(dir, e.Name()))
		changed += n
		errs = append(errs, err)
	}
	if !shared {
		n, err := tightenOne(dir)
		changed += n
		errs = append(errs, err)
	}
	return changed, errors.Join(errs...)
}

// tightenTree tightens a file, or a directory and everything in it. It does not follow links.
func tightenTree(root string) (changed int, err error) {
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			var n int
			n, err = tightenOne(path)
			changed += n
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		return err
	})
	return changed, err
}

func tightenOne(path string) (changed int, err error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 || !info.Mode().IsRegular() && !info.IsDir() {
		return 0, err
	}
	mode := fs.FileMode(privateFile)
	if info.IsDir() {
		mode = privateDir
	}
	return 1, os.Chmod(path, mode)
}
