package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/audit"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// Oracle decides whether the contents of a flow's topics are correct. It trusts no counters of the
// system: it relies only on the records and on the acknowledgements that producers logged.
type Oracle struct {
	Broker broker.Config
	Acks   []string      // acknowledgement logs
	Stats  bool          // device_stats is computed as well
	Joins  bool          // the pipeline is that of joins, not that of groups
	Wait   time.Duration // how long transactions may stay open; default 60 s
}

// Verdict is the result of the oracle.
type Verdict struct {
	Audit  *audit.Report `json:"audit"`
	Groups int           `json:"groups"`           // compared with a separate computation
	Joined int           `json:"joined,omitempty"` // rows of joins compared with a separate computation
	Wrong  []string      `json:"wrong,omitempty"`  // wrong groups, and the first wrong rows of joins

	JoinedWrong int `json:"joined_wrong,omitempty"` // wrong rows of joins

	// Planned is the checker's report on the second source of the joins.
	Planned *audit.Report `json:"planned,omitempty"`
}

// Clean reports whether everything is correct.
func (v *Verdict) Clean() bool {
	return len(v.Wrong) == 0 && !slices.ContainsFunc(v.audits(), func(r *audit.Report) bool { return !r.Clean() })
}

// audits returns the checker's reports, one per source.
func (v *Verdict) audits() []*audit.Report {
	if v.Planned == nil {
		return []*audit.Report{v.Audit}
	}
	return []*audit.Report{v.Audit, v.Planned}
}

// Findings returns examples of what is wrong.
func (v *Verdict) Findings() []string {
	var all []string
	for _, r := range v.audits() {
		for _, f := range r.Findings {
			all = append(all, fmt.Sprintf("%s %s: %s", f.Check, f.Problem, f.Where))
		}
		if len(all) == 0 && !r.Clean() {
			all = append(all, "the checker reports failures without an example")
		}
	}
	return append(all, v.Wrong...)
}

