package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// Accidents returns the kinds of accidents.
func Accidents() []Accident {
	return []Accident{
		{Kind: "group-deleted", About: "the consumer group is deleted", do: stopped(deleteGroup), right: true},
		{Kind: "offsets-reset", About: "the group's offsets are set to the beginning", do: stopped(resetOffsets), right: true},
		{Kind: "offsets-expired", About: "the group's offsets are deleted, but not the group", do: stopped(expireOffsets), right: true},
		{Kind: "plan-lost", About: "the plan topic is deleted", do: stopped(deleteTopic("plan")), refusal: regexp.MustCompile(`\.plan.*--from-changelog|\.plan.*--reset`)},
		{Kind: "source-widened", About: "partitions are added to the source", do: anyTime(widen("in")), refusal: regexp.MustCompile(`(\.in\b|stage1\.changelog).*partitions`)},
		{Kind: "source-widened-at-rest", About: "partitions are added to a fully read source, and the state is moved; up to two moves are killed first", do: widenAtRest, right: true},
		{Kind: "sink-widened", About: "partitions are added to a sink", do: anyTime(widen("windows")), right: true, refusal: regexp.MustCompile(`\.windows\b.*partitions`)},
		{Kind: "changelog-widened", About: "partitions are added to a changelog", do: anyTime(widen("stage1.changelog")), refusal: regexp.MustCompile(`stage1\.changelog.*partitions`)},
		{Kind: "repartition-widened", About: "partitions are added to a repartition topic", do: anyTime(widen("repartition1")), refusal: regexp.MustCompile(`(repartition1|stage2\.changelog).*partitions`)},
		{Kind: "changelog-deleted", About: "a changelog is deleted", do: anyTime(deleteTopic("stage1.changelog")), right: true, refusal: regexp.MustCompile(`stage1\.changelog`)},
		{Kind: "changelog-recreated", About: "a changelog is deleted and recreated empty", do: anyTime(recreateChangelog), right: true, refusal: regexp.MustCompile(`stage1\.changelog`)},
		{Kind: "changelog-truncated", About: "the beginning of a changelog is deleted", do: anyTime(truncateChangelog), right: true, copies: true, refusal: regexp.MustCompile(`stage1\.changelog`)},
		{Kind: "changelog-not-compacted", About: "cleanup.policy of a changelog is changed to delete", do: anyTime(uncompact), right: true, refusal: regexp.MustCompile(`stage1\.changelog.*cleanup\.policy`)},
		{Kind: "source-recreated", About: "the source is deleted and recreated", do: stopped(recreateSource), right: true},
		{Kind: "source-truncated", About: "unread rows of the source are deleted", do: stopped(truncateSource), right: true},
		{Kind: "state-restored", About: "an old copy of the state directory is restored", do: restoreState, right: true},
		{Kind: "name-taken", About: "another pipeline is started under the same name", do: secondPipeline, right: true},
		{Kind: "foreign-partitioner", About: "another client partitions keys differently", do: foreignPartitioner, refusal: regexp.MustCompile(`(?s)\.in\b.*weir\.key-partitioning`)},
		{Kind: "stopped-in-commit", About: "SIGTERM is sent in the middle of a commit, three times", do: stopInCommit, right: true},
		{Kind: "bounded-run", About: "a bounded run, followed immediately by a reader", do: boundedRun, right: true, last: true},
	}
}

// act is the action that hits a pipeline.
type act = func(context.Context, *scene) error

// stopped performs an action while the pipeline is stopped.
func stopped(do act) act {
	return func(ctx context.Context, s *scene) error {
		if err := s.stop(ctx); err != nil {
			return err
		}
		return do(ctx, s)
	}
}

// anyTime performs an action while the pipeline is running or stopped, at random.
func anyTime(do act) act {
	return func(ctx context.Context, s *scene) error {
		if s.rng.IntN(2) == 0 {
			return stopped(do)(ctx, s)
		}
		return do(ctx, s)
	}
}

// emptyGroup waits until the group has no members: dead ones stay until their session times out.
func (s *scene) emptyGroup(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sceneLimit)
	defer cancel()
	for {
		groups, err := s.admin.DescribeGroups(ctx, s.group())
		if err != nil {
			return fmt.Errorf("describe group %s: %w", s.group(), err)
		}
		if g := groups[s.group()]; len(g.Members) == 0 {
			return nil
		}
		if err := retry.Sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("group %s still has members: %w", s.group(), err)
		}
	}
}

