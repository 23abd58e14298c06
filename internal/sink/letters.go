package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/deadletter"
)

// letters writes rows that can't be delivered to the dead-letter topic, before the target commits
// the positions behind them: none is lost. A process that dies in between leaves a letter that the
// next one writes again, with the same topic, partition and offset in its headers.
type letters struct {
	topic string
	now   func() time.Time
	// sent are the letters of a delivery whose outcome is unknown, or that has failed.
	sent map[place]bool
}

type place struct {
	partition int32
	offset    int64
}

func newLetters(c Config) *letters {
	return &letters{topic: c.DeadLetters, now: c.Now, sent: make(map[place]bool)}
}

// send writes the letters that it has not written yet.
func (l *letters) send(ctx context.Context, client *kgo.Client, all []Refusal) error {
	var records []*kgo.Record
	for _, r := range all {
		if !l.sent[place{r.Origin.Partition, r.Origin.Offset}] {
			records = append(records, deadletter.Record(l.topic, r.Origin, r.Err, l.now(), deadletter.MaxBytes))
		}
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("write dead letters to %s: %w", l.topic, err)
	}
	for _, r := range all {
		l.sent[place{r.Origin.Partition, r.Origin.Offset}] = true
	}
	return nil
}

// delivered forgets the letters of rows before the positions.
func (l *letters) delivered(next map[int32]int64) {
	for at := range l.sent {
		if n, ok := next[at.partition]; ok && at.offset < n {
			delete(l.sent, at)
		}
	}
}

// Isolate writes n rows with write(from, to), which must have no effect if it fails. If it fails
// because of the rows, each half is tried, down to the single rows that are refused.
func Isolate(n int, write func(from, to int) error, byRows func(error) bool, refuse func(row int, err error)) error {
	var down func(from, to int) error
	down = func(from, to int) error {
		if from == to {
			return nil
		}
		err := write(from, to)
		switch {
		case err == nil || !byRows(err):
			return err
		case to-from == 1:
			refuse(from, err)
			return nil
		}
		middle := from + (to-from)/2
		if err := down(from, middle); err != nil {
			return err
		}
		return down(middle, to)
	}
	return down(0, n)
}
