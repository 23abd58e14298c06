package monitor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

func (m *Monitor) groups(ctx context.Context, admin *kadm.Client, now time.Time) (all []Group, gaps []string) {
	all, gaps = []Group{}, []string{}
	listed, err := admin.ListGroups(ctx)
	if err != nil {
		gaps = append(gaps, "groups: "+explain(err))
	}
	if len(listed) == 0 {
		return all, gaps
	}
	lags, err := admin.Lag(ctx, listed.Groups()...)
	if err != nil {
		return all, append(gaps, "lag of groups: "+explain(err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range lags.Sorted() {
		if err := cmp.Or(l.DescribeErr, l.FetchErr); err != nil {
			gaps = append(gaps, fmt.Sprintf("group %s: %s", l.Group, explain(err)))
			continue
		}
		all = append(all, m.group(&l, now))
	}
	return all, gaps
}

func (m *Monitor) group(l *kadm.DescribedGroupLag, now time.Time) Group {
	g := Group{Name: l.Group, State: l.State, Members: len(l.Members), Topics: []GroupTopic{}}
	byTopic := make(map[string]*GroupTopic)
	for _, p := range l.Lag.Sorted() {
		if p.Err != nil || p.Lag < 0 {
			continue // not committed by the group yet, or deleted
		}
		t := byTopic[p.Topic]
		if t == nil {
			t = &GroupTopic{Topic: p.Topic}
			byTopic[p.Topic] = t
		}
		t.Lag += p.Lag
		t.Behind = max(t.Behind, m.behind(partition{p.Topic, p.Partition}, p.End.Offset-p.Lag, p.End.Offset, now).Seconds())
	}
	for _, t := range byTopic {
		g.Topics = append(g.Topics, *t)
	}
	slices.SortFunc(g.Topics, func(a, b GroupTopic) int { return strings.Compare(a.Topic, b.Topic) })
	return g
}

// behind records the end offset of a partition, and returns for how long the partition has had
// records from offset read on. m.mu must be held.
func (m *Monitor) behind(p partition, read, offset int64, now time.Time) time.Duration {
	ends := m.ends[p]
	if n := len(ends); n == 0 || ends[n-1].at.Before(now) {
		ends = append(ends, end{now, offset})
	}
	for len(ends) > maxEnds || now.Sub(ends[0].at) > remember {
		ends = ends[1:]
	}
	m.ends[p] = ends
	if read >= offset {
		return 0
	}
	i, _ := slices.BinarySearchFunc(ends, read+1, func(e end, at int64) int { return cmp.Compare(e.offset, at) })
	if i == len(ends) {
		return 0 // it has grown since the first group of this snapshot was queried
	}
	return now.Sub(ends[i].at)
}
