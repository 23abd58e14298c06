package plan

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// Settings holds the values of SET.
type Settings struct {
	DeadLetterTopic string // default <name>.dlq
	LateTopic       string // default <name>.late
	IdleTimeout     time.Duration
	MaxAhead        time.Duration // rows further ahead of the transaction's time don't advance the watermark; 0 is no limit
	StateTTL        time.Duration // table.exec.state.ttl; 0 keeps state forever
	EarlyFire       bool          // table.exec.emit.early-fire.enabled; see planner.checkEmit
	LateFire        bool          // table.exec.emit.late-fire.enabled
	AnyPartition    bool          // weir.key-partitioning is any: equal keys may be in different partitions
	Sink            SinkSettings
}

// SinkSettings defines how an INSERT treats values that its table's columns do not allow
// (table.exec.sink.*).
type SinkSettings struct {
	DropNulls bool       // drop and count rows with NULL in a NOT NULL column; otherwise they become dead letters
	Lengths   LengthMode // for values of CHAR(n), VARCHAR(n), BINARY(n) and VARBINARY(n) of other lengths
}

// LengthMode is a value of table.exec.sink.type-length-enforcer. It applies to values that an
// INSERT writes without a cast, such as those of a source, which are not truncated to the length
// that the source's table declares.
type LengthMode string

// Modes of the length enforcer.
const (
	LengthIgnore LengthMode = ""         // write values unchanged
	LengthTrim   LengthMode = "TRIM_PAD" // truncate, and pad CHAR and BINARY
	LengthError  LengthMode = "ERROR"    // the row is a dead letter
)

// ignoredSettings are prefixes of Flink's settings that affect how a file runs, but not its rows.
var ignoredSettings = []string{
	"execution.", "parallelism.", "state.", "restart-strategy.", "taskmanager.", "jobmanager.", "sql-client.", "table.exec.mini-batch.",
	"table.exec.resource.", "table.exec.state.", "table.optimizer.", "table.dml-sync", "pipeline.max-parallelism", "pipeline.object-reuse",
	"pipeline.auto-watermark-interval", "table.exec.async-lookup.", "table.exec.sink.keyed-shuffle", "table.exec.sink.rowtime-inserter", "rest.", "metrics.", "web.", "pipeline.jars",
}

var settings = []string{
	"pipeline.name", stateTTL, "table.local-time-zone", "table.exec.source.idle-timeout", "execution.runtime-mode", deadLetterTopic, keyPartitioning, lateTopic, maxAhead,
	"table.exec.sink.not-null-enforcer", "table.exec.sink.type-length-enforcer",
}

// deadLetterTopic and lateTopic are the settings that name the topics of dead letters and late
// rows.
const (
	deadLetterTopic = "weir.dead-letter.topic"
	lateTopic       = "weir.late.topic"
)

// earlyFire and lateFire are the settings by which Flink's legacy group windows, GROUP BY
// TUMBLE(ts, …), emit results before their end, or again for late rows.
const (
	earlyFire = "table.exec.emit.early-fire.enabled"
	lateFire  = "table.exec.emit.late-fire.enabled"
)

// maxAhead is the setting that keeps rows from the future from advancing the watermark.
const maxAhead = "weir.watermark.max-ahead"

