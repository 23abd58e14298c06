package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Parts of changing pipelines. Each row of the readings is sent twice.
const (
	countSensors    = `INSERT INTO sums SELECT sensor, COUNT(*) FROM readings GROUP BY sensor;`
	distinctSensors = `INSERT INTO sums SELECT sensor, COUNT(*) FROM (SELECT DISTINCT sensor, n FROM readings) GROUP BY sensor;`
	countParities   = `INSERT INTO parities SELECT parity, COUNT(*) FROM plain GROUP BY parity;`
	lastOfSensors   = `INSERT INTO sums SELECT sensor, MAX(n) FROM readings GROUP BY sensor;`
	copyReadings    = `INSERT INTO copies SELECT n FROM readings;`
	evenSensors     = `INSERT INTO sums SELECT sensor, COUNT(*) FROM readings WHERE MOD(n, 2) = 0 GROUP BY sensor;`
	otherSensors    = `CREATE TABLE others (sensor STRING NOT NULL, c BIGINT NOT NULL, PRIMARY KEY (sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'others',
  'key.format' = 'raw', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');`
	oddSensors = `INSERT INTO others SELECT sensor, COUNT(*) FROM readings WHERE MOD(n, 2) = 1 GROUP BY sensor;`
)

// set returns the INSERTs as one statement set.
func set(inserts ...string) string {
	return "EXECUTE STATEMENT SET BEGIN " + strings.Join(inserts, "\n") + " END;"
}

// sendTwice sends the next n readings, each of them twice.
func (s *site) sendTwice(n int) {
	s.Helper()
	s.send(n)
	s.sent -= n
	s.send(n)
}

// totals returns the sum of the counts in a table, and that of each key.
func (s *site) totals(topic string) (total int, byKey map[string]int) {
	s.Helper()
	byKey = make(map[string]int)
	s.read(topic, func(r *kgo.Record) {
		var c int
		if _, err := fmt.Sscanf(string(r.Value), `{"c":%d}`, &c); err != nil {
			s.Fatal(err)
		}
		byKey[string(r.Key)] = c
	})
	for _, c := range byKey {
		total += c
	}
	return total, byKey
}

func (s *site) wantTotal(topic string, want int) {
	s.Helper()
	if got, keys := s.totals(topic); got != want {
		s.Errorf("%s: total %d, want %d: %v\n%s", topic, got, want, keys, s.log.String())
	}
}

// plan returns the manifest that the last start has written.
func (s *site) plan() (m *manifest, text []byte) {
	s.Helper()
	p := &pipeline{cfg: Config{Broker: s.at, Program: s.program(s.query())}}
	m, err := p.readManifest(s.Context())
	if err != nil || m == nil {
		s.Fatalf("read the plan: %v, %v", m, err)
	}
	s.read("p.plan", func(r *kgo.Record) { text = r.Value })
	return m, text
}

// changing runs a test with 2 and 4 partitions, and with and without local copies of the state.
func changing(t *testing.T, test func(*site)) {
	t.Helper()
	for _, partitions := range []int32{2, 4} {
		for _, copies := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/copies %t", partitions, copies), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, "changing", partitions)
				if copies {
					s.stateDir = t.TempDir()
				}
				test(s)
			})
		}
	}
}

