package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

func (s *site) addPartitions(topic string, n int32) {
	s.Helper()
	resp, err := s.admin.UpdatePartitions(s.Context(), int(n), topic)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		s.Fatal(err)
	}
}

// A source gains partitions while a pipeline runs. A stateful pipeline stops before it reads any of
// their rows, with its state unchanged; a stateless one reads them.
func TestPartitionsAddedWhileRunning(t *testing.T) {
	everywhere(t, func(s *site) {
		ctx, stop := context.WithTimeout(s.Context(), 20*time.Second)
		defer stop()
		read := make(chan int, 1000)
		done := make(chan error, 1)
		go func() {
			_, err := Run(ctx, Config{Broker: s.at, Program: s.program(accidentPipelines[s.kind]), Instances: []string{"a", "b"}, StateDir: s.stateDir,
				metadataAge: 50 * time.Millisecond, CommitInterval: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
				OnCommit: func(c Commit) { read <- c.Records }})
			done <- err
		}()
		s.send(10)
		for n := 0; n < 10; {
			select {
			case more := <-read:
				n += more
			case <-ctx.Done():
				s.Fatal("it reads nothing")
			}
		}
		s.partitions *= 2
		s.addPartitions("readings", s.partitions)
		s.connect()
		s.send(100)
		if s.kind == "stateless" {
			for n := 0; n < 100; {
				select {
				case more := <-read:
					n += more
				case err := <-done:
					s.Fatalf("it stopped: %v\n%s", err, s.log.String())
				case <-ctx.Done():
					s.Fatalf("the new partitions are not read: %s", s.log.String())
				}
			}
			stop()
			if err := <-done; err != nil {
				s.Fatal(err)
			}
			s.want()
			return
		}
		err := <-done
		if err == nil || !strings.Contains(err.Error(), "now has") || !strings.Contains(err.Error(), "--repartition") || !strings.Contains(err.Error(), "--reset p") {
			s.Fatalf("it was not refused: %v", err)
		}
		s.refused("readings", "--reset p")
		for _, topic := range memory[s.kind] {
			for partition, end := range s.ends(topic) {
				if partition >= s.partitions/2 && end > 0 {
					s.Errorf("a task of a new partition has written to %s-%d", topic, partition)
				}
			}
		}
		s.cfg.Repartition = true
		switch err := s.try(); {
		case err == nil: // the old partitions were read to their ends before the new ones were seen
			s.want()
		case !strings.Contains(err.Error(), "is read up to offset"):
			s.Errorf("with a lag: %v", err)
		}
	})
}

func (s *site) ends(topic string) map[int32]int64 {
	s.Helper()
	ends, err := committedEnds(s.Context(), s.admin, topic)
	if err != nil {
		s.Fatal(err)
	}
	return ends[topic]
}

// A source may gain partitions once all of it is read. The group's offsets do not matter: the state
// has the positions.
func TestRepartition(t *testing.T) {
	for _, kind := range []string{"exchanged", "keyed", "mixed"} {
		for _, partitions := range []int32{2, 4} {
			s := newSite(t, kind, partitions)
			s.send(100)
			s.run()
			s.deleteGroup()
			s.partitions += 3
			s.addPartitions("readings", s.partitions)
			s.connect()
			s.refused("input readings now has", "--repartition")
			s.cfg.Repartition = true
			s.run()
			s.cfg.Repartition = false
			s.send(100)
			s.run()
			s.want()
		}
	}
}

// Sessions after an exchange keep the lanes of a UNION's rows, which depend on the number of
// sending tasks: such a source must not gain partitions. This does not apply to other windows, nor
// to sessions without a UNION.
func TestRepartitionOfLanes(t *testing.T) {
	const tables = `SET 'pipeline.name' = 'p';
CREATE TABLE readings (sensor STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE counts (sensor STRING, e TIMESTAMP(3), n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'counts', 'format' = 'json');
CREATE VIEW twice AS SELECT sensor, ts FROM readings UNION ALL SELECT 'other', ts FROM readings;
INSERT INTO counts SELECT sensor, window_end, COUNT(*) FROM TABLE(%s) GROUP BY sensor, window_start, window_end;`
	const session, tumble = "SESSION(TABLE %s PARTITION BY sensor, DESCRIPTOR(ts), INTERVAL '5' SECOND)", "TUMBLE(TABLE %s, DESCRIPTOR(ts), INTERVAL '5' SECOND)"
	for _, c := range []struct {
		window, of string
		refused    bool
	}{{session, "twice", true}, {session, "readings", false}, {tumble, "twice", false}} {
		s := newSite(t, "exchanged", 2)
		program, err := plan.Compile(fmt.Sprintf(tables, fmt.Sprintf(c.window, c.of)), "p")
		if err != nil {
			t.Fatal(err)
		}
		if len(program.Stages) != 2 {
			t.Fatalf("%d stages, want an exchange", len(program.Stages))
		}
		cfg := Config{Broker: s.at, Program: program, Instances: []string{"a"}, UntilEnd: true, CommitInterval: 20 * time.Millisecond}
		for partition := range s.partitions {
			r := &kgo.Record{Topic: "readings", Partition: partition, Value: []byte(`{"sensor":"a","ts":"2026-01-01 00:00:00"}`)}
			if err := s.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Run(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		s.addPartitions("readings", 4)
		cfg.Repartition = true
		_, err = Run(t.Context(), cfg)
		refused := err != nil && strings.Contains(err.Error(), "--repartition is not possible") && strings.Contains(err.Error(), "UNION")
		if refused != c.refused || !refused && err != nil {
			t.Errorf("%s of %s: error %v, want one: %v", c.window, c.of, err, c.refused)
		}
	}
}

// A topic that is written by key, or an internal topic, gains partitions.
func TestPartitionsAddedToOthers(t *testing.T) {
	s := newSite(t, "keyed", 2)
	s.send(50)
	s.run()
	s.addPartitions("sums", 3)
	s.send(50)
	s.refused("topic sums, which is written by key, had 2 partitions and now has 3", "--repartition")
	s.cfg.Repartition = true
	s.run()
	s.cfg.Repartition = false
	s.run()
	s.addPartitions("p.stage1.changelog", 3)
	s.refused("p.stage1.changelog", "--reset p")
	s.cfg.Repartition = true
	s.refused("p.stage1.changelog", "--reset p")
}

// A record for a partition that does not exist fails, and is not written elsewhere.
func TestNoSuchPartition(t *testing.T) {
	s := newSite(t, "keyed", 2)
	client, err := broker.Connect(t.Context(), s.at, kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "readings", Partition: 2}).FirstErr(); err == nil {
		t.Error("it was written elsewhere")
	}
	w := &pipeline{partitions: map[string]int32{"readings": 2}}
	if err := w.hasPartition(&kgo.Record{Topic: "readings", Partition: 2}); !errors.Is(err, broker.ErrNoPartition) || !strings.Contains(err.Error(), "readings-2") {
		t.Errorf("error %v", err)
	}
	if err := w.hasPartition(&kgo.Record{Topic: "readings", Partition: 1}); err != nil {
		t.Error(err)
	}
}