func (p *planner) set(s *sql.Set) error {
	bad := func(hint string) error {
		return sql.Errorf(s, "invalid value '%s' for '%s'", s.Value, s.Key).WithHint("%s", hint)
	}
	p.sets[s.Key] = s
	switch s.Key {
	case "pipeline.name":
		if err := errors.Join(CheckName(s.Value), CheckGroup(s.Value)); err != nil {
			return sql.Errorf(s, "%s", err)
		}
		p.program.Name = s.Value
	case "table.local-time-zone":
		zone, err := expr.ParseZone(s.Value)
		if err != nil {
			return bad(err.Error())
		}
		p.program.Zone = zone
		if _, err := time.LoadLocation(s.Value); err != nil && !strings.HasPrefix(s.Value, "GMT") {
			p.differ(s, "time-zones", "Flink rejects the zone '%s': it requires a name such as Europe/Berlin, or GMT+08:00", s.Value)
		}
	case "table.exec.source.idle-timeout":
		d, err := ParseDuration(s.Value)
		if err != nil {
			return bad("write a duration such as 30 s or 5 min")
		}
		p.program.Settings.IdleTimeout = d
	case "execution.runtime-mode":
		if !strings.EqualFold(s.Value, "streaming") {
			return bad("only streaming is supported; a bounded run (scan.bounded.mode) finishes on its own")
		}
	case stateTTL:
		d, err := parseTTL(s.Value)
		if err != nil {
			return bad(err.Error())
		}
		p.program.Settings.StateTTL = d
	case maxAhead:
		d, err := ParseDuration(s.Value)
		if err != nil || d <= 0 {
			return bad("write a duration such as 1 h")
		}
		p.program.Settings.MaxAhead = d
		p.differ(s, "max-ahead", "a row whose time is more than %s after the transaction's does not move the watermark; Flink ignores the setting, and each later row of its partition is late", s.Value)
	case deadLetterTopic:
		p.program.Settings.DeadLetterTopic = s.Value
	case lateTopic:
		p.program.Settings.LateTopic = s.Value
	case keyPartitioning: // already applied
	case "table.exec.sink.upsert-materialize":
		if !slices.Contains([]string{"NONE", "AUTO"}, strings.ToUpper(s.Value)) {
			return bad("write NONE or AUTO")
		}
	case "table.exec.sink.not-null-enforcer":
		mode := strings.ToUpper(s.Value)
		if mode != "ERROR" && mode != "DROP" {
			return bad("write ERROR or DROP")
		}
		p.program.Settings.Sink.DropNulls = mode == "DROP"
	case "table.exec.sink.type-length-enforcer":
		switch mode := strings.ToUpper(s.Value); mode {
		case "IGNORE":
			p.program.Settings.Sink.Lengths = LengthIgnore
		case "TRIM_PAD", "ERROR":
			p.program.Settings.Sink.Lengths = LengthMode(mode)
		default:
			return bad("write IGNORE, TRIM_PAD or ERROR")
		}
	case earlyFire, lateFire:
		on, err := strconv.ParseBool(strings.ToLower(s.Value))
		if err != nil {
			return bad("write true or false")
		}
		if s.Key == earlyFire {
			p.program.Settings.EarlyFire = on
		} else {
			p.program.Settings.LateFire = on
		}
	case "table.exec.emit.early-fire.delay", "table.exec.emit.late-fire.delay", "table.exec.emit.allow-lateness":
		if _, err := ParseDuration(s.Value); err != nil {
			return bad("write a duration such as 1 min")
		}
	case "table.exec.sink.nested-constraint-enforcer":
		if !strings.EqualFold(s.Value, "IGNORE") {
			return bad("only IGNORE is supported; the other enforcers check columns, but not the contents of ROW, ARRAY and MAP")
		}
	default:
		for _, prefix := range ignoredSettings {
			if strings.HasPrefix(s.Key, prefix) {
				return nil
			}
		}
		return sql.Errorf(s, "setting '%s' is not supported", s.Key).WithHint("%s", orElse(suggest.DidYouMean(s.Key, settings), "use one of "+strings.Join(settings, ", ")))
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

var durationText = regexp.MustCompile(`^\s*(\d+)\s*([a-zA-Zµ]*)\s*$`)

// durationUnits are the units of Flink's TimeUtils.
var durationUnits = map[string]time.Duration{
	"": time.Millisecond, "ms": time.Millisecond, "milli": time.Millisecond, "millis": time.Millisecond, "millisecond": time.Millisecond, "milliseconds": time.Millisecond,
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"us": time.Microsecond, "µs": time.Microsecond, "micro": time.Microsecond, "micros": time.Microsecond, "microsecond": time.Microsecond, "microseconds": time.Microsecond,
	"ns": time.Nanosecond, "nano": time.Nanosecond, "nanos": time.Nanosecond, "nanosecond": time.Nanosecond, "nanoseconds": time.Nanosecond,
}

// ParseDuration parses a duration in the form of Flink's options: an integer and a unit, which
// defaults to milliseconds.
func ParseDuration(s string) (time.Duration, error) {
	m := durationText.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("invalid duration %q", s)
	}
	unit, ok := durationUnits[strings.ToLower(m[2])]
	if !ok {
		return 0, fmt.Errorf("invalid duration %q: unknown unit", s)
	}
	var n int64
	if _, err := fmt.Sscan(m[1], &n); err != nil {
		return 0, err
	}
	return time.Duration(n) * unit, nil
}
