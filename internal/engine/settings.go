package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/plan"
)

// tombstonesKept is the delete.retention.ms with which changelogs are made: Kafka's default, which
// a cluster may have lowered.
const tombstonesKept = 24 * time.Hour

// checkSettings looks at the settings of the topics that hold the pipeline's memory. A policy that
// deletes what is still needed is corrected: what was deleted before that, a restore finds out.
func (p *pipeline) checkSettings(ctx context.Context, admin *kadm.Client) error {
	want := map[string]string{p.manifestTopic(): "compact"}
	for _, topic := range p.memory() {
		want[topic] = "compact"
	}
	for _, s := range p.cfg.Program.Stages {
		for _, in := range s.Inputs {
			if _, ok := in.Op.(*plan.Exchange); ok {
				want[in.Topic()] = "delete" // each of its rows counts, and not only the last one of a key
			}
		}
	}
	topics := make([]string, 0, len(want))
	for topic := range want {
		topics = append(topics, topic)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return fmt.Errorf("read the settings of the pipeline's topics: %w", err)
	}
	p.tombstones = make(map[string]time.Duration)
	for _, topic := range configs {
		if topic.Err != nil {
			p.cfg.Logger.Warn("the settings of a topic are not known: its cleanup.policy is not checked", "topic", topic.Name, "want", want[topic.Name], "err", topic.Err)
			continue
		}
		for _, entry := range topic.Configs {
			switch entry.Key {
			case "cleanup.policy":
				if err := p.correctPolicy(ctx, admin, topic.Name, entry.MaybeValue(), want[topic.Name]); err != nil {
					return err
				}
			case "delete.retention.ms":
				if ms, err := strconv.ParseInt(entry.MaybeValue(), 10, 64); err == nil {
					p.tombstones[topic.Name] = time.Duration(min(ms, int64(tombstonesKept/time.Millisecond))) * time.Millisecond
				}
			}
		}
	}
	return nil
}

// checkCompacted refuses to write records without keys to compacted topics: the broker does not
// take them. Letters and late rows have the keys of their records, and compaction would remove all
// but the last of a key.
func (p *pipeline) checkCompacted(ctx context.Context, admin *kadm.Client) error {
	settings := p.cfg.Program.Settings
	why := map[string]string{
		settings.DeadLetterTopic: "it holds the dead letters, which compaction would remove: set cleanup.policy=delete, or SET 'weir.dead-letter.topic' = another topic",
		settings.LateTopic:       "it holds the late rows, which compaction would remove: set cleanup.policy=delete, or SET 'weir.late.topic' = another topic",
	}
	for _, sink := range p.cfg.Program.Sinks {
		if t := sink.Op.(*plan.Insert).Table; !t.Upsert && t.Key.Name == "" { //nolint:forcetypeassert // sinks are inserts
			why[t.Topic] = fmt.Sprintf("table %s writes records without a key, which a compacted topic does not take: set cleanup.policy=delete, or give the table a key ('key.format' and 'key.fields')", t.Name)
		}
	}
	configs, err := admin.DescribeTopicConfigs(ctx, slices.Sorted(maps.Keys(why))...)
	if err != nil {
		return fmt.Errorf("read the settings of the topics that the pipeline writes: %w", err)
	}
	for _, topic := range configs {
		for _, entry := range topic.Configs {
			if entry.Key == "cleanup.policy" && strings.Contains(entry.MaybeValue(), "compact") {
				return &fatalError{fmt.Errorf("topic %s (id %s) has cleanup.policy=%s, and %s", topic.Name, p.ids[topic.Name], entry.MaybeValue(), why[topic.Name])}
			}
		}
	}
	return nil
}

func (p *pipeline) correctPolicy(ctx context.Context, admin *kadm.Client, topic, is, want string) error {
	if strings.TrimSpace(is) == want {
		return nil
	}
	resp, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &want}}, topic)
	if err == nil && len(resp) > 0 {
		err = resp[0].Err
	}
	if err != nil {
		return &fatalError{fmt.Errorf("topic %s holds a part of the pipeline's state, and its cleanup.policy is %s, which loses it: set cleanup.policy=%s (Weir tried: %w)", topic, is, want, err)}
	}
	p.cfg.Logger.Warn("the cleanup.policy of a topic of the pipeline would have lost state: it is corrected", "topic", topic, "was", is, "is", want)
	return nil
}

// maxAge is how old a copy of a changelog's state may be: a deletion that is older may no longer be
// in the changelog, and what it deleted would come back. Half of the time that tombstones are kept
// leaves the other half for a restore.
func (p *pipeline) maxAge(changelog string) time.Duration {
	kept, known := p.tombstones[changelog]
	if !known {
		kept = tombstonesKept
	}
	return max(kept/2, 1)
}
