// Package printer delivers rows to the output of the process, as Flink's connector print does.
//
// An output can't be rolled back, nor asked what it has got, so rows are printed at least once. The
// positions are offsets of a consumer group without members, committed after the rows are printed;
// a process that dies in between leaves rows that the next one prints again. Unlike the targets of
// sink.AtLeastOnce, it continues where rows are missing, with a warning: no one keeps the output.
package printer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
)

// Target is the output of a table. It implements sink.Target.
type Target struct {
	broker broker.Config
	group  string // of the positions
	print  *plan.Print
	out    io.Writer
	logger *slog.Logger
}

// New returns the target of a table with the connector print, which writes to out.
func New(at broker.Config, pipeline string, t *plan.Table, out io.Writer, logger *slog.Logger) *Target {
	return &Target{broker: at, group: sink.Group(pipeline, t.Name) + ".printed", print: t.Delivery.(*plan.Print), out: out, logger: logger} //nolint:forcetypeassert // by contract
}

// Open implements sink.Target.
func (t *Target) Open(ctx context.Context, from sink.Topic) (sink.Session, error) {
	client, err := broker.Connect(ctx, t.broker)
	if err != nil {
		return nil, err
	}
	return &session{Target: t, from: from, admin: kadm.NewClient(client)}, nil
}

// Positions implements sink.Target.
func (t *Target) Positions(ctx context.Context, from sink.Topic) (map[int32]int64, error) {
	client, err := broker.Connect(ctx, t.broker)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return t.positions(ctx, kadm.NewClient(client), from)
}

// positions returns what is printed of a topic. The metadata of an offset is the topic's id, so
// that a topic that was created again is printed from its beginning.
func (t *Target) positions(ctx context.Context, admin *kadm.Client, from sink.Topic) (map[int32]int64, error) {
	at := make(map[int32]int64)
	group, err := admin.FetchOffsetsForTopics(ctx, t.group, from.Name)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return at, nil
	}
	if err == nil {
		err = group.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", t.group, err)
	}
	for partition, o := range group[from.Name] {
		if o.At >= 0 && o.Metadata == from.ID {
			at[partition] = o.At
		}
	}
	return at, nil
}

// AcceptPosition implements sink.Target.
func (t *Target) AcceptPosition(int32, int64) string {
	return "delete the consumer group " + t.group
}

// session prints the rows of some partitions. It implements sink.Session.
type session struct {
	*Target
	from       sink.Topic
	admin      *kadm.Client
	partitions int // of the topic
}

// Claim implements sink.Session. It fences nobody: what two sessions print at the same time is
// there twice.
func (s *session) Claim(ctx context.Context, partitions []int32) (map[int32]int64, error) {
	starts, err := s.admin.ListStartOffsets(ctx, s.from.Name)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list offsets of %s: %w", s.from.Name, err)
	}
	s.partitions = len(starts[s.from.Name])
	printed, err := s.positions(ctx, s.admin, s.from)
	if err != nil {
		return nil, err
	}
	next := make(map[int32]int64)
	for _, p := range partitions {
		next[p] = printed[p]
		if start, _ := starts.Lookup(s.from.Name, p); start.Offset > next[p] {
			s.logger.Warn("rows were deleted from the topic before they were printed", "topic", s.from.Name, "partition", p, "from", next[p], "to", start.Offset)
			next[p] = start.Offset
		}
	}
	return next, nil
}

// Deliver implements sink.Session.
func (s *session) Deliver(ctx context.Context, b *sink.Batch, _ func([]sink.Refusal) error) error {
	var lines []byte
	for _, r := range b.Origins {
		lines = append(lines, s.prefix(r.Partition)...)
		lines = append(append(lines, r.Value...), '\n')
	}
	if err := s.write(lines); err != nil {
		return fmt.Errorf("print rows: %w", err)
	}
	done := make(kadm.Offsets)
	for p, next := range b.Next {
		done.Add(kadm.Offset{Topic: s.from.Name, Partition: p, At: next, LeaderEpoch: -1, Metadata: s.from.ID})
	}
	resp, err := s.admin.CommitOffsets(ctx, s.group, done)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return fmt.Errorf("commit offsets of group %s: %w", s.group, err)
	}
	return nil
}

// prefix is what Flink writes before a row: the identifier, and the number of the subtask if there
// are several, which is that of the partition here.
func (s *session) prefix(partition int32) string {
	switch id := s.print.Identifier; {
	case s.partitions > 1 && id != "":
		return fmt.Sprintf("%s:%d> ", id, partition+1)
	case s.partitions > 1:
		return fmt.Sprintf("%d> ", partition+1)
	case id != "":
		return id + "> "
	}
	return ""
}

// writing keeps the lines of tables that are printed to the same output apart.
var writing sync.Mutex

func (t *Target) write(lines []byte) error {
	writing.Lock()
	defer writing.Unlock()
	_, err := t.out.Write(lines)
	return err
}

// Close implements sink.Session.
func (s *session) Close() { s.admin.Close() }
