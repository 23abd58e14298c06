package engine

import (
	"maps"
	"slices"
	"testing"

	"weir.example/weir/internal/plan"
)

// A partition that is assigned again after a session has processed the changes to its assignment is
// resumed with the next changes, when its task exists.
func TestTakeChanges(t *testing.T) {
	s := &session{
		p:       newPipeline(Config{}),
		stages:  map[string][]*plan.Stage{"readings": {{Name: "stage1"}}},
		changed: make(map[taskID]bool), assigned: make(map[topicPartition]*assignment),
	}
	partition := map[string][]int32{"readings": {0}}
	take := func(when string, here, added bool) {
		t.Helper()
		changed, unrestored := s.takeChanges(func(error) {})
		if want := map[taskID]bool{{"stage1", 0}: here}; !maps.Equal(changed, want) {
			t.Errorf("%s: changed %v, expected %v", when, changed, want)
		}
		if got := slices.Collect(maps.Keys(unrestored)); (len(got) == 1) != added {
			t.Errorf("%s: to resume %v, expected it %t", when, got, added)
		}
		for _, a := range unrestored {
			close(a.restored)
		}
	}
	s.onAssigned(t.Context(), nil, partition)
	take("assigned", true, true)
	s.onRevoked(t.Context(), nil, partition)
	take("revoked", false, false)
	s.onAssigned(t.Context(), nil, partition)
	take("assigned again", true, true)
	s.onRevoked(t.Context(), nil, partition)
	s.onAssigned(t.Context(), nil, partition)
	take("revoked and assigned", true, true)
	if s.assignmentChanged() {
		t.Error("changes are left")
	}
}
