package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir.example/weir/internal/retry"
)

// unreadWait is how long a group's offsets may stay below the start of the log: the group may have
// read the deleted records without having committed yet.
const unreadWait = 5 * time.Second

// findUnread checks whether logs start after the groups' committed offsets, so that records were
// deleted unread. The starts are listed before the offsets, so that progress of a group in between
// raises no false alarm.
func (a *audit) findUnread(ctx context.Context) error {
	groups := map[string]bool{a.cfg.Group: a.committed != nil}
	if a.cfg.Windows.Topic != "" {
		groups[a.cfg.Windows.Group] = a.windowCommitted != nil
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		if !groups[group] {
			continue
		}
		if err := a.findUnreadOf(ctx, group); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) findUnreadOf(ctx context.Context, group string) error {
	starts, err := a.list(ctx, "start", a.admin.ListStartOffsets, []string{a.cfg.Topic})
	if err != nil {
		return err
	}
	deadline := time.Now().Add(min(unreadWait, a.cfg.Wait))
	for {
		committed, err := a.committedOffsets(ctx, group)
		if err != nil {
			return err
		}
		gone := make(map[int32]int64) // committed offsets of the group below the start of the log
		for id, at := range committed {
			if at < starts[partition{a.cfg.Topic, id}] {
				gone[id] = at
			}
		}
		if len(gone) == 0 || time.Now().After(deadline) {
			for _, id := range slices.Sorted(maps.Keys(gone)) {
				start := starts[partition{a.cfg.Topic, id}]
				if start-gone[id] == 1 { // a consumer may not commit past a transaction's marker
					a.report.uncertain++
					continue
				}
				a.report.Unread += start - gone[id]
				a.report.find("C10", "deleted unread", "%s-%d: group %s is at offset %d, but the log starts at %d: %d offsets were deleted unread", a.cfg.Topic, id, group, gone[id], start, start-gone[id])
			}
			return nil
		}
		if err := retry.Sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// unread returns C10.
func (r *Report) unread() Check {
	c := Check{ID: "C10", What: "nothing was deleted before it was read", Verdict: verdict(r.Unread)}
	c.Detail = fmt.Sprintf("%d offsets were deleted before the group read them", r.Unread)
	if r.uncertain > 0 {
		c.Detail += fmt.Sprintf("; in %d partitions one more offset was deleted, which may be a transaction marker", r.uncertain)
		if c.Verdict == OK {
			c.Verdict = Partly
		}
	}
	switch {
	case !r.hasGroup:
		c.Verdict, c.Detail = NotChecked, "the group has no offsets in the topic"
	case r.Truncated > 0 && c.Verdict != Failed:
		c.Verdict = Partly
		c.Detail += fmt.Sprintf("; whether it read records deleted earlier in %d of %d partitions can't be determined (see weir_engine_skipped_offsets_total and the pipeline's log)", r.Truncated, r.Partitions)
	}
	return c
}
