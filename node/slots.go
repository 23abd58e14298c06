package node

import (
	"fmt"
	"os"
	"path/filepath"

	"weir/engine"
)

// TakeInstances names n members of a consumer group in this process: by the process's name, or, where it has none, by host and
// numbers that no other live process of the machine has. Call free when they have ended.
func TakeInstances(group, name string, n int) (instances []string, free func(), err error) {
	var slots []*engine.Slot
	free = func() {
		for _, s := range slots {
			_ = s.Free() // the lock ends with the process in any case
		}
	}
	for i := range n {
		if name != "" {
			instances = append(instances, fmt.Sprintf("%s-%d", name, i))
			continue
		}
		slot, err := engine.TakeSlot(slotDir(), group)
		if err != nil {
			free()
			return nil, nil, err
		}
		slots = append(slots, slot)
		instances = append(instances, slot.Instance)
	}
	return instances, free, nil
}

// slotDir is where the processes of this machine agree on their numbers (see engine.TakeSlot).
func slotDir() string { return filepath.Join(os.TempDir(), "weir-slots-"+user()) }

func user() string {
	if u := os.Getenv("USER"); u != "" {
		return u
	}
	return "weir"
}
