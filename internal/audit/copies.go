package audit

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// CopyConfig selects the local copies of pipeline state to check (C9).
type CopyConfig struct {
	Dir      string // --state-dir of the pipelines; "" disables the check
	Pipeline string // limits the check to pipelines that match this pattern of path.Match; "" checks all
	Alone    bool   // check them even if the topic of readings does not exist
}

// CopyReport is the result of checking local copies. A copy must equal a rebuild from the changelog
// up to the copy's offset.
type CopyReport struct {
	Dir       string        `json:"dir"`
	Checked   int           `json:"checked"`    // copies
	Skipped   []SkippedCopy `json:"skipped"`    // copies that were not checked
	Entries   int64         `json:"entries"`    // compared
	NotJudged int64         `json:"not_judged"` // entries whose value at the copy's offset may have been compacted or deleted
	Cut       int           `json:"cut"`        // copies whose changelog has lost its beginning
	Missing   int64         `json:"missing"`    // entries only in the changelog
	Extra     int64         `json:"extra"`      // entries only in the copy
	Different int64         `json:"different"`  // entries whose values differ
	Ahead     int64         `json:"ahead"`      // copies that cover more than their changelog
}

// SkippedCopy is a copy that was not checked.
type SkippedCopy struct {
	Copy   string `json:"copy"` // PIPELINE/STAGE/PARTITION
	Reason string `json:"reason"`
}

func (r *CopyReport) clean() bool {
	return r.Missing == 0 && r.Extra == 0 && r.Different == 0 && r.Ahead == 0
}

func (r *CopyReport) skip(c localCopy, format string, args ...any) {
	r.Skipped = append(r.Skipped, SkippedCopy{c.String(), fmt.Sprintf(format, args...)})
}

// checkCopies compares each local copy with its changelog.
func (a *audit) checkCopies(ctx context.Context) error {
	if a.cfg.Copies.Dir == "" {
		return nil
	}
	all, err := findCopies(a.cfg.Copies.Dir, a.cfg.Copies.Pipeline)
	if err != nil {
		return err
	}
	a.report.Copies = &CopyReport{Dir: a.cfg.Copies.Dir, Skipped: []SkippedCopy{}}
	// A separate audit, so that the other checks don't wait for the ends of changelogs.
	own := &audit{cfg: a.cfg, client: a.client, admin: a.admin, report: a.report}
	for _, c := range all {
		if err := own.checkCopy(ctx, c); err != nil {
			return fmt.Errorf("check local copy %s: %w", c, err)
		}
	}
	return nil
}

