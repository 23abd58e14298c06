package produce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/saved"
)

// progress is the value of a source's record in the compacted progress topic, with the key
// "source/NAME".
type progress struct {
	Position json.RawMessage `json:"position"` // in the source's own format
	Readings int64           `json:"readings"` // committed by all runs
}

func progressKey(name string) string { return "source/" + name }

// factKeys is the beginning of the keys of a source's facts in the progress topic. The NUL keeps
// them apart from those of a source whose name begins with this one's.
func factKeys(name string) string { return "fact/" + name + "\x00" }

// readProgress returns the last committed progress of a source, or nil, and its facts. The caller
// must have acquired the source's transactional id, so that no other producer can commit.
func readProgress(ctx context.Context, c broker.Config, topic, name string) (last *progress, facts map[string][]byte, err error) {
	key, prefix := progressKey(name), factKeys(name)
	facts = make(map[string][]byte)
	var damaged error // of the last record
	err = broker.ReadAll(ctx, c, topic, nil, func(r *kgo.Record) error {
		if fact, ok := strings.CutPrefix(string(r.Key), prefix); ok {
			facts[fact] = r.Value
			if r.Value == nil {
				delete(facts, fact)
			}
			return nil
		}
		if string(r.Key) != key {
			return nil
		}
		if last, damaged = nil, nil; r.Value == nil {
			return nil
		}
		var err error
		if last, err = decodeProgress(r.Value); err != nil {
			damaged = &sourceError{fmt.Errorf("%s-%d, offset %d, is not the position of source %s (%w): restore the topic; or write a record without a value and with the key %q there, and the source is sent again from its beginning",
				r.Topic, r.Partition, r.Offset, name, err, key)}
		}
		return nil
	})
	return last, facts, errors.Join(err, damaged)
}

func decodeProgress(value []byte) (*progress, error) {
	p := new(progress)
	if err := saved.Decode(value, p, "position", "readings"); err != nil {
		return nil, err
	}
	if p.Readings < 0 {
		return nil, fmt.Errorf("it has %d readings", p.Readings)
	}
	return p, nil
}

func (p *progress) record(topic, name string) (*kgo.Record, error) {
	value, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: topic, Key: []byte(progressKey(name)), Value: value}, nil
}