// Check checks a running flow: C1 to C6 and C8 for the readings and the windows.
func (o Oracle) Check(ctx context.Context) (*Verdict, error) {
	if o.Joins {
		return o.checkSources(ctx)
	}
	c := audit.Config{
		Broker: o.Broker, Acks: o.Acks, Wait: o.Wait,
		Windows: audit.WindowConfig{Topic: flowWindows, Size: flowWindow, Late: flowName + ".late", DLQ: flowName + ".dlq", Delay: flowDelay},
	}
	if !o.Stats {
		c.StatsTopic, c.DLQTopic, c.Group = "no-stats", "no-dead-letters", "no-group"
	}
	r, err := audit.Verify(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Verdict{Audit: r}, nil
}

// checkSources checks the sources of the joins: C1 to C3, C6 and C8.
func (o Oracle) checkSources(ctx context.Context) (*Verdict, error) {
	v := &Verdict{}
	for i, report := range []**audit.Report{&v.Audit, &v.Planned} {
		c := audit.Config{
			Broker: o.Broker, Topic: pipelines[1].sources[i], Wait: o.Wait,
			StatsTopic: "no-stats", DLQTopic: "no-dead-letters", Group: "no-group",
		}
		if i < len(o.Acks) {
			c.Acks = o.Acks[i : i+1]
		}
		var err error
		if *report, err = audit.Verify(ctx, c); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// maxWrong is how many wrong rows of joins a verdict lists: if the pipeline has stopped early,
// there are as many as rows are missing.
const maxWrong = 100

// Final checks a flow at rest: everything that Check does, and that the pipeline has processed all
// readings and its groups equal an offline recomputation.
func (o Oracle) Final(ctx context.Context) (*Verdict, error) {
	v, err := o.Check(ctx)
	if err != nil {
		return nil, err
	}
	if o.Joins {
		var wrong []string
		v.Joined, wrong, err = o.checkJoins(ctx)
		v.JoinedWrong, v.Wrong = len(wrong), wrong[:min(maxWrong, len(wrong))]
		return v, err
	}
	want, err := o.recompute(ctx)
	if err != nil {
		return nil, err
	}
	for table, groups := range want {
		actual, err := o.groups(ctx, table)
		if err != nil {
			return nil, err
		}
		v.Groups += len(groups)
		v.Wrong = append(v.Wrong, compareGroups(table, groups, actual)...)
	}
	return v, nil
}

// recompute counts the readings by device and by sensor.
func (o Oracle) recompute(ctx context.Context) (map[string]map[string]figure, error) {
	groups := map[string]map[string]figure{flowDevices: {}, flowSensors: {}}
	err := broker.ReadAll(ctx, o.Broker, "sensor_data_tx", nil, func(r *kgo.Record) error {
		var reading struct {
			Device string `json:"device_id"`
			Sensor string `json:"sensor"`
			Seq    int64  `json:"seq"`
		}
		if err := json.Unmarshal(r.Value, &reading); err != nil {
			return fmt.Errorf("read reading at %s-%d, offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		groups[flowDevices][reading.Device] = groups[flowDevices][reading.Device].plus(reading.Seq)
		groups[flowSensors][reading.Sensor] = groups[flowSensors][reading.Sensor].plus(reading.Seq)
		return nil
	})
	return groups, err
}

// groups returns the last result of each key.
func (o Oracle) groups(ctx context.Context, topic string) (map[string]figure, error) {
	actual := make(map[string]figure)
	err := broker.ReadAll(ctx, o.Broker, topic, nil, func(r *kgo.Record) error {
		if r.Value == nil {
			delete(actual, string(r.Key))
			return nil
		}
		var f figure
		if err := json.Unmarshal(r.Value, &f); err != nil {
			return fmt.Errorf("read result at %s-%d, offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		actual[string(r.Key)] = f
		return nil
	})
	return actual, err
}

func compareGroups(topic string, want, actual map[string]figure) (wrong []string) {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if actual[k] != want[k] {
			wrong = append(wrong, fmt.Sprintf("C4 %s of %s: count and sum %v, expected %v", topic, k, actual[k], want[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(actual)) {
		if _, ok := want[k]; !ok {
			wrong = append(wrong, fmt.Sprintf("C4 %s of %s: %v, expected none: it has no readings", topic, k, actual[k]))
		}
	}
	return wrong
}

// verifyWhileItRuns checks the flow periodically. A check that a fault interrupts is retried after
// the next interval.
func (r *run) verifyWhileItRuns(ctx context.Context) {
	for retry.Sleep(ctx, r.VerifyEvery) == nil {
		v, err := r.oracle().Check(ctx)
		switch {
		case err != nil:
			r.Logger.Info("a check could not be completed", "err", err)
			r.report.ChecksBroken++
		case v.Clean():
			r.report.ChecksDone++
		default:
			r.report.ChecksDone++
			for _, f := range v.Findings() {
				r.fail("check %d, %s after the start: %s", r.report.ChecksDone, time.Since(r.report.Began).Round(time.Second), f)
			}
		}
	}
}

func (r *run) oracle() Oracle {
	return Oracle{Broker: r.direct(), Acks: r.acks(), Stats: true, Joins: r.flow.joins()}
}

// judge determines the final verdict.
func (r *run) judge(ctx context.Context) error {
	v, err := r.oracle().Final(ctx)
	if err != nil {
		return fmt.Errorf("check the result: %w", err)
	}
	r.report.Final = v
	for _, f := range v.Findings() {
		r.fail("at the end: %s", f)
	}
	open, err := broker.ListTransactions(ctx, r.client, time.Now())
	if err != nil {
		return fmt.Errorf("list transactions: %w", err)
	}
	for _, u := range open.Unchecked {
		r.fail("at the end: C8 transactions of %s were not checked: %s", u.Topic, u.Reason)
	}
	for i := range open.Open {
		t := &open.Open[i]
		if t.Hanging {
			if t.Evidence, err = broker.Investigate(ctx, r.client, t); err != nil {
				return fmt.Errorf("look for the end of a hanging transaction: %w", err)
			}
			r.fail("at the end: C8 %s", t.Describe())
			continue
		}
		if time.Duration(t.Age) > time.Duration(t.Timeout)+10*time.Second {
			r.fail("at the end: C8 transaction of %q (producer %d) is open for %s", t.TransactionalID, t.ProducerID, time.Duration(t.Age).Round(time.Second))
		}
	}
	if v.Audit.Records == 0 || r.flow.joins() && v.Joined == 0 {
		return errors.New("no readings were written: the run proves nothing")
	}
	return nil
}
