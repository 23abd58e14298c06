package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
)

// joinsRecord returns a reading of a source of the joins; a sensor has one every 250 ms.
func joinsRecord(topic string, device, seq int) *kgo.Record {
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seq/2) * 250 * time.Millisecond)
	if topic == joinsPlanned {
		at = at.Add(300 * time.Millisecond)
	}
	return &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "d%d", device), Value: fmt.Appendf(nil,
		`{"device_id":"d%d","sensor":"s%d","value":1,"unit":"Cel","ts":"%s","seq":%d,"boot":"b"}`, device, seq%2, at.Format("2006-01-02T15:04:05.000Z"), seq)}
}

// The oracle of the joins accepts the rows of the pipeline, and detects a row that is missing,
// doubled, altered or late in the output of each join.
func TestJoinsOracleFindsFaults(t *testing.T) {
	w := newWorld(t)
	w.acks = ""
	for _, topic := range []string{joinsMeasured, joinsPlanned} {
		if err := broker.EnsureTopics(t.Context(), w.admin, []broker.Topic{{Name: topic, Partitions: 4}}); err != nil {
			t.Fatal(err)
		}
		for seq := range 120 {
			var all []*kgo.Record
			for device := range worldDevices {
				if topic == joinsMeasured || device > 2 || seq < 40 { // some readings have no partner
					all = append(all, joinsRecord(topic, device, seq))
				}
			}
			w.transact(kgo.TryCommit, len(all), all...)
		}
	}
	program, err := plan.Compile(joinsSQL(true), joinsName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Run(t.Context(), engine.Config{Broker: w.at, Program: program, Instances: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	final := func() *Verdict {
		v, err := Oracle{Broker: w.at, Joins: true, Wait: 3 * time.Second}.Final(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := final()
	if !v.Clean() || v.Joined < 100*worldDevices {
		t.Fatalf("%d rows compared, found %q", v.Joined, v.Findings())
	}
	actual, err := readJoined(t.Context(), w.at)
	if err != nil {
		t.Fatal(err)
	}
	for topic, pairs := range actual.pairs {
		unpaired := 0
		for p := range pairs {
			if p.measured == noPair || p.planned == noPair {
				unpaired++
			}
		}
		if len(pairs) < 100 || (unpaired > 0) != (topic != joinsPairs) || unpaired == len(pairs) {
			t.Errorf("%s has %d pairs, %d of them without a partner: the comparison proves too little", topic, len(pairs), unpaired)
		}
	}

	// Each mutation adds its findings to those before it.
	for _, m := range []struct {
		name   string
		record *kgo.Record
		wrong  string
	}{
		{"a row of the window join twice", w.last(joinsWindows), "C4 " + joinsWindows},
		{"a row of the interval join twice", w.last(joinsNear), "C4 " + joinsNear},
		{"a row of the regular join twice", w.last(joinsPairs), "C4 " + joinsPairs},
		{"totals lost", &kgo.Record{Topic: joinsTotals, Key: []byte("d1")}, "C4 " + joinsTotals + " of d1"},
		{"totals altered", &kgo.Record{Topic: joinsTotals, Key: []byte("d2"), Value: []byte(`{"device_id":"d2","measured":1,"planned":1,"measured_sum":1,"planned_sum":1}`)}, "C4 " + joinsTotals + " of d2"},
		{"totals of no device", &kgo.Record{Topic: joinsTotals, Key: []byte("x"), Value: []byte(`{"device_id":"x","measured":1}`)}, "C4 " + joinsTotals + " of x"},
		{"a late row", &kgo.Record{Topic: joinsLate, Value: []byte("{}")}, "C4 late row"},
	} {
		w.put(m.record)
		if found := strings.Join(final().Findings(), "\n"); !strings.Contains(found, m.wrong) {
			t.Errorf("%s: found %q, expected %q", m.name, found, m.wrong)
		}
	}
}

// Each row of each join that is missing, doubled or altered is found, whichever it is.
func TestJoinedCompare(t *testing.T) {
	measured, planned := make(side), make(side)
	for seq := range int64(64) {
		k := [2]string{fmt.Sprint("d", seq%2), "s"}
		measured[k] = append(measured[k], joinReading{seq, seq * 200})
		planned[k] = append(planned[k], joinReading{seq, seq*200 + 300})
	}
	want := expectJoins(measured, planned)
	if wrong := want.compare(expectJoins(measured, planned)); len(wrong) > 0 {
		t.Fatalf("equal output differs: %v", wrong)
	}
	for topic, pairs := range want.pairs {
		if len(pairs) == 0 {
			t.Errorf("%s is empty", topic)
		}
		for p := range pairs {
			for name, mutate := range map[string]func(map[pair]int){
				"dropped": func(rows map[pair]int) { delete(rows, p) },
				"doubled": func(rows map[pair]int) { rows[p]++ },
				"altered": func(rows map[pair]int) {
					delete(rows, p)
					rows[pair{p.device, p.sensor, p.measured, p.planned + 1000}]++
				},
			} {
				actual := expectJoins(measured, planned)
				mutate(actual.pairs[topic])
				if wrong := want.compare(actual); len(wrong) == 0 {
					t.Errorf("%s: row %s %s is not found", topic, p, name)
				}
			}
		}
	}
	for device := range want.totals {
		for name, totals := range map[string]deviceTotals{
			"measured": {want.totals[device].measured.plus(1), want.totals[device].planned},
			"planned":  {want.totals[device].measured, want.totals[device].planned.plus(1)},
		} {
			actual := expectJoins(measured, planned)
			actual.totals[device] = totals
			if wrong := want.compare(actual); len(wrong) != 1 {
				t.Errorf("totals of %s with a wrong count of %s: found %v", device, name, wrong)
			}
		}
	}
}

// The recomputation itself, on a few readings whose rows can be checked by hand.
func TestExpectJoins(t *testing.T) {
	k := [2]string{"d", "s"}
	measured := side{k: {{0, 100}, {1, 900}, {2, 1999}, {3, 4000}}}
	planned := side{k: {{3, 1900}, {8, 950}, {16, 2000}, {19, 5000}}, {"only", "s"}: {{1, 0}}}
	got := expectJoins(measured, planned)
	want := &joined{
		pairs: map[string]map[pair]int{
			joinsWindows: {{"d", "s", 0, 8}: 1, {"d", "s", 2, noPair}: 1, {"d", "s", noPair, 16}: 1},
			joinsNear:    {{"d", "s", 1, 3}: 1, {"d", "s", 3, 19}: 1},
			joinsPairs:   {{"d", "s", 3, 3}: 1},
		},
		totals: map[string]deviceTotals{"d": {figure{4, 6}, figure{4, 46}}},
	}
	if wrong := want.compare(got); len(wrong) > 0 {
		t.Errorf("%v", wrong)
	}
}