// SQL changes upstream, before and after: what keeps the same state continues from it, and what is
// new starts with the rows that are read from then on.
func TestChangedPlanKeepsState(t *testing.T) {
	changing(t, func(s *site) {
		s.insert = countSensors
		s.sendTwice(20)
		s.run()
		s.wantTotal("sums", 40)
		if m, _ := s.plan(); m.Version != manifestPositions {
			s.Errorf("version %d for names by position", m.Version)
		}

		s.insert = distinctSensors // a deduplication upstream
		s.sendTwice(20)
		s.run()
		s.wantTotal("sums", 60)
		if m, _ := s.plan(); m.Version != manifestNames {
			s.Errorf("version %d for other names: an older Weir would read it", m.Version)
		}

		s.insert = set(countParities, distinctSensors) // an INSERT before it, with an exchange
		s.sendTwice(20)
		s.run()
		s.wantTotal("sums", 80)
		s.wantTotal("parities", 40)

		s.insert = set(distinctSensors, copyReadings, countParities) // reordered, and a stateless one
		s.sendTwice(20)
		s.run()
		s.wantTotal("sums", 100)
		s.wantTotal("parities", 80)
		copied := 0
		s.read("copies", func(*kgo.Record) { copied++ })
		if copied != 40 {
			s.Errorf("%d rows copied, want 40", copied)
		}

		s.deleteGroup() // the positions are in the state
		s.sendTwice(20)
		s.run()
		s.wantTotal("sums", 120)
		s.wantTotal("parities", 120)
		m, text := s.plan()
		topics := slices.Sorted(maps.Keys(m.Topics))
		if _, err := RunningPlan(text, "p"); err != nil {
			s.Error(err)
		}
		for _, topic := range []string{"p.stage1.changelog", "p.stage2.changelog", "p.stage3.changelog", "p.repartition1"} {
			if !slices.Contains(topics, topic) {
				s.Errorf("topics %v do not have %s", topics, topic)
			}
		}
	})
}

// Relations with equal signatures keep their own state when their order changes.
func TestSwappedINSERTs(t *testing.T) {
	changing(t, func(s *site) {
		s.insert = otherSensors + set(evenSensors, oddSensors)
		s.send(31)
		s.run()
		_, even := s.totals("sums")
		_, odd := s.totals("others")
		s.insert = otherSensors + set(oddSensors, evenSensors)
		s.send(31) // the same number of odd and even readings for no sensor
		s.run()
		want := make(map[string]int)
		for i := range s.sent {
			want[fmt.Sprintf("s%d of %d", i%7, i%2)]++
		}
		_, evenNow := s.totals("sums")
		_, oddNow := s.totals("others")
		for i := range 7 {
			sensor := "s" + strconv.Itoa(i)
			if evenNow[sensor] != want[sensor+" of 0"] || oddNow[sensor] != want[sensor+" of 1"] {
				s.Errorf("%s: %d even and %d odd, were %d and %d, want %d and %d", sensor,
					evenNow[sensor], oddNow[sensor], even[sensor], odd[sensor], want[sensor+" of 0"], want[sensor+" of 1"])
			}
		}
	})
}

// State that new SQL does not read is listed, and nothing is changed: the old SQL continues.
func TestChangedPlanLosesState(t *testing.T) {
	changing(t, func(s *site) {
		s.insert = set(distinctSensors, countParities)
		s.sendTwice(20)
		s.run()
		s.insert = countSensors
		s.refused("kept: Aggregate by sensor: COUNT(*)", "lost: Distinct by sensor, n", "(stage1)", "lost: Aggregate by parity: COUNT(*)", "(stage3)", "weir run --reset p")
		s.insert = set(lastOfSensors, countParities)
		s.refused("kept: Aggregate by parity", "lost: Aggregate by sensor: COUNT(*)", "new:  Aggregate by sensor: MAX(n)")
		s.insert = set(distinctSensors, countParities)
		s.sendTwice(20)
		s.run()
		s.wantTotal("sums", 40)
		s.wantTotal("parities", 80)
	})
}

// A pipeline that was stateless until now has its positions elsewhere. They count until the new
// state has some.
func TestStateAddedToStatelessPlan(t *testing.T) {
	changing(t, func(s *site) {
		s.insert = copyReadings
		s.send(35)
		s.run()
		s.insert = set(copyReadings, countSensors)
		s.run() // reads nothing
		s.run()
		s.send(21)
		s.run()
		s.wantTotal("sums", 21)
		s.send(21)
		s.deleteGroup()
		s.run()
		s.wantTotal("sums", 42)
		seen := make(map[string]int)
		s.read("copies", func(r *kgo.Record) { seen[string(r.Value)]++ })
		for value, n := range seen {
			if n != 1 {
				s.Errorf("%s is copied %d times", value, n)
			}
		}
		if len(seen) != s.sent {
			s.Errorf("%d readings are copied, want %d", len(seen), s.sent)
		}
	})
}

