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
// after one was killed gets the same number, and with it the same transactional id: taking that id
// ends the dead process's transaction at once, where a random id would leave readers waiting for
// its timeout.
type Slot struct {
	Instance string // host name, user and number, for Config.Instances
	lock     *flock.Flock
}

// maxSlots bounds the processes of one group on one machine.
const maxSlots = 256

// slotWait is how long to wait for another process that is taking a slot, which takes it
// milliseconds.
const slotWait = 10 * time.Second

// TakeSlot takes the lowest free number of a group on this machine, by a lock file in dir, which
// nobody but this user may write to. Files that no live process has locked are removed.
func TakeSlot(dir, group string) (*Slot, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find host name: %w", err)
	}
	unlock, err := lockSlots(dir)
	if err != nil {
		return nil, fmt.Errorf("take a slot of group %s in %s: %w", group, dir, err)
	}
	defer unlock()
	if err := sweepSlots(dir); err != nil {
		return nil, fmt.Errorf("remove old slots in %s: %w", dir, err)
	}
	for i := range maxSlots {
		lock := flock.New(filepath.Join(dir, url.PathEscape(group)+"-"+strconv.Itoa(i)+".slot"), flock.SetPermissions(0o600))
		free, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("take a slot of group %s: %w", group, err)
		}
		if free {
			return &Slot{Instance: instanceName(host, os.Getuid(), i), lock: lock}, nil
		}
	}
	return nil, fmt.Errorf("take a slot of group %s: all %d on this machine are taken: name this process with --instance", group, maxSlots)
}

// instanceName differs between the users of a machine, who do not see each other's slots. Root's
// and that of systems without user ids has none.
func instanceName(host string, uid, slot int) string {
	if uid > 0 {
		host += "-u" + strconv.Itoa(uid)
	}
	return host + "-" + strconv.Itoa(slot)
}

// lockSlots waits until no other process takes a slot in dir. Files of slots are created and
// removed only under this lock: a process could otherwise lock a file that another one has just
// removed.
func lockSlots(dir string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), slotWait)
	defer cancel()
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 5*time.Millisecond); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("another process has held %s for %s: end it, or name this process with --instance", lock.Path(), slotWait)
		}
		return nil, err
	}
	return func() { _ = lock.Close() }, nil // the lock ends with the process in any case
}

// sweepSlots removes the files of slots that no live process has.
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

// Free gives the number back.
func (s *Slot) Release() error { return s.lock.Close() }
