// Package audit checks exactly-once independently: it reads the topics and reports which readings
// are lost, duplicated, partially committed or out of order, and whether the results of the
// transactional consumer follow from its input.
//
// It shares no code with what it checks, except for the connection to a broker: it has its own
// decoder, arithmetic and read loop, so that a bug can't hide on both sides.
//
// # Why a running flow raises no false alarms
//
// The flow continues while Verify reads, so correctness depends on the order of its snapshots:
//
//  1. the acknowledgement logs: everything acknowledged there is below every later high watermark;
//  2. the group's committed offsets C0, then the high watermarks of all topics. A committed offset
//     can become visible before the transaction's markers are in device_stats (markers are written
//     partition by partition, KIP-98), but its records are in the log by then. So Verify waits
//     until the last stable offsets have reached those high watermarks; then every result that C0
//     covers can be read;
//  3. device_stats to that point, and once more from there to its new end: compaction may remove a
//     key's older record only after a newer one exists, and that one is below the new end;
//  4. the dead letters, as far as they go by then, then the committed offsets C1, polled until they
//     cover every result that was seen: a result that stays ahead of them was not committed
//     together with them;
//  5. the readings up to a high watermark taken last, so that every record a result refers to is
//     included;
//  6. records appended since, only to complete the marked transactions that end after 5.
//
// The results of windows, their late rows and their dead letters are read like the dead letters,
// with the C0 of their own group. Window results contain no offset: which rows they need is known
// only after 5, so their C1 is polled then (window_rows.go).
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"weir.example/weir/internal/broker"
)

// Config selects what Verify checks.
type Config struct {
	Broker broker.Config

	// Topic holds the readings; default sensor_data_tx. With any other topic, the defaults of the
	// names below start with that topic and a dot.
	Topic string

	StatsTopic string // results per device and sensor, compacted; default device_stats or TOPIC.device_stats
	DLQTopic   string // dead letters; default sensor_data_dlq or TOPIC.dlq
	Group      string // consumer group whose offsets go with the results; default weir-device-stats or weir-TOPIC.device-stats

	// Acks are newline-delimited JSON files that the producer wrote after each transaction:
	// {"outcome":"acked|refused|unknown","device":"d","boot":"b","from":0,"to":9}, where both
	// bounds are inclusive. Default none: then only gaps in seq count as lost.
	Acks []string

	// Registry has the schemas of readings that carry a schema id. Default none: readings are JSON.
	Registry *sr.Client

	// Windows describes a windowed pipeline to check. Default none.
	Windows WindowConfig

	// Copies selects local copies of pipeline state to check. Default none.
	Copies CopyConfig

	// Databases are the tables of databases to compare with their topics. They are checked even if
	// the topic of readings does not exist. Default none.
	Databases []DatabaseConfig

	// Wait is how long an open transaction may block readers, and results may be ahead of the
	// group's offsets, before that counts as a fault. Default 60 s.
	Wait time.Duration

	// Progress, if set, is called from time to time with the number of offsets read and their
	// total. It is called by one goroutine at a time and must return immediately.
	Progress func(done, total int64)

	isolation [2]kgo.IsolationLevel // of the two readers; tests set read_uncommitted
	loose     bool                  // use isolation instead of read_committed
	stall     time.Duration         // longest time without progress before a read fails; default 30 s
}

const defaultTopic = "sensor_data_tx"

func (c *Config) applyDefaults() {
	stats, letters, group := "device_stats", "sensor_data_dlq", "weir-device-stats"
	if c.Topic != "" && c.Topic != defaultTopic {
		stats, letters, group = c.Topic+".device_stats", c.Topic+".dlq", "weir-"+c.Topic+".device-stats"
	}
	c.Topic = cmp.Or(c.Topic, defaultTopic)
	c.StatsTopic = cmp.Or(c.StatsTopic, stats)
	c.DLQTopic = cmp.Or(c.DLQTopic, letters)
	c.Group = cmp.Or(c.Group, group)
	c.Windows.applyDefaults()
	if c.Wait <= 0 {
		c.Wait = time.Minute
	}
	if c.stall <= 0 {
		c.stall = 30 * time.Second
	}
	if !c.loose {
		c.isolation = [2]kgo.IsolationLevel{kgo.ReadCommitted(), kgo.ReadCommitted()}
	}
}

