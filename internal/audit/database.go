package audit

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

// DatabaseConfig is a table of a PostgreSQL or SQLite database, or of files in a directory, to
// which rows of a topic are delivered (C7). One of Connect, File and Files is set.
type DatabaseConfig struct {
	Sink    string          // in weir_offsets, or the state of the files
	Topic   string          // of the rows
	DLQ     string          // of the rows that the target refused
	Connect *pgx.ConnConfig // how to connect to PostgreSQL
	File    string          // of SQLite
	Files   *FilesConfig    // the directory
	Table   string          // as SQL; of SQLite and of files, its name
	Columns []DatabaseColumn
	Key     []int // of Columns; none for a table whose rows are appended
}

// DatabaseColumn is a column of a table.
type DatabaseColumn struct {
	Field string // in the topic
	Type  ValueType
}

// DatabaseReport is the result of comparing tables with their topics.
type DatabaseReport struct {
	Tables    int   `json:"tables"`
	Files     int64 `json:"files,omitempty"` // of the tables that are files
	Rows      int64 `json:"rows"`            // in the tables
	Records   int64 `json:"records"`         // of the topics that are delivered
	Waiting   int64 `json:"waiting"`         // offsets that are not delivered yet
	Refused   int64 `json:"refused"`         // dead letters
	NotJudged int64 `json:"not_judged"`      // rows of which nothing is known: refused, or older than the topic
	Lost      int64 `json:"lost"`            // rows that the table lacks
	Surplus   int64 `json:"surplus"`         // rows, or copies of rows, that the topic does not have
	Different int64 `json:"different"`       // rows of a key that are not its last version
	Offsets   int64 `json:"offsets"`         // positions that the topic does not have
	BadFiles  int64 `json:"bad_files"`       // files that can't be read, or don't belong to the table
}

func (r *DatabaseReport) clean() bool {
	return r.Lost == 0 && r.Surplus == 0 && r.Different == 0 && r.Offsets == 0 && r.BadFiles == 0
}

// checkDatabases compares each table with its topic. Rows and positions of a table are read in one
// snapshot of its target, and the topic up to these positions, so a sink may run meanwhile.
func (a *audit) checkDatabases(ctx context.Context) error {
	if len(a.cfg.Databases) == 0 {
		return nil
	}
	a.report.Databases = &DatabaseReport{}
	for _, d := range a.cfg.Databases {
		c := &databaseCheck{audit: a, cfg: d, report: a.report.Databases, refused: make(map[partition]map[int64]bool)}
		if err := c.run(ctx); err != nil {
			return fmt.Errorf("compare table %s with topic %s: %w", d.Table, d.Topic, err)
		}
	}
	return nil
}

// snapshot is a database, or a directory of files, as of one moment.
type snapshot interface {
	// positions calls fn with the position of each partition of a sink, and its topic's id.
	positions(ctx context.Context, sink string, fn func(part int32, next int64, topicID string)) error
	// rows calls fn with each row of a table as a JSON object, written as side says.
	rows(ctx context.Context, of DatabaseConfig, fn func(text string, in rowPlace) error) error
	side() side
	close(ctx context.Context)
}

// rowPlace is where a snapshot has a row. It is zero in a database.
type rowPlace struct {
	of   string // the row can only be one of the topic's rows that belong here
	old  bool   // the row may be from before the topic's first offset
	file string
}

func (c *databaseCheck) open(ctx context.Context) (snapshot, error) {
	switch {
	case c.cfg.Files != nil:
		return c.openFiles(ctx)
	case c.cfg.Connect == nil:
		return openSQLite(ctx, c.cfg.File)
	}
	return openPostgres(ctx, c.cfg.Connect)
}

// rowDigest identifies a row by the canonical text of its values.
type rowDigest [16]byte

func rowDigestOf(text string) rowDigest {
	sum := sha256.Sum256([]byte(text))
	return rowDigest(sum[:16])
}

