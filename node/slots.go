package node

import (
	"os"
	"path/filepath"
)

// SlotDir is where the processes of this machine agree on their numbers (see engine.TakeSlot).
func SlotDir() string { return filepath.Join(os.TempDir(), "weir-slots-"+user()) }

func user() string {
	if u := os.Getenv("USER"); u != "" {
		return u
	}
	return "weir"
}
