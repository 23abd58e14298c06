package engine

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/state"
)

// olderState is the content of the topics of version 14fb508, which recorded no positions, after a
// pipeline of some kind had processed a number of readings. That version wrote
// testdata/state-without-positions.json.
type olderState struct {
	Sent       int
	Group      map[int32]int64 // offsets of the group in the readings
	Partitions map[string]int32
	Records    []struct {
		Topic      string
		Partition  int32
		Key, Value []byte
	}
}

const adopted = "an older version of Weir wrote the state"

// newOlderSite returns a broker in the state that the older version left, except for the group's
// offsets.
func newOlderSite(t *testing.T, kind string) (*site, olderState) {
	t.Helper()
	text, err := os.ReadFile("testdata/state-without-positions.json")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]olderState)
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	old := all[kind]
	s := newSite(t, kind, 2)
	for topic, n := range old.Partitions {
		policy := "delete"
		if topic == "p.plan" || strings.HasSuffix(topic, ".changelog") || topic == "sums" || topic == "parities" {
			policy = "compact"
		}
		if _, err := s.admin.CreateTopic(t.Context(), n, 1, map[string]*string{"cleanup.policy": &policy}, topic); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range old.Records {
		s.append(&kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value})
	}
	s.send(old.Sent)
	return s, old
}

func (s *site) append(r *kgo.Record) {
	s.Helper()
	if err := s.client.ProduceSync(s.Context(), r).FirstErr(); err != nil {
		s.Fatal(err)
	}
}

// commitGroup commits offsets of the group in the readings, and in the topic between stages, which
// is read to its end.
func (s *site) commitGroup(readings map[int32]int64) {
	s.Helper()
	var offsets kadm.Offsets
	for partition, at := range readings {
		offsets.AddOffset("readings", partition, at, -1)
	}
	if s.kind == "exchanged" {
		for partition, end := range s.ends("p.repartition1") {
			if end > 0 {
				offsets.AddOffset("p.repartition1", partition, end, -1)
			}
		}
	}
	if err := s.admin.CommitAllOffsets(s.Context(), "weir-p", offsets); err != nil {
		s.Fatal(err)
	}
}

// A state of a version that recorded no positions adopts the group's offsets, once, and logs it.
// From then on its positions decide.
func TestOlderStateAdoptsGroupOffsets(t *testing.T) {
	for _, kind := range []string{"keyed", "exchanged"} {
		t.Run(kind, func(t *testing.T) {
			s, old := newOlderSite(t, kind)
			s.commitGroup(old.Group)
			s.send(30)
			s.run()
			s.want()
			at := []string{"topic=readings partition=0 offset=17", "topic=readings partition=1 offset=23"}
			if kind == "exchanged" { // its state is of the stage that reads the other topic
				at = []string{"topic=p.repartition1 partition=0 offset=40"}
			}
			for _, at := range at {
				if !strings.Contains(s.log.String(), adopted) || !strings.Contains(s.log.String(), at) {
					t.Errorf("the log does not say that offsets were adopted at %s:\n%s", at, s.log.String())
				}
			}
			s.deleteGroup()
			s.send(10)
			s.run()
			s.want()
			if strings.Contains(s.log.String(), adopted) {
				t.Errorf("offsets are adopted a second time:\n%s", s.log.String())
			}
		})
	}
}

// Without the group's offsets, what the state covers is unknown. Offsets of only some partitions
// are not enough.
func TestOlderStateWithoutGroupOffsets(t *testing.T) {
	for _, kind := range []string{"keyed", "exchanged"} {
		t.Run(kind, func(t *testing.T) {
			s, old := newOlderSite(t, kind)
			s.send(30)
			before := s.results()
			why := []string{"an older version of Weir", "group weir-p has no offset", "rows would be lost or counted twice", "weir run --reset p"}
			s.refused(why...)
			s.commitGroup(map[int32]int64{0: old.Group[0]})
			s.refused(append(why, "readings-1")...)
			if after := s.results(); after != before {
				t.Errorf("it has written %s over %s", after, before)
			}
			s.commitGroup(map[int32]int64{1: old.Group[1]})
			s.run()
			s.want()
		})
	}
}

// An older version has continued with the state of this one, and recorded no position at its end:
// the recorded positions are outdated.
func TestOlderVersionInBetween(t *testing.T) {
	s := newSite(t, "keyed", 2)
	s.send(40)
	s.run()
	before := s.ends("p.stage1.changelog")
	s.send(30)
	s.run()
	var written []*kgo.Record
	s.read("p.stage1.changelog", func(r *kgo.Record) {
		entry, ok := state.EntryOf(r.Key)
		if r.Offset < before[r.Partition] || ok && entry != positionEntry {
			written = append(written, &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value})
		}
	})
	var plan *kgo.Record
	s.read("p.plan", func(r *kgo.Record) { plan = r })
	group, err := s.admin.FetchOffsets(t.Context(), "weir-p")
	if err != nil {
		t.Fatal(err)
	}

	again := newSite(t, "keyed", 2) // the same, as the older version would have left it
	var was manifest
	if err := json.Unmarshal(plan.Value, &was); err != nil {
		t.Fatal(err)
	}
	compact := "compact"
	for topic, n := range map[string]int32{"p.plan": 1, "p.stage1.changelog": 2, "sums": 2} {
		if _, err := again.admin.CreateTopic(t.Context(), n, 1, map[string]*string{"cleanup.policy": &compact}, topic); err != nil {
			t.Fatal(err)
		}
	}
	was.Version, was.Topics = 0, nil // it knows neither
	value, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	again.append(&kgo.Record{Topic: "p.plan", Key: plan.Key, Value: value})
	for _, r := range written {
		again.append(r)
	}
	again.send(70)
	offsets := make(map[int32]int64)
	for partition, o := range group["readings"] {
		offsets[partition] = o.At
	}
	again.commitGroup(offsets)
	again.send(10)
	again.run()
	if !strings.Contains(again.log.String(), adopted) {
		t.Errorf("the offsets are not adopted:\n%s", again.log.String())
	}
	if got, want := again.results(), "sums: 7 keys, total 80\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