// audit is the state of one Verify call.
type audit struct {
	cfg    Config
	client *kgo.Client
	admin  *kadm.Client
	report *Report
	ids    map[string]kadm.TopicID // of the topics that exist

	blocked   map[partition]bool // partitions whose last stable offset stayed behind for Wait
	holders   map[int64]bool     // producer ids of the open transactions that block them
	unnamed   int                // blocked partitions whose producer is unknown
	committed map[int32]int64    // C0 of the package comment; nil if the group has no offsets
	progress  progress

	windowCommitted map[int32]int64 // likewise, for the group of the windows
	deleted         map[string]int  // number of partitions whose beginning has been deleted, by topic of the windows
}

// Verify checks C1 to C10 of the exactly-once contract on a topic and on the results
// computed from it, even while the flow is running. A report that is not Clean is not an error:
// errors are a missing topic, an unreachable broker (*broker.UnreachableError), an unreadable
// acknowledgement log, or a partition that could not be read to its end.
func Verify(ctx context.Context, c Config) (*Report, error) {
	c.applyDefaults()
	if err := c.Windows.Validate(); err != nil {
		return nil, err
	}
	acks, err := readAcks(c.Acks)
	if err != nil {
		return nil, err
	}
	client, err := broker.Connect(ctx, c.Broker)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	a := &audit{
		cfg: c, client: client, admin: kadm.NewClient(client),
		report:   &Report{Topic: c.Topic, hasAcks: len(c.Acks) > 0},
		blocked:  make(map[partition]bool),
		holders:  make(map[int64]bool),
		progress: progress{report: c.Progress},
	}
	if err := a.run(ctx, acks); err != nil {
		return nil, fmt.Errorf("verify %s: %w", c.Topic, err)
	}
	return a.report, nil
}

func (a *audit) run(ctx context.Context, acks *acknowledgements) error {
	if err := a.findTopics(ctx); err != nil {
		if missing := (*MissingTopicError)(nil); (a.cfg.Copies.Alone || len(a.cfg.Databases) > 0) && errors.As(err, &missing) && missing.Topic == a.cfg.Topic && a.cfg.Windows.Topic == "" {
			return a.withoutReadings(ctx)
		}
		return err
	}
	var err error
	if a.committed, err = a.committedOffsets(ctx, a.cfg.Group); err != nil {
		return err
	}
	if a.cfg.Windows.Topic != "" {
		if a.windowCommitted, err = a.committedOffsets(ctx, a.cfg.Windows.Group); err != nil {
			return err
		}
	}
	first, err := a.settled(ctx, a.topics()...)
	if err != nil {
		return err
	}
	a.progress.expect(first)

	stats, err := a.readStats(ctx, first)
	if err != nil {
		return err
	}
	letters, err := a.readDeadLetters(ctx)
	if err != nil {
		return err
	}
	windows, err := a.readWindows(ctx, first)
	if err != nil {
		return err
	}
	if a.committed != nil {
		if err := a.checkNotAhead(ctx, a.cfg.Group, stats, letters); err != nil {
			return err
		}
	}
	log, err := a.settled(ctx, a.cfg.Topic)
	if err != nil {
		return err
	}
	in := a.newInput(ctx, log, stats, letters, windows)
	if err := a.readInput(ctx, in, log); err != nil {
		return err
	}
	if in.failed != nil {
		return in.failed
	}
	if err := a.completeTransactions(ctx, in, log); err != nil {
		return err
	}
	if windows != nil && a.windowCommitted != nil {
		if err := a.checkNotAhead(ctx, a.cfg.Windows.Group, windows); err != nil {
			return err
		}
	}
	if err := a.findUnread(ctx); err != nil {
		return err
	}
	if err := a.checkCopies(ctx); err != nil {
		return err
	}
	if err := a.checkDatabases(ctx); err != nil {
		return err
	}
	in.finish(acks, a.blockedOf(a.cfg.Topic))
	a.report.conclude(a)
	return nil
}

