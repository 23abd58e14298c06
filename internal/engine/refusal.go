package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Gap is a range of offsets that may be missing (--accept-loss).
type Gap struct {
	Topic     string
	Partition int32
	From, To  int64 // offsets; To is exclusive
}

// ParseGap reads TOPIC/PARTITION:FROM-TO.
func ParseGap(text string) (Gap, error) {
	bad := fmt.Errorf("invalid range %q: expected TOPIC/PARTITION:FROM-TO, such as readings/0:100-250", text)
	place, span, ok := strings.Cut(text, ":")
	topic, partition, ok2 := strings.Cut(place, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 || topic == "" {
		return Gap{}, bad
	}
	p, err1 := strconv.ParseInt(partition, 10, 32)
	from, err2 := strconv.ParseInt(first, 10, 64)
	to, err3 := strconv.ParseInt(last, 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || p < 0 || from < 0 || to <= from {
		return Gap{}, bad
	}
	return Gap{topic, int32(p), from, to}, nil
}

// accepted reports whether the user accepts that the offsets from (inclusive) to (exclusive) are
// missing.
func (p *pipeline) accepted(tp topicPartition, from, to int64) bool {
	for _, g := range p.cfg.AcceptLoss {
		if g.Topic == tp.topic && g.Partition == tp.partition && g.From <= from && g.To >= to {
			p.cfg.Logger.Warn("loss accepted", "topic", tp.topic, "partition", tp.partition, "from", from, "to", to)
			return true
		}
	}
	return false
}

// checkAcceptLoss refuses ranges of --accept-loss outside the partitions that the pipeline reads: a
// mistyped range would be ignored.
func (p *pipeline) checkAcceptLoss() error {
	read := p.stageTopics()
	for _, g := range p.cfg.AcceptLoss {
		if read[g.Topic] == nil {
			return &fatalError{fmt.Errorf("invalid --accept-loss: pipeline %s does not read topic %s; it reads %s",
				p.cfg.Program.Name, g.Topic, strings.Join(slices.Sorted(maps.Keys(read)), ", "))}
		}
		if n := p.partitions[g.Topic]; g.Partition >= n {
			return &fatalError{fmt.Errorf("invalid --accept-loss: topic %s has no partition %d: it has %d, numbered from 0", g.Topic, g.Partition, n)}
		}
	}
	return nil
}

// IsRefusal reports whether err, of Run, would end the next run of the same pipeline too: its SQL,
// its topics or its state must change first.
func IsRefusal(err error) bool {
	var fatal *fatalError
	var changed *ChangedError
	return errors.As(err, &fatal) || errors.As(err, &changed)
}

// mismatch returns the error of a state that does not match the cluster, with the way forward that
// always exists.
func (p *pipeline) mismatch(format string, args ...any) error {
	return &fatalError{fmt.Errorf(format+". To start over without the state and the group's offsets: weir run --reset %s (results, late rows and dead letters are kept)",
		append(args, p.cfg.Program.Name)...)}
}

// lostError returns the error of missing records, with the flag that accepts it.
func (p *pipeline) lostError(tp topicPartition, from, to int64, what string) error {
	return p.mismatch("offsets %d to %d of %s-%d %s. To continue without them: weir run --accept-loss %s/%d:%d-%d",
		from, to-1, tp.topic, tp.partition, what, tp.topic, tp.partition, from, to)
}

// truncatedError returns the error of a changelog without a header.
func (p *pipeline) truncatedError(l *ledger) error {
	return p.mismatch("the beginning of %s-%d is missing, and with it part of the state: retention, DeleteRecords or a restored backup has truncated the topic", l.topic, l.partition)
}

// otherStateError returns the error of a changelog with the state of other SQL.
func (p *pipeline) otherStateError(l *ledger, head *header) error {
	return p.mismatch("other SQL created the state in %s (its fingerprint is %s, that of this SQL is %s): restore the old SQL", l.topic, head.State, l.fingerprint)
}
