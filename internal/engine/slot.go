package engine

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
)

// Slot is a number that no other live process of a group has on this machine. A process that starts
// after another one was killed gets the same number, and with it the same transactional id.
// Acquiring that id ends the dead process's transaction immediately; with a random id, readers
// would wait for its timeout.
type Slot struct {
	Instance string // host name, user and number, for Config.Instances
	lock     *flock.Flock
}

// maxSlots limits the processes of one group on one machine.
const maxSlots = 256

// slotWait is how long to wait for another process that is taking a slot, which takes milliseconds.
const slotWait = 10 * time.Second

// TakeSlot takes the lowest free number of a group on this machine, by a lock file in dir, which
// must be writable for this user only. It removes the files that no live process has locked.
func TakeSlot(dir, group string) (*Slot, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find host name: %w", err)
	}
	unlock, err := lockSlots(dir)
	if err != nil {
		return nil, fmt.Errorf("acquire a slot of group %s in %s: %w", group, dir, err)
	}
	defer unlock()
	if err := sweepSlots(dir); err != nil {
		return nil, fmt.Errorf("remove old slots in %s: %w", dir, err)
	}
	for i := range maxSlots {
		lock := flock.New(filepath.Join(dir, url.PathEscape(group)+"-"+strconv.Itoa(i)+".slot"), flock.SetPermissions(0o600))
		free, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("acquire a slot of group %s: %w", group, err)
		}
		if free {
			return &Slot{Instance: instanceName(host, os.Getuid(), i), lock: lock}, nil
		}
	}
	return nil, fmt.Errorf("acquire a slot of group %s: all %d on this machine are in use: name this process with --instance", group, maxSlots)
}

// instanceName includes the user id, because users of a machine do not see each other's slots. It
// is left out for root and on systems without user ids.
func instanceName(host string, uid, slot int) string {
	if uid > 0 {
		host += "-u" + strconv.Itoa(uid)
	}
	return host + "-" + strconv.Itoa(slot)
}

// lockSlots waits until no other process is taking a slot in dir. Slot files are created and
// removed only under this lock: otherwise a process could lock a file that another one has just
// removed.
func lockSlots(dir string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), slotWait)
	defer cancel()
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 5*time.Millisecond); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("another process has held %s for %s: stop it, or name this process with --instance", lock.Path(), slotWait)
		}
		return nil, err
	}
	return func() { _ = lock.Close() }, nil // the process releases the lock in any case
}

// sweepSlots removes the slot files that no live process has locked.
func sweepSlots(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.slot"))
	if err != nil {
		return err
	}
	for _, file := range files {
		lock := flock.New(file)
		free, err := lock.TryLock()
		if err == nil && free {
			err = errors.Join(os.Remove(file), lock.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Release makes the number available again.
func (s *Slot) Release() error { return s.lock.Close() }