// withoutReadings checks local copies and databases if there are no readings.
func (a *audit) withoutReadings(ctx context.Context) error {
	if err := a.checkCopies(ctx); err != nil {
		return err
	}
	if err := a.checkDatabases(ctx); err != nil {
		return err
	}
	r := a.report
	if r.Findings == nil {
		r.Findings = []Finding{} // [] in JSON, not null
	}
	r.Checks = []Check{
		{"C1", "every reading exists exactly once", NotChecked, fmt.Sprintf("topic %s does not exist; C2 to C6, C8 and C10 are not checked either", a.cfg.Topic)},
		r.databases(),
		r.copies(),
	}
	return nil
}

// topics returns the existing topics to check.
func (a *audit) topics() []string {
	return slices.Sorted(maps.Keys(a.ids))
}

// findTopics looks up the topics. The topics of the readings and, if configured, of the windows
// must exist.
func (a *audit) findTopics(ctx context.Context) error {
	names := []string{a.cfg.Topic, a.cfg.StatsTopic, a.cfg.DLQTopic}
	if w := a.cfg.Windows; w.Topic != "" {
		for _, t := range []string{w.Topic, w.Late, w.DLQ} {
			if t != "" && !slices.Contains(names, t) {
				names = append(names, t)
			}
		}
	}
	found, err := a.admin.ListTopics(ctx, names...)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	a.ids = make(map[string]kadm.TopicID)
	for name, t := range found {
		if t.Err == nil {
			a.ids[name] = t.ID
			continue
		}
		if !isMissing(t.Err) {
			return fmt.Errorf("describe topic %s: %w", name, t.Err)
		}
	}
	if _, ok := a.ids[a.cfg.Topic]; !ok {
		return &MissingTopicError{Topic: a.cfg.Topic}
	}
	if _, ok := a.ids[a.cfg.Windows.Topic]; !ok && a.cfg.Windows.Topic != "" {
		return &MissingTopicError{Topic: a.cfg.Windows.Topic}
	}
	_, a.report.hasStats = a.ids[a.cfg.StatsTopic]
	_, a.report.hasDeadLetters = a.ids[a.cfg.DLQTopic]
	a.report.Partitions = len(found[a.cfg.Topic].Partitions)
	return nil
}

// MissingTopicError is returned if a topic to check does not exist.
type MissingTopicError struct{ Topic string }

// Error names the topic and what to do.
func (e *MissingTopicError) Error() string {
	return fmt.Sprintf("topic %q does not exist: check the name and the brokers, or create it first", e.Topic)
}

// readInput reads the topic of the readings with two independent clients (C6): the first one's
// records go through every check, the second one's only into a digest.
func (a *audit) readInput(ctx context.Context, in *input, log *span) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	second := newDigests(in.digests.seed)
	failed := make(chan error, 1)
	go func() {
		r := reader{isolation: a.cfg.isolation[1], maxPartitionBytes: 64 << 10, silent: true}
		err := a.read(ctx, r, log.from, log.to, second.add)
		if err != nil {
			cancel()
		}
		failed <- err
	}()
	r := reader{isolation: a.cfg.isolation[0], maxPartitionBytes: 1 << 20}
	err := a.read(ctx, r, log.from, log.to, in.record)
	if err != nil {
		cancel()
	}
	other := <-failed
	if err == nil || errors.Is(err, context.Canceled) && other != nil {
		err = other // report the failure that occurred first
	}
	if err != nil {
		return err
	}
	a.report.compareReaders(in.digests, second, log)
	return nil
}

// completeTransactions reads what was appended to the topic in the meantime, to complete the marked
// transactions that began before the end of the first read. All of their records are below the
// current high watermark, since some of them were visible before.
func (a *audit) completeTransactions(ctx context.Context, in *input, log *span) error {
	if len(in.marks.open) == 0 {
		return nil
	}
	now, err := a.settled(ctx, a.cfg.Topic)
	if err != nil {
		return err
	}
	r := reader{isolation: a.cfg.isolation[0], maxPartitionBytes: 1 << 20, silent: true}
	return a.read(ctx, r, log.to, now.to, in.marks.complete)
}
