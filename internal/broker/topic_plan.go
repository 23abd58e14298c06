package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/retry"
)

// TopicPlan is the difference between the declared topics and the cluster's. Topics that are not
// declared are left out and never changed.
type TopicPlan struct {
	Topics []TopicChanges `json:"topics"`
}

// TopicChanges are the changes to one topic.
type TopicChanges struct {
	Topic   string   `json:"topic"`
	Create  bool     `json:"create"`
	Changes []Change `json:"changes"`

	declared Topic
	missing  bool // create it only if it is missing, see EnsureTopics
	brokers  []int32
	current  kadm.TopicDetail
}

// Change is one difference.
type Change struct {
	What    string `json:"what"` // partitions, replication factor, or a configuration's name
	From    string `json:"from"`
	To      string `json:"to"`
	Refused string `json:"refused,omitempty"` // reason why it is not applied
	Forced  bool   `json:"forced,omitempty"`  // force overrides the refusal
}

// PlanTopics compares declared topics with those of the cluster.
func PlanTopics(ctx context.Context, admin *kadm.Client, declared []Topic) (*TopicPlan, error) {
	names := make([]string, len(declared))
	for i, t := range declared {
		names[i] = t.Name
	}
	meta, err := admin.Metadata(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	var existing []string
	for _, name := range names {
		switch err := meta.Topics[name].Err; {
		case err == nil:
			existing = append(existing, name)
		case !errors.Is(err, kerr.UnknownTopicOrPartition):
			return nil, fmt.Errorf("describe topic %s: %w", name, err)
		}
	}
	configs := make(map[string]map[string]string)
	if len(existing) > 0 {
		described, err := admin.DescribeTopicConfigs(ctx, existing...)
		if err != nil {
			return nil, fmt.Errorf("read the configuration of topics: %w", err)
		}
		for _, d := range described {
			if d.Err != nil {
				return nil, fmt.Errorf("read the configuration of topic %s: %w", d.Name, d.Err)
			}
			values := make(map[string]string)
			for _, c := range d.Configs {
				values[c.Key] = c.MaybeValue()
			}
			configs[d.Name] = values
		}
	}
	plan := &TopicPlan{}
	for _, t := range declared {
		tp := TopicChanges{Topic: t.Name, declared: t, brokers: meta.Brokers.NodeIDs(), current: meta.Topics[t.Name], Changes: []Change{}}
		tp.compare(configs[t.Name])
		plan.Topics = append(plan.Topics, tp)
	}
	return plan, nil
}

// compare computes the changes. have is the current configuration, nil for a topic that does not
// exist.
func (tp *TopicChanges) compare(have map[string]string) {
	t, brokers := tp.declared, len(tp.brokers)
	replicas := t.replicas(brokers)
	tooMany := ""
	if int(replicas) > brokers {
		tooMany = fmt.Sprintf("the cluster has %d brokers: lower the replication factor or add brokers", brokers)
	}
	if insync, err := strconv.Atoi(t.configs(brokers)["min.insync.replicas"]); err == nil && insync > int(replicas) && tooMany == "" {
		tooMany = fmt.Sprintf("min_insync_replicas %d is above it: nothing could be written", insync)
	}
	if have == nil {
		tp.Create = true
		tp.Changes = append(tp.Changes,
			Change{What: "partitions", To: strconv.Itoa(int(t.Partitions))},
			Change{What: "replication factor", To: strconv.Itoa(int(replicas)), Refused: tooMany})
		want := t.configs(brokers)
		for _, key := range slices.Sorted(maps.Keys(want)) {
			tp.Changes = append(tp.Changes, Change{What: key, To: want[key]})
		}
		return
	}
	if now := len(tp.current.Partitions); now != int(t.Partitions) {
		tp.Changes = append(tp.Changes, partitionChange(&t, now))
	}
	if now := tp.current.Partitions.NumReplicas(); now != int(replicas) {
		tp.Changes = append(tp.Changes, Change{
			What: "replication factor", From: strconv.Itoa(now), To: strconv.Itoa(int(replicas)), Refused: tooMany,
		})
	}
	want := t.configs(brokers)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if have[key] != want[key] {
			tp.Changes = append(tp.Changes, configChange(key, have[key], want[key]))
		}
	}
}

