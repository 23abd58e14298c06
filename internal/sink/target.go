package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
)

// Target is what rows are delivered to. Its methods may be called concurrently.
type Target interface {
	// Open connects, and checks that the rows of the table fit. The error is a *RefusedError if
	// trying again is useless until somebody changes something.
	Open(ctx context.Context, from Topic) (Session, error)
	// Positions returns the offsets of a topic up to which rows are delivered, by any session. A
	// partition of which nothing is delivered may be missing.
	Positions(ctx context.Context, from Topic) (map[int32]int64, error)
	// AcceptPosition says how somebody sets the position of a partition, while the pipeline is
	// stopped, to continue without rows that are lost: "run in the database: UPDATE …".
	AcceptPosition(partition int32, next int64) string
}

// Topic identifies the topic of the rows. A topic that was deleted and created again has another
// id.
type Topic struct {
	Name, ID string
	UUID     [16]byte // ID as Kafka's requests have it
}

// Session is a connection to a target. Its methods are called by one goroutine at a time. After an
// error it is closed.
type Session interface {
	// Claim makes this session the only one that can deliver rows of these partitions, and returns
	// the offset to deliver next of each: 0 for one that was never claimed. It waits for a delivery
	// of their previous session that is being committed.
	Claim(ctx context.Context, partitions []int32) (map[int32]int64, error)
	// Deliver writes the rows of a batch, and its positions, or nothing. It returns a *FencedError
	// if one of the partitions was claimed by another session, and before it commits it calls
	// refused, unless it is empty, with the rows that the target does not accept. The memory of the
	// batch is used again afterwards.
	Deliver(ctx context.Context, b *Batch, refused func([]Refusal) error) error
	Close()
}

// Batch is a number of rows from one or more partitions.
type Batch struct {
	// Rows are to be inserted. Column i is the i-th that Table.Kafka.Value lists. If the table has
	// a key, there is at most one row of each key, sorted by key, which replaces an existing one.
	// If it takes changes (plan.Table.Changes), only Origins has rows.
	Rows    *column.Batch
	Origins []*kgo.Record // of Rows

	// Deleted are keys of rows to delete before. Column i is the i-th that Table.Kafka.Key lists.
	// No key is also in Rows.
	Deleted        *column.Batch
	DeletedOrigins []*kgo.Record

	From, Next map[int32]int64 // positions by partition, before and after the batch

	// Repeat has, for partitions whose next rows may have been sent in one request before, the
	// offset after the last of them. See groupSession.Repeats.
	Repeat map[int32]int64
	// Member and Generation are those of the consumer group when the records were read.
	Member     string
	Generation int32
}

// Refusal is a row that a target does not accept.
type Refusal struct {
	Origin *kgo.Record
	Err    error
}

// RefusedError says that a target can't take a table until somebody changes something. Its text
// says what.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// Refuse returns a *RefusedError.
func Refuse(format string, args ...any) error {
	return &RefusedError{fmt.Errorf(format, args...)}
}

// LaterError is the error of a target that wants to be left alone for some time.
type LaterError struct {
	Err   error
	After time.Duration
}

func (e *LaterError) Error() string { return e.Err.Error() }
func (e *LaterError) Unwrap() error { return e.Err }

// FencedError says that another session has claimed partitions of this one.
type FencedError struct{ Sink string }

func (e *FencedError) Error() string {
	return "another session has claimed partitions of sink " + e.Sink
}

// CheckIdentity refuses positions of another topic or table than those of the sink: continuing from
// them would skip rows or repeat them. id and target are what the positions belong to.
func CheckIdentity(sink string, from Topic, id, target, into string) error {
	again := fmt.Sprintf("To deliver all rows of the topic from its beginning, stop the pipeline and run in the database: DELETE FROM weir_offsets WHERE sink = '%s'", sink)
	switch {
	case id != from.ID:
		return Refuse("sink %s delivers the rows of another topic: its offsets are those of topic id %s, and %s has the id %s. "+
			"Either a pipeline with this name runs on another Kafka cluster: give this one another name (SET 'pipeline.name'). Or the topic was deleted, and its rows that were not delivered are lost. %s", sink, id, from.Name, from.ID, again)
	case target != into:
		return Refuse("sink %s has delivered its rows so far to %s, and would continue in %s without them: give the SQL table another name. %s", sink, target, into, again)
	}
	return nil
}
