package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gofrs/flock"
)

// Slot is a number that no other live process of a group on this machine has. A process that starts
// after one was killed gets the same number, and with it the same transactional id: taking it ends the
// dead one's transaction at once, where a random id would leave readers waiting for its timeout.
type Slot struct {
	Instance string // host name and number, for Config.Instance
	lock     *flock.Flock
}

// maxSlots bounds the processes of one group on one machine.
const maxSlots = 256

// TakeSlot takes the lowest free number of a group on this machine, by a lock file in dir.
func TakeSlot(dir, group string) (*Slot, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find host name: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make folder of slots: %w", err)
	}
	for i := range maxSlots {
		lock := flock.New(filepath.Join(dir, group+"-"+strconv.Itoa(i)+".slot"))
		free, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("take a slot of group %s: %w", group, err)
		}
		if free {
			return &Slot{Instance: host + "-" + strconv.Itoa(i), lock: lock}, nil
		}
	}
	return nil, errors.New("all 256 slots of group " + group + " on this machine are taken: name this process with --instance")
}

// Free gives the number back.
func (s *Slot) Free() error { return s.lock.Unlock() }