type databaseCheck struct {
	*audit
	cfg     DatabaseConfig
	report  *DatabaseReport
	refused map[partition]map[int64]bool // offsets of dead letters
	starts  map[int32]int64              // first offsets of the topic
	cut     bool                         // the topic has lost its beginning, and rows do not say whether they are of it

	appended map[rowDigest]int   // rows of the topic less those of the table
	last     map[string]*version // by key
	example  map[rowDigest]string
}

// version is the last version of a key.
type version struct {
	row     rowDigest
	deleted bool
	unknown bool // it was refused
	seen    bool // in the table
	at      string
}

func (c *databaseCheck) run(ctx context.Context) error {
	c.report.Tables++
	c.appended, c.last, c.example = make(map[rowDigest]int), make(map[string]*version), make(map[rowDigest]string)
	topics, err := c.admin.ListTopics(ctx, c.cfg.Topic)
	if err != nil {
		return err
	}
	if err := topics[c.cfg.Topic].Err; err != nil {
		if isMissing(err) {
			return &MissingTopicError{Topic: c.cfg.Topic}
		}
		return err
	}
	ends, err := c.settled(ctx, c.cfg.Topic)
	if err != nil {
		return err
	}
	database, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer database.close(context.WithoutCancel(ctx))
	next, err := c.positions(ctx, database, topics[c.cfg.Topic].ID.String())
	if err != nil {
		return err
	}
	if ends, err = c.settledAfter(ctx, ends, next); err != nil {
		return err
	}
	from, to := c.bound(ends, next)
	if err := c.readRefused(ctx); err != nil {
		return err
	}
	var failed error
	err = c.read(ctx, reader{isolation: c.audit.cfg.isolation[0], maxPartitionBytes: 1 << 20, silent: true}, from, to, func(r *kgo.Record) {
		if failed == nil {
			failed = c.expect(r)
		}
	})
	if err != nil || failed != nil {
		return firstOf(err, failed)
	}
	if err := c.compare(ctx, database); err != nil {
		return err
	}
	c.conclude()
	return nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// positions reads up to where each partition is delivered.
func (c *databaseCheck) positions(ctx context.Context, from snapshot, topicID string) (map[int32]int64, error) {
	next := make(map[int32]int64)
	err := from.positions(ctx, c.cfg.Sink, func(part int32, at int64, id string) {
		if id != topicID {
			c.report.Offsets++
			c.audit.report.find("C7", "offsets of another topic", "sink %s, partition %d: topic id %s, and %s has the id %s", c.cfg.Sink, part, id, c.cfg.Topic, topicID)
		}
		next[part] = at
	})
	return next, err
}

// settledAfter returns the bounds of the topic once more if rows beyond the first ones are
// delivered.
func (c *databaseCheck) settledAfter(ctx context.Context, ends *span, next map[int32]int64) (*span, error) {
	for p, end := range ends.to {
		if next[p.id] > end {
			return c.settled(ctx, c.cfg.Topic)
		}
	}
	return ends, nil
}

// bound returns the range of the topic that is delivered.
func (c *databaseCheck) bound(ends *span, next map[int32]int64) (from, to map[partition]int64) {
	from, to, c.starts = make(map[partition]int64), make(map[partition]int64), make(map[int32]int64)
	for p, end := range ends.to {
		start := ends.from[p]
		c.starts[p.id] = start
		c.cut = c.cut || start > 0 && c.cfg.Files == nil
		at := next[p.id]
		if at > end {
			c.report.Offsets++
			c.audit.report.find("C7", "offset beyond the topic", "sink %s, partition %d: offset %d, and the topic ends at %d", c.cfg.Sink, p.id, at, end)
			at = end
		}
		c.report.Waiting += max(0, end-max(at, start))
		if at < start {
			c.report.Offsets++
			c.audit.report.find("C7", "rows deleted before delivery", "partition %d: offsets %d to %d", p.id, at, start-1)
			continue
		}
		from[p], to[p] = start, at
	}
	return from, to
}

// readRefused reads which records of the topic became dead letters.
func (c *databaseCheck) readRefused(ctx context.Context) error {
	topics, err := c.admin.ListTopics(ctx, c.cfg.DLQ)
	if err != nil || topics[c.cfg.DLQ].Err != nil {
		return err // without the topic there are none
	}
	letters, err := c.settled(ctx, c.cfg.DLQ)
	if err != nil {
		return err
	}
	return c.read(ctx, reader{isolation: c.audit.cfg.isolation[0], maxPartitionBytes: 1 << 20, silent: true}, letters.from, letters.to, func(r *kgo.Record) {
		head := make(map[string]string)
		for _, h := range r.Headers {
			head[h.Key] = string(h.Value)
		}
		id, err := strconv.ParseInt(head[headerDLQPartition], 10, 32)
		offset, err2 := strconv.ParseInt(head[headerDLQOffset], 10, 64)
		if head[headerDLQTopic] != c.cfg.Topic || err != nil || err2 != nil {
			return
		}
		p := partition{c.cfg.Topic, int32(id)}
		if c.refused[p] == nil {
			c.refused[p] = make(map[int64]bool)
		}
		if !c.refused[p][offset] {
			c.refused[p][offset] = true
			c.report.Refused++
		}
	})
}

// expect notes what the table should hold because of a record.
func (c *databaseCheck) expect(r *kgo.Record) error {
	c.report.Records++
	at := fmt.Sprintf("partition %d, offset %d", r.Partition, r.Offset)
	refused := c.refused[partition{r.Topic, r.Partition}][r.Offset]
	if len(c.cfg.Key) > 0 {
		key, err := c.canonical(r.Key, c.cfg.Key, ofTopic)
		if err != nil {
			return fmt.Errorf("%s: key: %w", at, err)
		}
		v := &version{deleted: r.Value == nil, unknown: refused, at: at}
		if !v.deleted && !refused {
			text, err := c.canonical(r.Value, nil, ofTopic)
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			v.row = rowDigestOf(text)
		}
		c.last[key] = v
		return nil
	}
	if refused {
		return nil
	}
	text, err := c.canonical(r.Value, nil, ofTopic)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if c.cfg.Files != nil {
		text = partitionPlace(r.Partition) + text
	}
	c.count(text, 1, at)
	return nil
}

// count adds n occurrences of a row that is appended.
func (c *databaseCheck) count(text string, n int, at string) {
	d := rowDigestOf(text)
	c.appended[d] += n
	if c.appended[d] == 0 {
		delete(c.appended, d)
		delete(c.example, d)
		return
	}
	c.example[d] = at
}

// canonical returns the canonical text of the values of a JSON object: of all columns, or of some.
func (c *databaseCheck) canonical(data []byte, columns []int, side side) (string, error) {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	var fields map[string]any
	if err := d.Decode(&fields); err != nil {
		return "", fmt.Errorf("read %.100q: %w", data, err)
	}
	var b strings.Builder
	for i, col := range c.cfg.Columns {
		if columns != nil && !slices.Contains(columns, i) {
			continue
		}
		v, ok := fields[col.Field]
		if !ok {
			return "", fmt.Errorf("no field %s in %.100q", col.Field, data)
		}
		text, err := col.Type.canonical(v, side)
		if err != nil {
			return "", fmt.Errorf("field %s: %w", col.Field, err)
		}
		fmt.Fprintf(&b, "%d:%s,", len(text), text)
	}
	return b.String(), nil
}

// compare reads the table.
func (c *databaseCheck) compare(ctx context.Context, from snapshot) error {
	return from.rows(ctx, c.cfg, func(text string, in rowPlace) error {
		row, err := c.canonical([]byte(text), nil, from.side())
		if err != nil {
			return err
		}
		c.report.Rows++
		if len(c.cfg.Key) == 0 {
			c.compareAppended(in, row, text)
			return nil
		}
		key, err := c.canonical([]byte(text), c.cfg.Key, from.side())
		if err != nil {
			return err
		}
		c.compareKey(key, row, text)
		return nil
	})
}

func (c *databaseCheck) compareAppended(in rowPlace, row, text string) {
	row = in.of + row
	if in.old && c.appended[rowDigestOf(row)] <= 0 {
		c.report.NotJudged++
		return
	}
	if in.file != "" {
		text = in.file + ": " + text
	}
	c.count(row, -1, text)
}

func (c *databaseCheck) compareKey(key, row, text string) {
	v := c.last[key]
	switch {
	case v == nil && c.cut:
		c.report.NotJudged++
	case v == nil:
		c.report.Surplus++
		c.audit.report.find("C7", "surplus row", "%s: %.200s is not in topic %s", c.cfg.Table, text, c.cfg.Topic)
	case v.seen:
		c.report.Surplus++
		c.audit.report.find("C7", "surplus row", "%s has two rows of the key of %.200s", c.cfg.Table, text)
	case v.unknown:
		c.report.NotJudged++
	case v.deleted:
		c.report.Surplus++
		c.audit.report.find("C7", "deleted row", "%s: %.200s was deleted at %s", c.cfg.Table, text, v.at)
	case v.row != rowDigestOf(row):
		c.report.Different++
		c.audit.report.find("C7", "different row", "%s: %.200s is not the version of %s", c.cfg.Table, text, v.at)
	}
	if v != nil {
		v.seen = true
	}
}

// conclude counts what is left.
func (c *databaseCheck) conclude() {
	for _, key := range slices.Sorted(maps.Keys(c.last)) {
		if v := c.last[key]; !v.seen && !v.deleted && !v.unknown {
			c.report.Lost++
			c.audit.report.find("C7", "lost row", "%s lacks the row of %s", c.cfg.Table, v.at)
		}
	}
	for _, d := range slices.SortedFunc(maps.Keys(c.appended), func(a, b rowDigest) int { return strings.Compare(c.example[a], c.example[b]) }) {
		switch n := c.appended[d]; {
		case n > 0:
			c.report.Lost += int64(n)
			c.audit.report.find("C7", "lost row", "%s lacks the row of %s", c.cfg.Table, c.example[d])
		case c.cut:
			c.report.NotJudged -= int64(n)
		default:
			c.report.Surplus -= int64(n)
			c.audit.report.find("C7", "surplus row", "%s: %.300s is there %d times too often", c.cfg.Table, c.example[d], -n)
		}
	}
}

// databases returns C7.
func (r *Report) databases() Check {
	c := Check{"C7", "delivered rows equal the topic's", NotChecked, "no tables of databases or files are configured (--sinks)"}
	d := r.Databases
	if d == nil {
		return c
	}
	c.Verdict = verdict(d.Lost, d.Surplus, d.Different, d.Offsets, d.BadFiles)
	c.Detail = fmt.Sprintf("%d rows of %d tables, from %d records: %d lost, %d surplus, %d different", d.Rows, d.Tables, d.Records, d.Lost, d.Surplus, d.Different)
	if d.Offsets > 0 {
		c.Detail += fmt.Sprintf(", %d wrong offsets", d.Offsets)
	}
	if d.BadFiles > 0 {
		c.Detail += fmt.Sprintf(", %d files are unreadable or do not belong", d.BadFiles)
	}
	if d.Waiting > 0 {
		c.Detail += fmt.Sprintf("; %d offsets are not delivered yet", d.Waiting)
	}
	if d.Refused > 0 {
		c.Detail += fmt.Sprintf("; %d rows were refused and are dead letters", d.Refused)
	}
	if d.NotJudged > 0 {
		c.Detail += fmt.Sprintf("; %d rows are not judged", d.NotJudged)
		if c.Verdict == OK {
			c.Verdict = Partly
		}
	}
	return c
}
