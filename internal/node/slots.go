package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"weir.example/weir/internal/engine"
)

// TakeInstances names n members of a consumer group in this process: by the process's name, or,
// where it has none, by host and numbers that no other live process of the machine has. Call free
// when they have ended.
func TakeInstances(group, name string, n int) (instances []string, free func(), err error) {
	var slots []*engine.Slot
	var dir string
	free = func() {
		for _, s := range slots {
			_ = s.Free() // the lock ends with the process in any case
		}
	}
	if name == "" && n > 0 {
		if dir, err = slotDir(); err != nil {
			return nil, nil, fmt.Errorf("find a directory for this machine's slots: %w: set TMPDIR, or name this process with --instance", err)
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

// slotDir makes the directory where the processes of this user and machine agree on their numbers
// (see engine.TakeSlot). Unlike runtimeDir it does not depend on XDG_RUNTIME_DIR, which a login
// session has and a job of cron does not. Where no files can be written in the directory for
// temporary files, it is in the user's cache.
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

// makePrivate makes directories below base that only this user can use, and sees that files can be
// made in the last one.
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
