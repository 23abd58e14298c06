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

// tombstonesKept is the delete.retention.ms of new changelogs: Kafka's default, which a cluster may
// have lowered.
const tombstonesKept = 24 * time.Hour

// checkSettings checks the settings of the topics that hold state and rows between stages. It
// corrects a cleanup policy that would delete what is still needed; a restore detects what was
// deleted before.
func (p *pipeline) checkSettings(ctx context.Context, admin *kadm.Client) error {
	want := map[string]string{p.manifestTopic(): "compact"}
	for _, topic := range p.stateTopics() {
		want[topic] = "compact"
	}
	for _, s := range p.cfg.Program.Stages {
		for _, in := range s.Inputs {
			if _, ok := in.Op.(*plan.Exchange); ok {
				want[in.Topic()] = "delete" // every row is needed, not only the last one of a key
			}
		}
	}
	for _, t := range p.cfg.Program.Deliveries() {
		want[t.Kafka.Topic] = "delete" // likewise, until it is delivered
	}
	topics := make([]string, 0, len(want))
	for topic := range want {
		topics = append(topics, topic)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return fmt.Errorf("describe the settings of the pipeline's topics: %w", err)
	}
	p.tombstones = make(map[string]time.Duration)
	for _, topic := range configs {
		if topic.Err != nil {
			p.cfg.Logger.Warn("settings of a topic are not available: its cleanup.policy is not checked", "topic", topic.Name, "want", want[topic.Name], "err", topic.Err)
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

// checkCompacted refuses to write records without keys to compacted topics, because the broker does
// not accept them. Dead letters and late rows have the keys of their records, of which compaction
// would remove all but the last.
func (p *pipeline) checkCompacted(ctx context.Context, admin *kadm.Client) error {
	settings := p.cfg.Program.Settings
	why := map[string]string{
		settings.DeadLetterTopic: "it holds dead letters, which compaction would remove: set cleanup.policy=delete, or SET 'weir.dead-letter.topic' = another topic",
		settings.LateTopic:       "it holds late rows, which compaction would remove: set cleanup.policy=delete, or SET 'weir.late.topic' = another topic",
	}
	for _, sink := range p.cfg.Program.Sinks {
		if t := sink.Op.(*plan.Insert).Table; t.Delivery == nil && !t.Upsert && t.Kafka.Key.Name == "" { //nolint:forcetypeassert // a sink is an INSERT
			why[t.Kafka.Topic] = fmt.Sprintf("table %s writes records without a key, which a compacted topic does not accept: set cleanup.policy=delete, or give the table a key ('key.format' and 'key.fields')", t.Name)
		}
	}
	configs, err := admin.DescribeTopicConfigs(ctx, slices.Sorted(maps.Keys(why))...)
	if err != nil {
		return fmt.Errorf("describe the settings of the topics that the pipeline writes: %w", err)
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
		return &fatalError{fmt.Errorf("topic %s holds state of the pipeline, which its cleanup.policy %s would delete: set cleanup.policy=%s (Weir tried: %w)", topic, is, want, err)}
	}
	p.cfg.Logger.Warn("corrected the cleanup.policy of a topic, which would have deleted state", "topic", topic, "was", is, "is", want)
	return nil
}

// maxAge is the maximum age of a state that is brought up to date from its changelog. The changelog
// may no longer contain older tombstones, and the entries that they deleted would reappear. It is
// half of the time that tombstones are kept, which leaves the other half for the restore.
func (p *pipeline) maxAge(changelog string) time.Duration {
	kept, known := p.tombstones[changelog]
	if !known {
		kept = tombstonesKept
	}
	return max(kept/2, 1)
}