func partitionChange(t *Topic, now int) Change {
	c := Change{What: "partitions", From: strconv.Itoa(now), To: strconv.Itoa(int(t.Partitions))}
	switch {
	case int(t.Partitions) < now:
		c.Refused = "Kafka can't remove partitions: create another topic and copy the records"
	case t.keyed():
		c.Refused = "the topic is keyed: keys would move to other partitions and lose their order and state"
		c.Forced = true
	}
	return c
}

// configChange refuses changes that would drop records, unless forced.
func configChange(key, from, to string) Change {
	c := Change{What: key, From: from, To: to}
	switch key {
	case "cleanup.policy":
		if drops(from, to) {
			c.Refused, c.Forced = "would drop records that are kept today", true
		}
	case "retention.ms", "retention.bytes":
		was, err1 := strconv.ParseInt(from, 10, 64)
		will, err2 := strconv.ParseInt(to, 10, 64)
		if err1 == nil && err2 == nil && will >= 0 && (was < 0 || will < was) {
			c.Refused, c.Forced = "shorter retention drops records that are kept today", true
		}
	}
	return c
}

// drops reports whether a change of cleanup policy removes records.
func drops(from, to string) bool {
	for _, policy := range []string{"delete", "compact"} {
		if strings.Contains(to, policy) && !strings.Contains(from, policy) {
			return true
		}
	}
	return false
}

// Empty reports whether there are no changes.
func (p *TopicPlan) Empty() bool {
	for _, t := range p.Topics {
		if len(t.Changes) > 0 {
			return false
		}
	}
	return true
}

// refused lists the refused changes.
func (p *TopicPlan) refused(force bool) (list []string) {
	for _, t := range p.Topics {
		for _, c := range t.Changes {
			if c.Refused == "" || c.Forced && force {
				continue
			}
			out := ""
			if c.Forced {
				out = " (--force makes it all the same)"
			}
			list = append(list, fmt.Sprintf("topic %s: %s %s → %s: %s%s", t.Topic, c.What, orNone(c.From), c.To, c.Refused, out))
		}
	}
	return list
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// WriteText writes the plan in human-readable form: + create, ~ change, ! refused, = unchanged.
func (p *TopicPlan) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, t := range p.Topics {
		switch {
		case len(t.Changes) == 0:
			fmt.Fprintf(&b, "= %s\n", t.Topic)
		case t.Create:
			fmt.Fprintf(&b, "+ %s\n", t.Topic)
		default:
			fmt.Fprintf(&b, "~ %s\n", t.Topic)
		}
		for _, c := range t.Changes {
			mark, why := "  ", ""
			if c.Refused != "" {
				mark, why = "! ", "  refused: "+c.Refused
				if c.Forced {
					why += " (--force makes it all the same)"
				}
			}
			if t.Create {
				fmt.Fprintf(&b, "  %s%s %s%s\n", mark, c.What, c.To, why)
				continue
			}
			fmt.Fprintf(&b, "  %s%s %s → %s%s\n", mark, c.What, orNone(c.From), c.To, why)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// RefusedError lists the refused changes of a plan. Nothing was changed.
type RefusedError struct{ Refusals []string }

// Error lists the refusals.
func (e *RefusedError) Error() string {
	return "nothing was changed: " + strings.Join(e.Refusals, "; ")
}

// Apply makes all changes of the plan, or none and returns a *RefusedError if one is refused; force
// allows those that drop records or move keys.
func (p *TopicPlan) Apply(ctx context.Context, admin *kadm.Client, force bool) error {
	if list := p.refused(force); len(list) > 0 {
		return &RefusedError{list}
	}
	for i := range p.Topics {
		t := &p.Topics[i]
		if len(t.Changes) == 0 {
			continue
		}
		apply := t.change
		if t.Create {
			apply = t.create
		}
		if err := apply(ctx, admin); err != nil {
			return fmt.Errorf("topic %s: %w", t.Topic, err)
		}
	}
	return nil
}

func (tp *TopicChanges) create(ctx context.Context, admin *kadm.Client) error {
	configs := make(map[string]*string)
	for k, v := range tp.declared.configs(len(tp.brokers)) {
		configs[k] = &v
	}
	made, err := admin.CreateTopic(ctx, tp.declared.Partitions, tp.declared.replicas(len(tp.brokers)), configs, tp.Topic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return tp.again(ctx, admin)
	}
	if err != nil {
		return fmt.Errorf("create it: %w %s", err, made.ErrMessage)
	}
	return tp.await(ctx, admin, int(tp.declared.Partitions))
}

// again handles a topic that another client has created since the plan, perhaps with other
// partitions.
func (tp *TopicChanges) again(ctx context.Context, admin *kadm.Client) error {
	if err := tp.await(ctx, admin, 1); err != nil || tp.missing {
		return err
	}
	plan, err := PlanTopics(ctx, admin, []Topic{tp.declared})
	if err != nil {
		return err
	}
	return plan.Apply(ctx, admin, false)
}

// await waits until the topic has so many partitions, and each has a leader.
func (tp *TopicChanges) await(ctx context.Context, admin *kadm.Client, partitions int) error {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		topics, err := admin.ListTopics(limited, tp.Topic)
		if err == nil && led(topics[tp.Topic], partitions) {
			return nil
		}
		if retry.Sleep(limited, 20*time.Millisecond) != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("wait for the leaders of its partitions: %w", ctx.Err())
			}
			return errors.Join(errors.New("it was created, but not every partition has a leader yet"), err)
		}
	}
}

