package engine

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func take(t *testing.T, dir, group string) *Slot {
	t.Helper()
	s, err := TakeSlot(dir, group)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Release() })
	return s
}

func slotFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.slot"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A process gets the lowest free number of the group. Another group has separate numbers, whatever
// its name.
func TestSlotNumbers(t *testing.T) {
	dir := t.TempDir()
	first, second := take(t, dir, "a"), take(t, dir, "a")
	if !strings.HasSuffix(first.Instance, "-0") || !strings.HasSuffix(second.Instance, "-1") {
		t.Errorf("got %s and %s, expected numbers 0 and 1", first.Instance, second.Instance)
	}
	for _, group := range []string{"b", "../a", "a/b", "a-0.slot", "größe *[", "a-1"} {
		if s := take(t, dir, group); !strings.HasSuffix(s.Instance, "-0") {
			t.Errorf("group %q got %s, expected number 0", group, s.Instance)
		}
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	if again := take(t, dir, "a"); again.Instance != first.Instance {
		t.Errorf("got %s, expected %s, which is free again", again.Instance, first.Instance)
	}
}

// Files of dead processes of any group are removed; those of live ones are not.
func TestSlotsAreSwept(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"gone-0.slot", "gone-1.slot"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	live := take(t, dir, "live")
	next := take(t, dir, "live")
	if got := slotFiles(t, dir); len(got) != 2 || live.Instance == next.Instance {
		t.Errorf("there are %v for %s and %s", got, live.Instance, next.Instance)
	}
	if info, err := os.Stat(live.lock.Path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
}

// Slots acquired concurrently, while others are released, are distinct.
func TestSlotsTogether(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	held := make(map[string]bool)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				s, err := TakeSlot(dir, "g")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if held[s.Instance] {
					t.Errorf("%s was taken twice", s.Instance)
				}
				held[s.Instance] = true
				mu.Unlock()
				mu.Lock()
				delete(held, s.Instance)
				mu.Unlock()
				if err := s.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// Two users have different instances, though each has number 0.
func TestInstanceNames(t *testing.T) {
	names := make(map[string]bool)
	for _, uid := range []int{0, 1, 1000, 10001} {
		for slot := range 3 {
			names[instanceName("box", uid, slot)] = true
		}
	}
	if len(names) != 12 {
		t.Errorf("some of %v are the same", names)
	}
}