func deleteGroup(ctx context.Context, s *scene) error {
	if err := s.emptyGroup(ctx); err != nil {
		return err
	}
	_, err := s.admin.DeleteGroup(ctx, s.group())
	return err
}

func resetOffsets(ctx context.Context, s *scene) error {
	if err := s.emptyGroup(ctx); err != nil {
		return err
	}
	var to kadm.Offsets
	for p := range int32(scenePartitions) {
		to.AddOffset(s.topic("in"), p, 0, -1)
	}
	return firstError(s.admin.CommitOffsets(ctx, s.group(), to))
}

func expireOffsets(ctx context.Context, s *scene) error {
	if err := s.emptyGroup(ctx); err != nil {
		return err
	}
	all, err := s.admin.FetchOffsets(ctx, s.group())
	if err != nil {
		return err
	}
	gone := make(kadm.TopicsSet)
	all.Each(func(o kadm.OffsetResponse) { gone.Add(o.Topic, o.Partition) })
	answer, err := s.admin.DeleteOffsets(ctx, s.group(), gone)
	if err != nil {
		return err
	}
	return answer.Error()
}

func firstError(all kadm.OffsetResponses, err error) error {
	if err != nil {
		return err
	}
	return all.Error()
}

func deleteTopic(suffix string) act {
	return func(ctx context.Context, s *scene) error {
		_, err := s.admin.DeleteTopic(ctx, s.topic(suffix))
		return err
	}
}

func widen(suffix string) act {
	return func(ctx context.Context, s *scene) error {
		answer, err := s.admin.UpdatePartitions(ctx, 2*scenePartitions, s.topic(suffix))
		if err != nil {
			return err
		}
		return answer.Error()
	}
}

// widenAtRest adds partitions to the source after all of it has been read, and moves the state. Up
// to two moves are killed before the last one.
func widenAtRest(ctx context.Context, s *scene) error {
	if err := s.awaitProgress(ctx, int64(len(s.rows))); err != nil {
		return err
	}
	if err := stopped(widen("in"))(ctx, s); err != nil {
		return err
	}
	s.client.Close()
	if err := s.connect(ctx); err != nil { // the old client would keep the partitions that it knows
		return err
	}
	if err := s.emptyGroup(ctx); err != nil {
		return err
	}
	for range s.rng.IntN(3) {
		p, err := s.run("a", "--repartition")
		if err != nil {
			return err
		}
		time.Sleep(time.Duration(s.rng.IntN(600)) * time.Millisecond) // random moment of the fault
		p.kill()
	}
	if err := s.emptyGroup(ctx); err != nil { // a process that was killed after its move is still a member
		return err
	}
	p, err := s.run("a", "--repartition")
	if err != nil {
		return err
	}
	s.runners["a"] = p
	if err := s.awaitPlan(ctx, 2*scenePartitions); err != nil {
		return err
	}
	if err := s.produce(ctx, 150); err != nil {
		return err
	}
	return s.awaitProgress(ctx, int64(len(s.rows))) // ensures that it has joined the group before the next step
}

// awaitPlan waits until the pipeline's plan has this number of source partitions.
func (s *scene) awaitPlan(ctx context.Context, partitions int32) error {
	ctx, cancel := context.WithTimeout(ctx, sceneLimit)
	defer cancel()
	for {
		var plan struct {
			Topics map[string]struct {
				Partitions int32 `json:"partitions"`
			} `json:"topics"`
		}
		err := broker.ReadAll(ctx, s.broker, s.topic("plan"), nil, func(r *kgo.Record) error { return json.Unmarshal(r.Value, &plan) })
		if err != nil {
			return err
		}
		if plan.Topics[s.topic("in")].Partitions == partitions {
			return nil
		}
		if err := retry.Sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("state not moved after %s: %q", sceneLimit, s.runners["a"].lastWords())
		}
	}
}

func recreateChangelog(ctx context.Context, s *scene) error {
	if err := deleteTopic("stage1.changelog")(ctx, s); err != nil {
		return err
	}
	return s.createTopic(ctx, broker.Topic{Name: s.topic("stage1.changelog"), Partitions: scenePartitions, CleanupPolicy: "compact"})
}

