package engine

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

// The modes that do not start at the beginning. The timestamp is later than all rows that exist at
// the first start.
var laterModes = map[string]string{
	"latest":    "'scan.startup.mode' = 'latest-offset'",
	"timestamp": fmt.Sprintf("'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp-millis' = '%d'", time.Now().Add(time.Hour).UnixMilli()),
	"group":     "'scan.startup.mode' = 'group-offsets', 'properties.auto.offset.reset' = 'latest'",
}

// later runs a test for each kind of pipeline and each of these modes. Half of the sites have rows
// that were sent before the pipeline's first start, which it must not read.
func later(t *testing.T, test func(*site)) {
	t.Helper()
	for kind := range accidentPipelines {
		for name, mode := range laterModes {
			for _, before := range []int{0, 100} {
				t.Run(fmt.Sprintf("%s/%s/%d", kind, name, before), func(t *testing.T) {
					t.Parallel()
					s := newSite(t, kind, 3)
					s.mode = mode
					s.send(before)
					s.sent = 0
					test(s)
				})
			}
		}
	}
}

// prepared simulates a start that is killed before it has read anything.
func (s *site) prepared() {
	s.Helper()
	cfg := Config{Broker: s.at, Program: s.program(accidentPipelines[s.kind]), Instances: []string{"a", "b"}, UntilEnd: true, Repartition: s.cfg.Repartition}
	cfg = cfg.withDefaults()
	p := newPipeline(cfg)
	if err := p.prepare(s.Context()); err != nil {
		s.Fatal(err)
	}
	p.schemas.close()
}

// sendTo writes readings to one partition. Their keys do not belong there.
func (s *site) sendTo(partition int32, n int) {
	s.Helper()
	for range n {
		r := &kgo.Record{Topic: "readings", Partition: partition, Key: fmt.Appendf(nil, "s%d", s.sent%7), Value: fmt.Appendf(nil, `{"n":%d,"parity":%d}`, s.sent, s.sent%2)}
		if err := s.client.ProduceSync(s.Context(), r).FirstErr(); err != nil {
			s.Fatal(err)
		}
		s.sent++
	}
}

// Rows that existed at the first start are not read, and all later ones are, however the first
// starts ended, and whatever happens to the group.
func TestBeginIsDecidedOnce(t *testing.T) {
	later(t, func(s *site) {
		s.prepared()
		s.send(20)
		s.prepared()
		s.send(20)
		s.run()
		s.want()
		s.deleteGroup()
		s.send(50)
		s.run()
		s.want()
	})
}

// A partition without rows at the first start is read from its end offset at that time.
func TestBeginOfAnEmptyPartition(t *testing.T) {
	for name, mode := range laterModes {
		for _, kind := range []string{"stateless", "exchanged"} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, kind, 4)
				s.mode = mode
				s.sendTo(1, 10)
				s.sent = 0
				s.run()
				s.sendTo(0, 5)
				s.run()
				for p := range s.partitions {
					s.sendTo(p, 5+int(p))
				}
				s.run()
				s.want()
			})
		}
	}
}

// Partitions that a source gains after the first start are read from their beginning, as in Flink.
func TestBeginOfAddedPartitions(t *testing.T) {
	later(t, func(s *site) {
		s.run()
		s.send(30)
		s.run()
		s.partitions += 4
		s.addPartitions("readings", s.partitions)
		s.connect()
		if s.kind != "stateless" {
			s.cfg.Repartition = true
			s.prepared()
		}
		s.send(100)
		s.cfg.Repartition = false
		s.run()
		s.want()
		s.send(10)
		s.run()
		s.want()
	})
}

