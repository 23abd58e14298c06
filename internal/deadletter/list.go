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

// Topics names the topics of dead letters and of their replay markers.
type Topics struct {
	DLQ      string // dead letters
	Progress string // compacted; replay markers under the key "replay/DLQ/partition/offset"; default that of the site of DLQ
}

// Filter selects dead letters. The zero value selects all.
type Filter struct {
	Topic   string    // topic of origin
	Reason  string    // substring of the reason, ignoring case
	Since   time.Time // inclusive
	Pending bool      // only those that have not been replayed
}

func (f *Filter) matches(l *Entry) bool {
	return (f.Topic == "" || f.Topic == l.Topic) &&
		strings.Contains(strings.ToLower(l.Reason), strings.ToLower(f.Reason)) &&
		!l.Time.Before(f.Since) &&
		(!f.Pending || !l.Replayed)
}

// List calls fn with each committed dead letter that the filter selects, in offset order within a
// partition, up to the end of the topic at the time of the call.
func List(ctx context.Context, c broker.Config, topics Topics, f Filter, fn func(Entry) error) error {
	topics, hasProgress, err := checkTopics(ctx, c, topics)
	if err != nil {
		return err
	}
	if !hasProgress {
		topics.Progress = "" // no dead letter was ever replayed
	}
	replayed, err := readMarkers(ctx, c, topics)
	if err != nil {
		return err
	}
	return broker.ReadAll(ctx, c, topics.DLQ, nil, func(r *kgo.Record) error {
		l, err := Parse(r)
		if err != nil {
			return err
		}
		l.Replayed = replayed[position{l.Partition, l.Offset}]
		if !f.matches(&l) {
			return nil
		}
		return fn(l)
	})
}

// checkTopics sets the default of topics.Progress and reports whether that topic exists. It returns
// an error if the dead-letter topic does not.
func checkTopics(ctx context.Context, c broker.Config, topics Topics) (complete Topics, hasProgress bool, err error) {
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
		return topics, false, fmt.Errorf("%w; a pipeline creates NAME.dlq when it first runs, and weir topics apply creates the dead-letter topic of the readings", broker.NoTopic(ctx, admin, topics.DLQ))
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

// position locates a dead letter in the dead-letter topic.
type position struct {
	partition int32
	offset    int64
}

func (t *Topics) markerPrefix() string { return "replay/" + t.DLQ + "/" }

func (t *Topics) markerKey(p position) string {
	return t.markerPrefix() + strconv.Itoa(int(p.partition)) + "/" + strconv.FormatInt(p.offset, 10)
}

// readMarkers returns the positions of the dead letters that have been replayed.
func readMarkers(ctx context.Context, c broker.Config, topics Topics) (map[position]bool, error) {
	replayed := make(map[position]bool)
	if topics.Progress == "" {
		return replayed, nil
	}
	err := broker.ReadAll(ctx, c, topics.Progress, nil, func(r *kgo.Record) error {
		rest, ok := strings.CutPrefix(string(r.Key), topics.markerPrefix())
		if !ok {
			return nil
		}
		p, err := parsePosition(rest)
		if err != nil {
			return fmt.Errorf("parse replay marker %q in %s: %w", r.Key, topics.Progress, err)
		}
		replayed[p] = r.Value != nil
		return nil
	})
	return replayed, err
}

func parsePosition(text string) (position, error) {
	partition, offset, ok := strings.Cut(text, "/")
	if !ok {
		return position{}, errors.New("expected partition/offset")
	}
	p, err := strconv.ParseInt(partition, 10, 32)
	if err != nil {
		return position{}, err
	}
	o, err := strconv.ParseInt(offset, 10, 64)
	return position{int32(p), o}, err
}