// createTopic creates a topic, retrying until the broker has deleted its predecessor.
func (s *scene) createTopic(ctx context.Context, t broker.Topic) error {
	ctx, cancel := context.WithTimeout(ctx, sceneLimit)
	defer cancel()
	for {
		err := broker.EnsureTopics(ctx, s.admin, []broker.Topic{t})
		if err == nil {
			return nil
		}
		if retry.Sleep(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// truncate deletes all records of randomly chosen partitions of a topic, and returns their end
// offsets.
func (s *scene) truncate(ctx context.Context, topic string) (before map[int32]int64, err error) {
	ends, err := s.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	before = make(map[int32]int64)
	var cut kadm.Offsets
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 && (len(before) == 0 || s.rng.IntN(2) == 0) {
			before[o.Partition] = o.Offset
			cut.AddOffset(topic, o.Partition, o.Offset, -1)
		}
	})
	return before, s.deleteRecords(ctx, cut)
}

// deleteRecords deletes records, and waits for a cleanup policy that allows it: Kafka applies a
// changed one some time after its answer.
func (s *scene) deleteRecords(ctx context.Context, upTo kadm.Offsets) error {
	for {
		answer, err := s.admin.DeleteRecords(ctx, upTo)
		if err == nil {
			err = answer.Error()
		}
		if !errors.Is(err, kerr.PolicyViolation) || retry.Sleep(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// truncateChangelog deletes records of the changelog. Kafka requires a cleanup policy that allows
// it, which is set for that time only.
func truncateChangelog(ctx context.Context, s *scene) error {
	if err := s.configureChangelog(ctx, "cleanup.policy", "compact,delete"); err != nil {
		return err
	}
	if _, err := s.truncate(ctx, s.topic("stage1.changelog")); err != nil {
		return err
	}
	return s.configureChangelog(ctx, "cleanup.policy", "compact")
}

func uncompact(ctx context.Context, s *scene) error {
	if err := s.configureChangelog(ctx, "cleanup.policy", "delete"); err != nil {
		return err
	}
	return s.configureChangelog(ctx, "retention.ms", "3600000")
}

// configureChangelog sets a config of the changelog.
func (s *scene) configureChangelog(ctx context.Context, name, value string) error {
	answer, err := s.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, s.topic("stage1.changelog"))
	if err != nil {
		return err
	}
	for _, a := range answer {
		if a.Err != nil {
			return a.Err
		}
	}
	return nil
}

// recreateSource deletes and recreates the source, including unread rows.
func recreateSource(ctx context.Context, s *scene) error {
	if err := s.dropUnread(ctx, nil); err != nil {
		return err
	}
	if _, err := s.admin.DeleteTopic(ctx, s.topic("in")); err != nil {
		return err
	}
	s.client.PurgeTopicsFromClient(s.topic("in"))
	return s.createTopic(ctx, broker.Topic{Name: s.topic("in"), Partitions: scenePartitions})
}

func truncateSource(ctx context.Context, s *scene) error {
	if err := s.produce(ctx, 200); err != nil { // leave some rows unread
		return err
	}
	before, err := s.truncate(ctx, s.topic("in"))
	if err != nil {
		return err
	}
	return s.dropUnread(ctx, before)
}

// settle waits until the transactions whose end was requested before their process was killed have
// ended: the offsets in them become the group's with the last of their markers, after their rows.
func (s *scene) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sceneLimit)
	defer cancel()
	for quiet := 0; quiet < 2; quiet++ { // the request itself may still be on its way
		all, err := s.admin.ListTransactions(ctx, nil, nil)
		if err != nil {
			return fmt.Errorf("list transactions: %w", err)
		}
		for id, t := range all {
			if strings.Contains(id, s.name) && strings.HasPrefix(t.State, "Prepare") {
				quiet = -1 // count again
			}
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("transactions are still ending after %s", sceneLimit)
		}
	}
	return nil
}

// dropUnread removes rows that the pipeline has not read and never will from the expectation: those
// before the given offsets, or all unread rows if before is nil.
func (s *scene) dropUnread(ctx context.Context, before map[int32]int64) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	read, err := s.committed(ctx)
	if err != nil {
		return err
	}
	kept := s.rows[:0]
	for _, r := range s.rows {
		limit, cut := before[r.partition]
		if r.offset >= read[r.partition] && (before == nil || cut && r.offset < limit) {
			continue
		}
		kept = append(kept, r)
	}
	s.rows = kept
	return nil
}

