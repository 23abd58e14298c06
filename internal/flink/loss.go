package flink

import (
	"context"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// failedCommit is the log line of a Kafka sink that can't commit a transaction; the sink reports
// this only in the log. After a recovery it is often harmless: the transaction had already been
// committed, but Flink had not recorded it.
type failedCommit struct {
	process string
	at      time.Time // zero if the line has no time
	producer
	id string // transactional id; "" if the line has none
}

// producer identifies the writer of a transaction. Each Flink transaction has a distinct producer
// id or epoch.
type producer struct {
	id    int64
	epoch int16
}

var (
	failedLine  = regexp.MustCompile(`Unable to commit transaction \((.*?)\) because (?:its producer is already fenced|it's in an invalid state)`)
	committable = regexp.MustCompile(`producerId=(\d+), epoch=(\d+), transactionalId='?([^',}\s]+)`)
)

// failedCommits returns a job's failed commits in a log, except those before since.
func failedCommits(process, log, job string, since time.Time) []failedCommit {
	var all []failedCommit
	for line := range strings.Lines(log) {
		what := failedLine.FindStringSubmatch(line)
		if what == nil {
			continue
		}
		f := failedCommit{process: process}
		if at, err := time.Parse("2006-01-02 15:04:05", line[:min(19, len(line))]); err == nil {
			f.at = at
			if at.Before(since.Truncate(time.Second)) {
				continue // of an earlier run
			}
		}
		if m := committable.FindStringSubmatch(what[1]); m != nil {
			f.producer.id, _ = strconv.ParseInt(m[1], 10, 64) // digits
			epoch, _ := strconv.ParseInt(m[2], 10, 16)
			f.epoch, f.id = int16(epoch), m[3]
			if !strings.HasPrefix(f.id, TransactionalIDPrefix(job)) {
				continue // of another job
			}
		}
		all = append(all, f)
	}
	return all
}

// outcome is the outcome of a transaction in a topic.
type outcome struct {
	records int64                  // records written
	open    map[partition]struct{} // partitions where no marker has followed its records
	aborted bool
}

type partition struct {
	topic string
	id    int32
}

// searchLimit bounds how many records at the end of a partition are searched for transaction
// markers.
const searchLimit = 5_000_000

// outcomes reads the outcomes of producers' transactions from topics. A producer without records
// has none.
func outcomes(ctx context.Context, kafka broker.Config, topics []string, wanted []producer) (map[producer]*outcome, error) {
	client, err := broker.Connect(ctx, kafka, kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list start offsets: %w", err)
	}
	from := make(map[string]map[int32]kgo.Offset)
	left := make(map[string]map[int32]int64) // end offsets of partitions not yet read to the end
	partitions := 0
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		if end.Err != nil || end.Offset <= start.Offset {
			return
		}
		if from[end.Topic] == nil {
			from[end.Topic], left[end.Topic] = make(map[int32]kgo.Offset), make(map[int32]int64)
		}
		from[end.Topic][end.Partition] = kgo.NewOffset().At(max(start.Offset, end.Offset-searchLimit))
		left[end.Topic][end.Partition] = end.Offset
		partitions++
	})
	client.AddConsumePartitions(from)
	found := make(map[producer]*outcome)
	for partitions > 0 {
		poll, cancel := context.WithTimeout(ctx, 30*time.Second)
		fetches := client.PollFetches(poll)
		cancel()
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read outcomes of transactions: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			note(found, wanted, r)
			if end, open := left[r.Topic][r.Partition]; open && r.Offset >= end-1 {
				delete(left[r.Topic], r.Partition)
				partitions--
			}
		})
	}
	return found, nil
}

// note adds one record; records of a partition arrive in order. The first marker after a producer's
// records ends its transaction. An earlier transaction of the same producer id has a lower epoch:
// Flink reuses transactional ids after a failure.
func note(found map[producer]*outcome, wanted []producer, r *kgo.Record) {
	in := partition{r.Topic, r.Partition}
	for _, p := range wanted {
		if p.id != r.ProducerID {
			continue
		}
		o := found[p]
		if !r.Attrs.IsControl() {
			if r.ProducerEpoch != p.epoch {
				continue
			}
			if o == nil {
				o = &outcome{open: make(map[partition]struct{})}
				found[p] = o
			}
			o.records++
			o.open[in] = struct{}{}
			continue
		}
		if o == nil || r.ProducerEpoch < p.epoch || len(r.Key) < 4 {
			continue
		}
		if _, waits := o.open[in]; waits {
			delete(o.open, in)
			o.aborted = o.aborted || binary.BigEndian.Uint16(r.Key[2:4]) == 0 // 0 is an abort, 1 a commit
		}
	}
}

// possibleLoss finds results that a sink sent and Kafka discarded: after an outage longer than the
// transaction timeout, or because a producer was fenced.
func (m *Manager) possibleLoss(ctx context.Context, checkpoints *Checkpoints, d *Deployment, since time.Time) ([]string, error) {
	var found []string
	timeout := time.Duration(d.TransactionTimeout) * time.Millisecond
	if r := checkpoints.Latest.Restored; r != nil && !r.Savepoint && timeout > 0 {
		for _, c := range checkpoints.History {
			if away := r.At.Time().Sub(c.Acked.Time()); c.ID == r.ID && c.Acked > 0 && away > timeout {
				found = append(found, fmt.Sprintf("at %s the job resumed from a checkpoint that was %s old, but the sinks' transactions time out after %s",
					r.At.Time().Format(time.RFC3339), away.Round(time.Second), timeout))
			}
		}
	}
	var failed []failedCommit
	err := m.Cluster.Logs(ctx, func(process, log string) { failed = append(failed, failedCommits(process, log, d.Name, since)...) })
	if err != nil || len(failed) == 0 {
		return found, err
	}
	return append(found, m.judge(ctx, d, failed)...), ctx.Err()
}

// judge checks in the sinks' topics which of the failed commits had in fact succeeded, and returns
// the others.
func (m *Manager) judge(ctx context.Context, d *Deployment, failed []failedCommit) (lost []string) {
	var wanted []producer
	for _, f := range failed {
		if f.id != "" && !slices.Contains(wanted, f.producer) {
			wanted = append(wanted, f.producer)
		}
	}
	var ends map[producer]*outcome
	var unread error
	if len(wanted) > 0 && len(d.Sinks) > 0 {
		ends, unread = outcomes(ctx, m.Env.Kafka, d.Sinks, wanted)
	}
	for _, f := range failed {
		o, known := ends[f.producer]
		where := fmt.Sprintf("at %s the sink in the %s could not commit transaction %s", f.at.Format(time.RFC3339), f.process, f.id)
		switch {
		case f.id == "":
			lost = append(lost, fmt.Sprintf("%s: its log does not name it; weir verify shows whether results are missing", where))
		case unread != nil:
			lost = append(lost, fmt.Sprintf("%s: its outcome is unknown: %s", where, unread))
		case known && o.aborted:
			lost = append(lost, fmt.Sprintf("%s: it was aborted with %s", where, resultCount(o.records)))
		case known && len(o.open) > 0:
			lost = append(lost, fmt.Sprintf("%s: it is open and will be aborted with %s", where, resultCount(o.records)))
		}
		// Committed earlier, or without records: nothing is lost.
	}
	slices.Sort(lost)
	return slices.Compact(lost)
}

func resultCount[N int | int64](n N) string {
	if n == 1 {
		return "1 result"
	}
	return fmt.Sprintf("%d results", n)
}