// A start with a changed plan crashes at each of its transactions, before or after the commit.
func TestCrashAtEveryTransactionOfAChangedPlan(t *testing.T) {
	for _, partitions := range []int32{2, 4} {
		for _, committed := range []bool{false, true} {
			for _, copies := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/committed %t/copies %t", partitions, committed, copies), func(t *testing.T) {
					t.Parallel()
					s := newCrashSite(t, "changing", partitions)
					if copies {
						s.stateDir = t.TempDir()
					}
					s.insert = countSensors
					s.sendTwice(20)
					s.run()
					const crashes = 6
					s.insert = set(distinctSensors, countParities)
					for n := 1; n <= crashes; n++ {
						s.sendTwice(20)
						if n == 4 {
							s.insert = set(countParities, copyReadings, distinctSensors)
						}
						s.crash(n, committed)
						s.deleteLeftGroup()
					}
					s.run()
					s.wantTotal("sums", 40+20*crashes)
					s.wantTotal("parities", 40*crashes)
				})
			}
		}
	}
}

// Two pipelines with different additions start at the same time, or the plan is restored from a
// backup: the state knows which SQL wrote to it last.
func TestPlanOfOtherSQL(t *testing.T) {
	changing(t, func(s *site) {
		s.insert = countSensors
		s.sendTwice(20)
		s.run()
		_, before := s.plan()
		s.insert = distinctSensors
		s.sendTwice(20)
		s.run()
		_, after := s.plan()
		s.append(&kgo.Record{Topic: "p.plan", Key: []byte("plan"), Value: before})
		s.insert = countSensors
		s.refused("other SQL created the state in p.stage1.changelog")
		s.append(&kgo.Record{Topic: "p.plan", Key: []byte("plan"), Value: before})
		s.insert = otherSensors + set(oddSensors, countSensors) // has given the number of the deduplication to another
		s.refused("other SQL created the state in p.stage1.changelog")
		s.append(&kgo.Record{Topic: "p.plan", Key: []byte("plan"), Value: after})
		s.insert = distinctSensors
		s.sendTwice(20)
		s.run()
		s.wantTotal("sums", 80)
	})
}

// State is moved under its names, which are not those by position. A move requires the SQL that ran
// last.
func TestRepartitionOfChangedPlan(t *testing.T) {
	for _, partitions := range []int32{2, 4} {
		t.Run(strconv.Itoa(int(partitions)), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "changing", partitions)
			s.insert = countSensors
			s.sendTwice(40)
			s.run()
			s.insert = distinctSensors
			s.sendTwice(40)
			s.run()
			s.partitions += 3
			s.addPartitions("readings", s.partitions)
			s.connect()
			s.cfg.Repartition = true
			s.insert = set(countParities, distinctSensors)
			s.refused("this SQL keeps other state")
			s.insert = distinctSensors
			s.run()
			s.cfg.Repartition = false
			s.sent -= 40
			s.sendTwice(80) // half of them are known
			s.run()
			s.wantTotal("sums", 80+40+40)
		})
	}
}

// A plan of a newer version is refused by name, before any topic is created.
func TestNewerPlan(t *testing.T) {
	s := newSite(t, "keyed", 2)
	s.createTopic("p.plan")
	s.append(&kgo.Record{Topic: "p.plan", Key: []byte("plan"), Value: fmt.Appendf(nil, `{"version":%d,"stages":[]}`, manifestNames+1)})
	s.refused("the plan in topic p.plan has version 3, but this Weir reads only versions up to 2: run the newer Weir that wrote it")
	topics, err := kadm.NewClient(s.client).ListTopics(t.Context())
	if err != nil || topics.Has("p.stage1.changelog") {
		t.Errorf("topics were created: %v, %v", topics.Names(), err)
	}
}