// restoreState restores a backup of the state directory that is older than the changelog.
func restoreState(ctx context.Context, s *scene) error {
	s.state = true
	if err := s.stop(ctx); err != nil {
		return err
	}
	backup := filepath.Join(s.dir, "backup")
	for _, instance := range s.instances() {
		if _, err := os.Stat(s.stateDir(instance)); err == nil {
			if err := os.CopyFS(filepath.Join(backup, instance), os.DirFS(s.stateDir(instance))); err != nil {
				return err
			}
		}
	}
	if err := s.resume(); err != nil {
		return err
	}
	if err := s.produce(ctx, 400); err != nil {
		return err
	}
	if err := s.awaitProgress(ctx, int64(len(s.rows))-s.rng.Int64N(200)); err != nil {
		return err
	}
	if err := s.stop(ctx); err != nil {
		return err
	}
	for _, instance := range s.instances() {
		if err := os.RemoveAll(s.stateDir(instance)); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(backup, instance)); err == nil {
			if err := os.CopyFS(s.stateDir(instance), os.DirFS(filepath.Join(backup, instance))); err != nil {
				return err
			}
		}
	}
	return nil
}

// secondPipeline starts another pipeline with the same name but another query, which must refuse.
func secondPipeline(ctx context.Context, s *scene) error {
	other := `SET 'pipeline.name' = '` + s.name + `';
CREATE TABLE rows_in (k STRING, v BIGINT) WITH ('connector' = 'kafka', 'topic' = '` + s.topic("in") + `', 'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset');
CREATE TABLE copies (k STRING, v BIGINT) WITH ('connector' = 'kafka', 'topic' = '` + s.topic("copies") + `', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'copies');
INSERT INTO copies SELECT k, v FROM rows_in WHERE v > 500;
`
	file := filepath.Join(s.dir, "other.sql")
	if err := os.WriteFile(file, []byte(other), 0o600); err != nil {
		return err
	}
	p, err := s.weir.start(s.dir, "other", "run", file, "--brokers", s.broker.Brokers[0], "--instance", "other", "--state-dir", "none",
		"--session-timeout", sceneSession.String(), "--transaction-timeout", sceneTx.String())
	if err != nil {
		return err
	}
	defer p.kill()
	code, err := p.wait(ctx, 20*time.Second)
	if err != nil {
		return fmt.Errorf("another pipeline runs under the same name: %w", err)
	}
	if code == 0 || !regexp.MustCompile(`(?s)other SQL|name`).MatchString(p.lastWords()) {
		return fmt.Errorf("another pipeline of the same name exited with %d: %q", code, p.lastWords())
	}
	return nil
}

// foreignPartitioner writes a known key to a partition that Kafka's Java clients would not choose.
func foreignPartitioner(ctx context.Context, s *scene) error {
	partitioner := kgo.StickyKeyPartitioner(nil).ForTopic("")
	client, err := broker.Connect(ctx, s.broker, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	s.clock = s.clock.Add(time.Millisecond)
	misplaced := s.rows[s.rng.IntN(len(s.rows))]
	misplaced.TS = s.clock
	record := s.record(misplaced)
	home := partitioner.Partition(record, scenePartitions)
	record.Partition = int32((home + 1 + s.rng.IntN(scenePartitions-1)) % scenePartitions) //nolint:gosec // small number
	return client.ProduceSync(ctx, record).FirstErr()                                      // expected to be refused, so it must have no effect
}

// stopInCommit stops the pipeline with SIGTERM several times while it commits, and checks each time
// that no transaction is left open.
func stopInCommit(ctx context.Context, s *scene) error {
	s.kill9 = false
	for range 3 {
		if err := s.resume(); err != nil {
			return err
		}
		if err := s.produce(ctx, 300); err != nil {
			return err
		}
		if err := s.awaitProgress(ctx, int64(len(s.rows))-s.rng.Int64N(300)); err != nil {
			return err
		}
		time.Sleep(time.Duration(s.rng.IntN(60)) * time.Millisecond) // random moment of the fault
		var all []*process
		for instance, p := range s.runners {
			delete(s.runners, instance)
			all = append(all, p)
			if err := p.signal(syscall.SIGTERM); err != nil {
				return err
			}
		}
		for _, p := range all {
			code, err := p.wait(ctx, sceneLimit)
			if err != nil {
				return err
			}
			if code != 0 && code != interrupted {
				return fmt.Errorf("exit code after SIGTERM is %d: %q", code, p.lastWords())
			}
		}
		held, err := s.openTransactions(ctx)
		if err != nil {
			return err
		}
		if len(held) > 0 {
			return fmt.Errorf("a stop with exit 0 left a transaction open: %v", held)
		}
	}
	return nil
}

// boundedRun stops the pipeline for good: a single bounded run reads the rest of the source.
func boundedRun(ctx context.Context, s *scene) error {
	s.bounded = true
	return s.stop(ctx)
}