func (a *audit) checkCopy(ctx context.Context, c localCopy) error {
	r := a.report.Copies
	cmp := &comparison{seed: maphash.MakeSeed(), entries: make(map[string]entry)}
	var err error
	if cmp.copy, err = readCopy(c.dir, cmp.stored); err != nil {
		r.skip(c, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return nil
	}
	log := c.changelog()
	found, err := a.admin.ListTopics(ctx, log.topic)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	topic := found[log.topic]
	if isMissing(topic.Err) {
		r.skip(c, "topic %s does not exist", log.topic)
		return nil
	}
	if topic.Err != nil {
		return fmt.Errorf("describe topic %s: %w", log.topic, topic.Err)
	}
	if _, ok := topic.Partitions[log.id]; !ok {
		r.skip(c, "topic %s has no partition %d", log.topic, log.id)
		return nil
	}
	if of := strings.Fields(cmp.copy.identity); len(of) != 3 || of[1] != topic.ID.String() {
		r.skip(c, "it belongs to %q, but topic %s has the id %s", cmp.copy.identity, log.topic, topic.ID)
		return nil
	}
	a.ids = map[string]kadm.TopicID{log.topic: topic.ID}
	return a.compareCopy(ctx, c, cmp)
}

// compareCopy compares a copy with its changelog. Records appended during the read are read in a
// second pass: if compaction removed a record before the first pass reached it, the second pass
// sees the newer record that replaced it.
func (a *audit) compareCopy(ctx context.Context, c localCopy, cmp *comparison) error {
	r, log := a.report.Copies, c.changelog()
	starts, err := a.list(ctx, "start", a.admin.ListStartOffsets, []string{log.topic})
	if err != nil {
		return err
	}
	ends, err := a.list(ctx, "end", a.admin.ListEndOffsets, []string{log.topic})
	if err != nil {
		return err
	}
	stable, err := a.list(ctx, "last stable", a.admin.ListCommittedOffsets, []string{log.topic})
	if err != nil {
		return err
	}
	switch at := cmp.copy.offset; {
	case ends[log] < at:
		r.Checked++
		r.Ahead++
		a.report.find("C9", "copy ahead of its changelog", "%s: it covers offsets below %d, but %s ends at %d", c, at, log, ends[log])
		return nil
	case stable[log] < at:
		r.skip(c, "an open transaction hides %s from offset %d on, and the copy covers offsets below %d", log, stable[log], at)
		return nil
	}
	if err := a.readChangelog(ctx, log, starts[log], stable[log], cmp); err != nil {
		return err
	}
	now, err := a.list(ctx, "last stable", a.admin.ListCommittedOffsets, []string{log.topic})
	if err != nil {
		return err
	}
	if err := a.readChangelog(ctx, log, stable[log], now[log], cmp); err != nil {
		return err
	}
	cut := starts[log] > 0 && !cmp.complete
	if cut {
		r.Cut++
	}
	kept, err := a.tombstonesKept(ctx, log.topic)
	if err != nil {
		return err
	}
	// A deletion after the copy's offset may have left no record, but only after tombstones have
	// expired.
	r.judge(a.report, c, cmp, !cut && (!cmp.newer || time.Since(cmp.copy.at) < kept))
	return nil
}

func (a *audit) readChangelog(ctx context.Context, log partition, from, to int64, cmp *comparison) error {
	r := reader{isolation: kgo.ReadCommitted(), maxPartitionBytes: 1 << 20, compacted: true, silent: true}
	return a.read(ctx, r, map[partition]int64{log: from}, map[partition]int64{log: to}, cmp.logged)
}

// tombstonesKept returns the minimum time for which compaction retains tombstones; 0 if unknown.
func (a *audit) tombstonesKept(ctx context.Context, topic string) (time.Duration, error) {
	described, err := a.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	for _, d := range described {
		for _, c := range d.Configs {
			if ms, err := strconv.ParseInt(c.MaybeValue(), 10, 64); c.Key == "delete.retention.ms" && err == nil {
				return time.Duration(min(ms, int64(1<<62)/int64(time.Millisecond))) * time.Millisecond, nil
			}
		}
	}
	return 0, nil
}

// comparison collects the entries of a copy and of its changelog, as digests of their values.
type comparison struct {
	seed     maphash.Seed
	copy     copyState
	entries  map[string]entry
	newer    bool // a record at or past the copy's offset was seen
	complete bool // the changelog's first record, which compaction keeps, was seen
}

type entry struct {
	stored, logged uint64
	has            uint8
}

const (
	inCopy  = 1 << iota
	inLog   // set before the copy's offset, and not deleted there
	named   // has any record in the changelog
	changed // has a record at or past the copy's offset
)

// headerKey is the key of the first record of each changelog: operator 0, window 0, "header".
const headerKey = "\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00header"

func (c *comparison) stored(key, value []byte) {
	e := c.entries[string(key)]
	e.stored, e.has = maphash.Bytes(c.seed, value), e.has|inCopy
	c.entries[string(key)] = e
}

func (c *comparison) logged(r *kgo.Record) {
	e := c.entries[string(r.Key)]
	e.has |= named
	c.complete = c.complete || string(r.Key) == headerKey
	switch {
	case r.Offset >= c.copy.offset:
		e.has |= changed
		c.newer = true
	case r.Value == nil:
		e.has &^= inLog
	default:
		e.logged, e.has = maphash.Bytes(c.seed, r.Value), e.has|inLog
	}
	c.entries[string(r.Key)] = e
}

// judge counts the differences. It skips keys that were written again after the copy's offset,
// because compaction may have removed their earlier value. Keys without any record in the changelog
// are judged only if unnamed is set.
func (r *CopyReport) judge(report *Report, c localCopy, cmp *comparison, unnamed bool) {
	r.Checked++
	for _, key := range slices.Sorted(maps.Keys(cmp.entries)) {
		e := cmp.entries[key]
		if e.has&changed != 0 || e.has&named == 0 && !unnamed {
			r.NotJudged++
			continue
		}
		r.Entries++
		switch has := e.has & (inCopy | inLog); {
		case has == inLog:
			r.Missing++
			report.find("C9", "entry missing in the local copy", "%s: %s", c, nameOf(key))
		case has == inCopy:
			r.Extra++
			report.find("C9", "entry not in the changelog", "%s: %s", c, nameOf(key))
		case has == inCopy|inLog && e.stored != e.logged:
			r.Different++
			report.find("C9", "entry differs from the changelog", "%s: %s", c, nameOf(key))
		}
	}
}

// nameOf formats the key of a changelog record: two bytes of operator, eight of window with the
// sign bit flipped, then the key.
func nameOf(b string) string {
	const prefix = 10
	if len(b) < prefix {
		return fmt.Sprintf("malformed key %x", b)
	}
	op := binary.BigEndian.Uint16([]byte(b[:2]))
	window := int64(binary.BigEndian.Uint64([]byte(b[2:prefix])) ^ 1<<63)
	key := b[prefix:]
	if !utf8.ValidString(key) || strings.ContainsFunc(key, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return fmt.Sprintf("operator %d, window %d, key 0x%x", op, window, key)
	}
	return fmt.Sprintf("operator %d, window %d, key %q", op, window, key)
}

// copies returns C9.
func (r *Report) copies() Check {
	c := Check{"C9", "local copies of state equal their changelogs", NotChecked, "no directory of local copies is set (--state-dir)"}
	x := r.Copies
	if x == nil {
		return c
	}
	if x.Checked+len(x.Skipped) == 0 {
		c.Detail = "no local copies in " + x.Dir
		return c
	}
	if x.Checked > 0 {
		c.Verdict = verdict(x.Missing, x.Extra, x.Different, x.Ahead)
	}
	c.Detail = fmt.Sprintf("%d entries of %d copies: %d missing, %d extra, %d different", x.Entries, x.Checked, x.Missing, x.Extra, x.Different)
	if x.Ahead > 0 {
		c.Detail += fmt.Sprintf("; %d copies ahead of their changelogs", x.Ahead)
	}
	if x.Cut > 0 {
		c.Detail += fmt.Sprintf("; the changelogs of %d copies have lost their beginning", x.Cut)
	}
	if x.NotJudged > 0 {
		c.Detail += fmt.Sprintf("; %d entries changed after the copy, or lost from the changelog, are not checked", x.NotJudged)
	}
	reasons := make(map[string][]string)
	for _, s := range x.Skipped {
		reasons[s.Reason] = append(reasons[s.Reason], s.Copy)
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		names := reasons[reason]
		c.Detail += fmt.Sprintf("; not checked: %s (%d copies: %s", reason, len(names), strings.Join(names[:min(3, len(names))], ", "))
		if len(names) > 3 {
			c.Detail += ", …"
		}
		c.Detail += ")"
	}
	if c.Verdict == OK && (x.NotJudged > 0 || x.Cut > 0 || len(x.Skipped) > 0) {
		c.Verdict = Partly
	}
	return c
}