// The same for a running stateless pipeline that has not yet discovered the partitions when their
// first rows arrive.
func TestBeginOfAddedPartitionsWhileRunning(t *testing.T) {
	for name, mode := range laterModes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "stateless", 2)
			s.mode = mode
			s.send(10)
			s.sent = 0
			s.run()
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			read, done := make(chan int, 1000), make(chan error, 1)
			go func() {
				_, err := Run(ctx, Config{Broker: s.at, Program: s.program(accidentPipelines[s.kind]), Instances: []string{"a", "b"},
					metadataAge: 300 * time.Millisecond, CommitInterval: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
					OnCommit: func(c Commit) { read <- c.Records }})
				done <- err
			}()
			await := func(rows int) {
				for n := 0; n < rows; {
					select {
					case more := <-read:
						n += more
					case err := <-done:
						t.Fatalf("it stopped: %v", err)
					case <-ctx.Done():
						t.Fatalf("it read %d rows of %d", n, rows)
					}
				}
			}
			s.send(10)
			await(10)
			s.partitions = 5
			s.addPartitions("readings", s.partitions)
			s.connect()
			s.send(100)
			await(100)
			stop()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			s.want()
		})
	}
}

// A changed mode applies until something is committed; after that the decision is kept.
func TestBeginByAnotherMode(t *testing.T) {
	s := newSite(t, "stateless", 3)
	s.send(20)
	s.mode = laterModes["latest"]
	s.prepared()
	s.mode = ""
	s.run()
	s.want()
	s.mode = laterModes["latest"]
	s.send(20)
	s.run()
	s.want()
	s.mode = laterModes["timestamp"]
	s.send(20)
	s.run()
	s.want()
}

// If two processes start a pipeline for the first time, the plan that is written first decides.
func TestBeginOfTwoFirstStarts(t *testing.T) {
	s := newSite(t, "stateless", 2)
	s.mode = laterModes["latest"]
	s.send(10)
	s.sent = 0
	s.prepared()
	s.send(10)
	cfg := Config{Broker: s.at, Program: s.program(accidentPipelines[s.kind]), Instances: []string{"c"}}
	cfg = cfg.withDefaults()
	other := newPipeline(cfg)
	if err := other.prepare(t.Context()); err != nil { // for its topics
		t.Fatal(err)
	}
	if err := other.decideStartups(t.Context(), s.admin, nil, false); err != nil {
		t.Fatal(err)
	}
	late, _ := other.startupOf(topicPartition{"readings", 0})
	if err := other.writeManifest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.agreeOnStartups(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at, _ := other.startupOf(topicPartition{"readings", 0}); at >= late {
		t.Errorf("the second start begins at offset %d, want one before %d", at, late)
	}
	s.run()
	s.want()
}

// Rows that were deleted between the first start and the first read are reported.
func TestBeginIsDeleted(t *testing.T) {
	s := newSite(t, "stateless", 2)
	s.mode = laterModes["latest"]
	s.sendTo(0, 5)
	s.prepared()
	s.sendTo(0, 5)
	var upTo kadm.Offsets
	upTo.AddOffset("readings", 0, 7, -1)
	if got, err := s.admin.DeleteRecords(t.Context(), upTo); err != nil || got.Error() != nil {
		t.Fatal(err, got.Error())
	}
	s.run()
	if log := s.log.String(); !strings.Contains(log, "records were skipped") || !strings.Contains(log, "from=5 to=7") {
		t.Errorf("nothing is reported: %s", log)
	}
}

// A topic is read once: if tables started at different offsets, rows of one would be missing.
func TestBeginOfOneTopicTwice(t *testing.T) {
	s := newSite(t, "stateless", 2)
	sql := strings.Replace(accidentSource, "earliest-offset", "latest-offset", 1) +
		"EXECUTE STATEMENT SET BEGIN INSERT INTO copies SELECT n FROM readings; INSERT INTO copies SELECT n FROM plain; END;"
	program, err := plan.Compile(sql, "p")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), Config{Broker: s.at, Program: program, Instances: []string{"a"}, UntilEnd: true})
	for _, want := range []string{"readings", "plain", "scan.startup.mode"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
