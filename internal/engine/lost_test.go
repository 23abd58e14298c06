package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
)

// memory lists, by kind of pipeline, the topics with state and positions.
var memory = map[string][]string{
	"keyed": {"p.stage1.changelog"}, "exchanged": {"p.stage1.changelog", "p.stage2.changelog"}, "stateless": {"p.positions"}, "mixed": {"p.stage1.changelog"},
}

func (s *site) deleteTopics(topics ...string) {
	s.Helper()
	deleted, err := s.admin.DeleteTopics(s.Context(), topics...)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		s.Fatal(err)
	}
}

// cut deletes records from the beginning of a topic.
func (s *site) cut(topic string, to func(end int64) int64) {
	s.Helper()
	ends, err := s.admin.ListEndOffsets(s.Context(), topic)
	if err != nil {
		s.Fatal(err)
	}
	var offsets kadm.Offsets
	ends.Each(func(o kadm.ListedOffset) { offsets.AddOffset(o.Topic, o.Partition, to(o.Offset), -1) })
	cut, err := s.admin.DeleteRecords(s.Context(), offsets)
	if err == nil {
		err = cut.Error()
	}
	if err != nil {
		s.Fatal(err)
	}
}

// The plan is lost: the way forward is to write it again, not to delete the group, after which all
// rows would be counted again on top of the state.
func TestPlanLost(t *testing.T) {
	everywhere(t, func(s *site) {
		s.deleteTopics("p.plan")
		s.refused("p.plan", "weir run --from-changelog", "weir run --reset p")
		s.deleteGroup()
		s.refused("p.plan", "weir run --from-changelog", "weir run --reset p")
		s.cfg.FromChangelog = true
		s.send(50)
		s.run()
		s.want()
		s.cfg.FromChangelog = false
		s.run()
		s.want()
	})
}

// A plan that is written again must be for the SQL that created the state.
func TestPlanLostAndOtherSQL(t *testing.T) {
	s := newSite(t, "keyed", 2)
	s.send(100)
	s.run()
	s.deleteTopics("p.plan")
	s.cfg.FromChangelog = true
	kind := "summed"
	accidentPipelines[kind] = strings.ReplaceAll(accidentPipelines["keyed"], "COUNT(*)", "SUM(n)")
	defer delete(accidentPipelines, kind)
	s.kind = kind
	s.refused("other SQL created the state in p.stage1.changelog")
}

// The changelog is deleted, or recreated: the state is lost, and the pipeline refuses to continue
// without it.
func TestChangelogDeleted(t *testing.T) {
	everywhere(t, func(s *site) {
		for _, topic := range memory[s.kind] {
			s.deleteTopics(topic)
		}
		s.send(20)
		s.refused(memory[s.kind][0], "was deleted and is another one", "weir run --reset p")
		s.refused(memory[s.kind][0], "was deleted and is another one", "weir run --reset p") // it exists again, and is empty
	})
}

// Records of the changelog are deleted. The pipeline can continue from a complete local copy;
// without one the state is incomplete.
func TestChangelogCut(t *testing.T) {
	cuts := map[string]func(end int64) int64{
		"all":   func(end int64) int64 { return end },
		"half":  func(end int64) int64 { return end / 2 },
		"first": func(end int64) int64 { return min(end, 3) },
	}
	for name, to := range cuts {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(s *site) {
				for _, topic := range memory[s.kind] {
					s.cut(topic, to)
				}
				s.send(20)
				if s.stateDir != "" && s.kind != "stateless" {
					s.run()
					s.want()
					return
				}
				s.refused("has truncated the topic", "weir run --reset p")
				s.deleteGroup()
				s.refused("has truncated the topic", "weir run --reset p")
			})
		})
	}
}

// A cleanup policy that would delete state is corrected before it does.
func TestChangelogPolicy(t *testing.T) {
	everywhere(t, func(s *site) {
		set := func(policy string, topics ...string) {
			resp, err := s.admin.AlterTopicConfigs(s.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &policy}}, topics...)
			if err == nil {
				_, err = resp.On(topics[0], func(r *kadm.AlterConfigsResponse) error { return r.Err })
			}
			if err != nil {
				s.Fatal(err)
			}
		}
		policy := func(topic string) string {
			configs, err := s.admin.DescribeTopicConfigs(s.Context(), topic)
			if err != nil {
				s.Fatal(err)
			}
			for _, c := range configs[0].Configs {
				if c.Key == "cleanup.policy" {
					return c.MaybeValue()
				}
			}
			return ""
		}
		set("delete", append(memory[s.kind], "p.plan")...)
		if s.kind == "exchanged" {
			set("compact", "p.repartition1")
		}
		s.send(20)
		s.run()
		s.want()
		for _, topic := range append(memory[s.kind], "p.plan") {
			if got := policy(topic); got != "compact" || !strings.Contains(s.log.String(), "cleanup.policy of a topic") {
				s.Errorf("%s has policy %s", topic, got)
			}
		}
		if s.kind == "exchanged" && policy("p.repartition1") != "delete" {
			s.Error("rows between stages are compacted")
		}
	})
}

