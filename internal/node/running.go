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

// Each process that serves an embedded broker leaves a note in a directory of its user, so that
// commands in other working directories find it. The note holds nothing but the data directory:
// whether a broker runs there is for the lock of that directory to say, and so a note that a killed
// process left behind does no harm.

// runtimeDir is where the processes of this user and machine find each other:
// $XDG_RUNTIME_DIR/weir, or a directory of the user's below the one for temporary files.
func runtimeDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "weir")
	}
	return filepath.Join(os.TempDir(), userDir())
}

// userDir is the name of this user's directory in a place that all users share.
func userDir() string { return "weir-" + strconv.Itoa(os.Getuid()) }

// errNotPrivate says that others can write to a directory, or may have made it.
var errNotPrivate = errors.New("is not a directory that only this user can use: remove it")

// private makes sure that dir is a directory, not a link, and that nobody else can write files for
// this user to follow.
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

// announce notes that this process serves a data directory, and returns what removes the note.
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
	note := filepath.Join(runtimeDir(), hex.EncodeToString(sum[:8])+".running")
	if err := os.WriteFile(note, []byte(dir+"\n"), 0o600); err != nil {
		return nil, err
	}
	return func() { _ = os.Remove(note) }, nil // what stays is found to be stale
}

// running lists the data directories whose embedded broker runs now and was started by this user,
// sorted.
func running() ([]string, error) {
	err := private(runtimeDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var notes []fs.DirEntry
	if err == nil {
		notes, err = os.ReadDir(runtimeDir())
	}
	if err != nil {
		return nil, fmt.Errorf("look for running embedded brokers: %w", err)
	}
	var dirs []string
	for _, note := range notes {
		if filepath.Ext(note.Name()) != ".running" {
			continue
		}
		path := filepath.Join(runtimeDir(), note.Name())
		text, err := os.ReadFile(path) //nolint:gosec // a directory of this user's
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

// NoBrokerError says that a command which makes no broker found none.
type NoBrokerError struct {
	DataDir string   // where there is no data
	Running []string // data directories of brokers that run elsewhere, where there are several
}

// Error says what was looked for and how to go on.
func (e *NoBrokerError) Error() string {
	if len(e.Running) > 0 {
		return fmt.Sprintf("find the broker: %s does not exist here, and several embedded brokers run elsewhere: choose one with --data-dir %s",
			e.DataDir, strings.Join(e.Running, ", --data-dir "))
	}
	return fmt.Sprintf("find the broker: no Weir is running, and %s holds no data: start one with weir up, or name a broker with --brokers or a data directory with --data-dir",
		e.DataDir)
}
