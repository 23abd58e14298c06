package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// ends are end offsets by topic and partition.
type ends map[string]map[int32]int64

func newEnds(listed kadm.ListedOffsets) ends {
	all := make(ends)
	listed.Each(func(o kadm.ListedOffset) {
		if all[o.Topic] == nil {
			all[o.Topic] = make(map[int32]int64)
		}
		all[o.Topic][o.Partition] = o.Offset
	})
	return all
}

// committedEnds returns where committed records end in topics.
func committedEnds(ctx context.Context, admin *kadm.Client, topics ...string) (ends, error) {
	listed, err := listOffsets(ctx, "end", admin.ListCommittedOffsets, topics...)
	return newEnds(listed), err
}

// listStarts lists the first offset of each partition of topics.
func listStarts(ctx context.Context, admin *kadm.Client, topics ...string) (kadm.ListedOffsets, error) {
	return listOffsets(ctx, "start", admin.ListStartOffsets, topics...)
}

// listEnds lists the high watermark of each partition of topics.
func listEnds(ctx context.Context, admin *kadm.Client, topics ...string) (kadm.ListedOffsets, error) {
	return listOffsets(ctx, "end", admin.ListEndOffsets, topics...)
}

// listOffsets calls a list function of the admin client. It fails if any partition has no answer,
// for example because its leader moves. which names the offsets in errors.
func listOffsets(ctx context.Context, which string, list func(context.Context, ...string) (kadm.ListedOffsets, error), topics ...string) (kadm.ListedOffsets, error) {
	listed, err := list(ctx, topics...)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list %s offsets of %s: %w", which, strings.Join(topics, ", "), err)
	}
	return listed, nil
}

// groupOffsets returns the offsets that the group has committed in topics; none if the group does
// not exist yet.
func (p *pipeline) groupOffsets(ctx context.Context, admin *kadm.Client, topics ...string) (kadm.OffsetResponses, error) {
	all, err := admin.FetchOffsetsForTopics(ctx, Group(p.cfg.Program), topics...)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", Group(p.cfg.Program), err)
	}
	return all, nil
}
