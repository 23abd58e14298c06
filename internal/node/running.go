package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/internal/broker/embedded"
)

// Each process that serves an embedded broker announces it in a file in a directory of its user, so
// that commands in other working directories find it. The file contains only the data directory:
// the directory's lock determines whether a broker runs there, so a stale file of a killed process
// is harmless.

// runtimeDir returns the directory in which this user's processes find each other:
// $XDG_RUNTIME_DIR/weir, or a directory of the user in the one for temporary files.
func runtimeDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "weir")
	}
	return filepath.Join(os.TempDir(), userDir())
}

// userDir returns the name of this user's directory in a place shared by all users.
func userDir() string { return "weir-" + strconv.Itoa(os.Getuid()) }

// errNotPrivate reports a directory that others can write to or may have created.
var errNotPrivate = errors.New("is not a directory that only this user can use: remove it")

// private checks that dir is a directory, not a link, and that no other user can place files in it.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 && os.Getuid() >= 0 || !ownedByUser(info) {
		return fmt.Errorf("%s %w", dir, errNotPrivate)
	}
	return nil
}

// announce announces that this process serves a data directory; withdraw removes the announcement.
func announce(dataDir string) (withdraw func(), err error) {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(runtimeDir(), 0o700); err != nil {
		return nil, err
	}
	if err := private(runtimeDir()); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(dir))
	file := filepath.Join(runtimeDir(), hex.EncodeToString(sum[:8])+".running")
	if err := os.WriteFile(file, []byte(dir+"\n"), 0o600); err != nil {
		return nil, err
	}
	return func() { _ = os.Remove(file) }, nil // a remaining file is detected as stale
}

// running returns the data directories of this user's running embedded brokers, sorted.
func running() ([]string, error) {
	err := private(runtimeDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var files []fs.DirEntry
	if err == nil {
		files, err = os.ReadDir(runtimeDir())
	}
	if err != nil {
		return nil, fmt.Errorf("find running embedded brokers: %w", err)
	}
	var dirs []string
	for _, file := range files {
		if filepath.Ext(file.Name()) != ".running" {
			continue
		}
		path := filepath.Join(runtimeDir(), file.Name())
		text, err := os.ReadFile(path) //nolint:gosec // directory of this user
		dir := strings.TrimSpace(string(text))
		if err != nil || dir == "" {
			continue
		}
		if held, err := embedded.Held(dir); err == nil && !held {
			_ = os.Remove(path)
		} else if held {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs, nil
}

// NoBrokerError reports that a command that does not create a broker has found none.
type NoBrokerError struct {
	DataDir string   // the requested data directory, which has no data
	Running []string // data directories of running brokers, if there are several
}

// Error returns the message with a hint.
func (e *NoBrokerError) Error() string {
	if len(e.Running) > 0 {
		return fmt.Sprintf("find the broker: %s does not exist here, and several embedded brokers are running elsewhere: choose one with --data-dir %s",
			e.DataDir, strings.Join(e.Running, ", --data-dir "))
	}
	return fmt.Sprintf("find the broker: no weir is running, and %s has no data: start one with weir up, or set --brokers or --data-dir",
		e.DataDir)
}
