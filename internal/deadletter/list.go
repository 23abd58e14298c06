package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/site"
)

// Topics are where dead letters and the marks of their replays are.
type Topics struct {
	DLQ      string // dead letters
	Progress string // compacted; marks under the key "replay/DLQ/partition/offset"; default that of the site of DLQ
}

// Filter chooses letters. The zero value chooses all.
type Filter struct {
	Topic   string    // of origin
	Reason  string    // part of the reason, in any case
	Since   time.Time // not before
	Pending bool      // only those that were not replayed
}

func (f *Filter) matches(l *Letter) bool {
	return (f.Topic == "" || f.Topic == l.Topic) &&
		strings.Contains(strings.ToLower(l.Reason), strings.ToLower(f.Reason)) &&
		!l.Time.Before(f.Since) &&
		(!f.Pending || !l.Replayed)
}

// List calls fn with each committed letter that the filter chooses, in offset order within a
// partition, up to the end of the topic as it was when List was called.
func List(ctx context.Context, c broker.Config, topics Topics, f Filter, fn func(Letter) error) error {
	topics, marked, err := checkTopics(ctx, c, topics)
	if err != nil {
		return err
	}
	if !marked {
		topics.Progress = "" // nothing was ever sent back
	}
	marks, err := readMarks(ctx, c, topics)
	if err != nil {
		return err
	}
	return broker.ReadAll(ctx, c, topics.DLQ, nil, func(r *kgo.Record) error {
		l, err := Parse(r)
		if err != nil {
			return err
		}
		l.Replayed = marks[place{l.Partition, l.Offset}]
		if !f.matches(&l) {
			return nil
		}
		return fn(l)
	})
}

// checkTopics completes topics and reports whether the topic of marks exists. That of the letters
// must exist.
func checkTopics(ctx context.Context, c broker.Config, topics Topics) (complete Topics, marked bool, err error) {
	client, err := broker.Connect(ctx, c)
	if err != nil {
		return topics, false, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	candidates := []string{topics.Progress}
	if topics.Progress == "" {
		candidates = site.ProgressTopics(topics.DLQ)
	}
	listed, err := admin.ListTopics(ctx, append([]string{topics.DLQ}, candidates...)...)
	if err != nil {
		return topics, false, fmt.Errorf("describe topics: %w", err)
	}
	switch err := listed[topics.DLQ].Err; {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return topics, false, fmt.Errorf("%w; a pipeline creates NAME.dlq when it first runs, and weir topics apply creates that of the readings", broker.NoTopic(ctx, admin, topics.DLQ))
	case err != nil:
		return topics, false, fmt.Errorf("describe topic %s: %w", topics.DLQ, err)
	}
	for _, topics.Progress = range candidates {
		err := listed[topics.Progress].Err
		if err == nil {
			return topics, true, nil
		}
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return topics, false, fmt.Errorf("describe topic %s: %w", topics.Progress, err)
		}
	}
	return topics, false, nil
}

// place is where a letter is in the dead-letter topic.
type place struct {
	partition int32
	offset    int64
}

func (t *Topics) markPrefix() string { return "replay/" + t.DLQ + "/" }

func (t *Topics) markKey(p place) string {
	return t.markPrefix() + strconv.Itoa(int(p.partition)) + "/" + strconv.FormatInt(p.offset, 10)
}

// readMarks returns the letters that were sent back.
func readMarks(ctx context.Context, c broker.Config, topics Topics) (map[place]bool, error) {
	marks := make(map[place]bool)
	if topics.Progress == "" {
		return marks, nil
	}
	err := broker.ReadAll(ctx, c, topics.Progress, nil, func(r *kgo.Record) error {
		rest, ours := strings.CutPrefix(string(r.Key), topics.markPrefix())
		if !ours {
			return nil
		}
		p, err := parsePlace(rest)
		if err != nil {
			return fmt.Errorf("mark %q in %s: %w", r.Key, topics.Progress, err)
		}
		marks[p] = r.Value != nil
		return nil
	})
	return marks, err
}

func parsePlace(text string) (place, error) {
	partition, offset, ok := strings.Cut(text, "/")
	if !ok {
		return place{}, errors.New("want partition/offset")
	}
	p, err := strconv.ParseInt(partition, 10, 32)
	if err != nil {
		return place{}, err
	}
	o, err := strconv.ParseInt(offset, 10, 64)
	return place{int32(p), o}, err
}