// After a reset the next start is like the first one.
func TestReset(t *testing.T) {
	everywhere(t, func(s *site) {
		report, err := Reset(s.Context(), s.at, "p", s.stateDir)
		if err != nil {
			s.Fatal(err)
		}
		for _, topic := range append(memory[s.kind], "p.plan") {
			if !strings.Contains(fmt.Sprint(report.Topics), topic) {
				s.Errorf("%s is not deleted: %v", topic, report.Topics)
			}
		}
		if report.Group != "weir-p" || (report.Folder == "") != (s.stateDir == "" || s.kind == "stateless") {
			s.Errorf("%+v", report)
		}
		if again, err := Reset(s.Context(), s.at, "p", s.stateDir); err != nil || !again.Empty() {
			s.Errorf("a second reset: %+v, %v", again, err)
		}
		s.deleteTopics(map[string][]string{"keyed": {"sums"}, "exchanged": {"parities"}, "stateless": {"copies"}, "mixed": {"sums", "copies"}}[s.kind]...)
		s.send(20)
		s.run()
		s.want()
	})
}

// A running pipeline can't be reset, and a reset does not touch pipelines whose names have the same
// prefix.
func TestResetRefused(t *testing.T) {
	s := newSite(t, "keyed", 2)
	s.send(10)
	s.createTopic("p.stage1.changelog.backup")
	s.createTopic("p.late")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	committed := make(chan struct{}, 100)
	go func() {
		_, err := Run(ctx, Config{Broker: s.at, Program: s.program(accidentPipelines["keyed"]), Instances: []string{"a"}, OnCommit: func(Commit) { committed <- struct{}{} }})
		done <- err
	}()
	<-committed
	if _, err := Reset(t.Context(), s.at, "p", ""); err == nil || !strings.Contains(err.Error(), "it is running") {
		t.Errorf("reset of a running pipeline: %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	report, err := Reset(t.Context(), s.at, "p", "")
	if err != nil || fmt.Sprint(report.Topics) != "[p.plan p.stage1.changelog]" {
		t.Errorf("%+v, %v", report, err)
	}
}

// The group of a pipeline with this name would be the one that delivers alerts, so a reset leaves
// its offsets alone.
func TestResetKeepsOffsetsOfAlerts(t *testing.T) {
	s := newSite(t, "stateless", 1)
	client, err := broker.Connect(t.Context(), s.at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, name := range []string{"alerts", "site_a.readings.alerts"} {
		s.createTopic(name + ".plan")
		offsets := make(kadm.Offsets)
		offsets.AddOffset(name+".plan", 0, 7, -1)
		if err := admin.CommitAllOffsets(t.Context(), "weir-"+name, offsets); err != nil {
			t.Fatal(err)
		}
		if report, err := Reset(t.Context(), s.at, name, ""); err == nil || !strings.Contains(err.Error(), "weir alerts uses the group weir-"+name) {
			t.Errorf("reset of %s: %+v, %v", name, report, err)
		}
		kept, err := admin.FetchOffsets(t.Context(), "weir-"+name)
		if at, ok := kept.Lookup(name+".plan", 0); err != nil || !ok || at.At != 7 {
			t.Errorf("offset of weir-%s: %v, %v", name, at.At, err)
		}
	}
}

// A source that is deleted and recreated is read from its beginning, and the state is kept.
func TestSourceRecreated(t *testing.T) {
	everywhere(t, func(s *site) {
		s.deleteTopics("readings")
		s.createTopic("readings")
		s.connect()
		s.send(60)
		s.run()
		s.want()
		if !strings.Contains(s.log.String(), "deleted and created again") {
			s.Errorf("nothing is logged:\n%s", s.log.String())
		}
		s.send(20)
		s.run()
		s.want()
		if strings.Contains(s.log.String(), "deleted and created again") {
			s.Errorf("it is read from its beginning again:\n%s", s.log.String())
		}
	})
}

// Two pipelines with the same name and different SQL don't share rows, with or without state.
func TestTwoOfOneName(t *testing.T) {
	for _, kind := range []string{"stateless", "keyed"} {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, kind, 2)
			s.send(20)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			done := make(chan error, 1)
			committed := make(chan struct{}, 100)
			go func() {
				_, err := Run(ctx, Config{Broker: s.at, Program: s.program(accidentPipelines[kind]), Instances: []string{"a"}, OnCommit: func(Commit) { committed <- struct{}{} }})
				done <- err
			}()
			<-committed
			other := s.program(strings.ReplaceAll(accidentPipelines[kind], "SELECT n FROM plain", "SELECT n FROM plain WHERE n > 5"))
			if kind == "keyed" {
				other = s.program(strings.ReplaceAll(accidentPipelines[kind], "INSERT", "/* the same */ INSERT"))
			}
			_, err := Run(t.Context(), Config{Broker: s.at, Program: other, Instances: []string{"b"}, SessionTimeout: time.Second})
			if err == nil || !strings.Contains(err.Error(), "pipeline p is running") {
				t.Errorf("the second: %v", err)
			}
			stop()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			ctx, stop = context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			if _, err := Run(ctx, Config{Broker: s.at, Program: other, Instances: []string{"b"}, UntilEnd: true}); err != nil {
				t.Errorf("once the first has stopped: %v", err)
			}
		})
	}
}