func led(t kadm.TopicDetail, partitions int) bool {
	if t.Err != nil || len(t.Partitions) < partitions {
		return false
	}
	for _, p := range t.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return true
}

func (tp *TopicChanges) change(ctx context.Context, admin *kadm.Client) error {
	var configs []kadm.AlterConfig
	for _, c := range tp.Changes {
		var err error
		switch c.What {
		case "partitions":
			_, err = only(admin.UpdatePartitions(ctx, int(tp.declared.Partitions), tp.Topic))
		case "replication factor":
			err = tp.reassign(ctx, admin)
		default:
			configs = append(configs, kadm.AlterConfig{Op: kadm.SetConfig, Name: c.What, Value: &c.To})
		}
		if err != nil {
			return fmt.Errorf("change %s: %w", c.What, err)
		}
	}
	if len(configs) == 0 {
		return nil
	}
	altered, err := admin.AlterTopicConfigs(ctx, configs, tp.Topic)
	if err == nil {
		_, err = altered.On(tp.Topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		return fmt.Errorf("change its configuration: %w", err)
	}
	return nil
}

func only(r kadm.CreatePartitionsResponses, err error) (kadm.CreatePartitionsResponses, error) {
	if err != nil {
		return r, err
	}
	return r, r.Error()
}

// reassign gives each partition its declared number of replicas, choosing brokers round-robin; the
// leader stays first.
func (tp *TopicChanges) reassign(ctx context.Context, admin *kadm.Client) error {
	n := int(tp.declared.replicas(len(tp.brokers)))
	var req kadm.AlterPartitionAssignmentsReq
	for id, p := range tp.current.Partitions {
		replicas := []int32{p.Leader}
		for _, r := range p.Replicas {
			if len(replicas) < n && r != p.Leader {
				replicas = append(replicas, r)
			}
		}
		for i := range tp.brokers {
			b := tp.brokers[(int(id)+i)%len(tp.brokers)]
			if len(replicas) < n && !slices.Contains(replicas, b) {
				replicas = append(replicas, b)
			}
		}
		req.Assign(tp.Topic, id, replicas)
	}
	done, err := admin.AlterPartitionAssignments(ctx, req)
	if err != nil {
		return err
	}
	return done.Error()
}

// EnsureTopics creates the declared topics that are missing, and leaves existing ones unchanged.
func EnsureTopics(ctx context.Context, admin *kadm.Client, declared []Topic) error {
	plan, err := PlanTopics(ctx, admin, declared)
	if err != nil {
		return err
	}
	missing := &TopicPlan{}
	for _, t := range plan.Topics {
		if t.missing = true; t.Create {
			missing.Topics = append(missing.Topics, t)
		}
	}
	return missing.Apply(ctx, admin, false)
}
