package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"weir.example/weir/internal/engine"
)

// TakeInstances returns names for n members of a consumer group in this process, derived from the
// process's name or, if it has none, from the host name and numbers that no other live process on
// this machine uses. Call free when the members have stopped.
func TakeInstances(group, name string, n int) (instances []string, free func(), err error) {
	var slots []*engine.Slot
	var dir string
	free = func() {
		for _, s := range slots {
			_ = s.Release() // the lock is released when the process exits in any case
		}
	}
	if name == "" && n > 0 {
		if dir, err = slotDir(); err != nil {
			return nil, nil, fmt.Errorf("create a directory for slots: %w: set TMPDIR, or name this process with --instance", err)
		}
	}
	for i := range n {
		if name != "" {
			instances = append(instances, fmt.Sprintf("%s-%d", name, i))
			continue
		}
		slot, err := engine.TakeSlot(dir, group)
		if err != nil {
			free()
			return nil, nil, err
		}
		slots = append(slots, slot)
		instances = append(instances, slot.Instance)
	}
	return instances, free, nil
}

// slotDir creates the directory in which this user's processes agree on their numbers (see
// engine.TakeSlot). Unlike runtimeDir, it does not depend on XDG_RUNTIME_DIR, which is set in login
// sessions but not in cron jobs. If the directory for temporary files is not writable, it is in the
// user's cache directory.
func slotDir() (string, error) {
	dir, err := makePrivate(os.TempDir(), userDir(), "slots")
	if err == nil || errors.Is(err, errNotPrivate) {
		return dir, err
	}
	cache, cacheErr := os.UserCacheDir()
	if cacheErr == nil {
		dir, cacheErr = makePrivate(cache, "weir", "slots")
	}
	if cacheErr != nil {
		return "", fmt.Errorf("%w; %w", err, cacheErr)
	}
	return dir, nil
}

// makePrivate creates nested directories in base that only this user can access, and checks that
// the last one is writable.
func makePrivate(base string, names ...string) (string, error) {
	dir := base
	if _, err := os.Stat(base); err != nil {
		return "", err
	}
	for _, name := range names {
		dir = filepath.Join(dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if err := private(dir); err != nil {
			return "", err
		}
	}
	probe, err := os.CreateTemp(dir, "probe")
	if err != nil {
		return "", err
	}
	return dir, errors.Join(probe.Close(), os.Remove(probe.Name()))
}
