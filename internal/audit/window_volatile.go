package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// VolatileError is returned if the windows of a pipeline can't be recomputed from its records.
type VolatileError struct {
	Pipeline  string
	Functions []string // whose values are those of a transaction
}

// Error names the functions and what to do.
func (e *VolatileError) Error() string {
	return fmt.Sprintf("the windows of pipeline %s can't be recomputed from its records: it uses %s, whose values belong to the transactions that wrote the rows. "+
		"Leave out --windows; everything else is checked", e.Pipeline, strings.Join(e.Functions, ", "))
}

// checkRepeatable refuses to recompute the windows of a pipeline whose plan names functions of the
// clock or random ones. A pipeline without a plan, such as one of Flink, is not refused.
func (a *audit) checkRepeatable(ctx context.Context) error {
	name, ok := strings.CutPrefix(a.cfg.Windows.Group, "weir-")
	if !ok {
		return nil
	}
	topic := name + ".plan"
	found, err := a.admin.ListTopics(ctx, topic)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	if t, ok := found[topic]; !ok || t.Err != nil { // missing, or not visible to this client
		return nil
	}
	plan, err := a.settled(ctx, topic)
	if err != nil {
		return err
	}
	var last struct {
		Volatile []string `json:"volatile"`
	}
	r := reader{isolation: kgo.ReadCommitted(), maxPartitionBytes: 1 << 20, compacted: true, silent: true}
	err = a.read(ctx, r, plan.from, plan.to, func(r *kgo.Record) {
		last.Volatile = nil
		_ = json.Unmarshal(r.Value, &last) // a plan of another version names none
	})
	if err == nil && len(last.Volatile) > 0 {
		return &VolatileError{name, last.Volatile}
	}
	return err
}
