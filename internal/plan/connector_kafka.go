package plan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// kafka is the connector kafka, whose rows are appended, or with upsert the connector upsert-kafka,
// whose rows replace each other by the record's key.
type kafka struct{ upsert bool }

// Kafka is the topic of a table.
type Kafka struct {
	Topic      string
	Brokers    string // properties.bootstrap.servers; "" if not set
	Key, Value Format
	Startup    Startup
	Reset      Reset
	Discovery  time.Duration // how often new topics of a pattern are looked for; 0 never
}

// Startup is the position at which a source starts if it has no committed offsets
// (scan.startup.mode).
type Startup struct {
	Group     bool // group-offsets, the default: start at offsets that were set for the group, if any
	Latest    bool
	Timestamp int64 // milliseconds since 1970; 0 for other modes
}

// Reset is where a source resumes if its next records were deleted before they were read
// (properties.auto.offset.reset).
type Reset string

// Values of Reset.
const (
	ResetEarliest Reset = "earliest" // at the earliest remaining record; the default
	ResetLatest   Reset = "latest"   // at the end
	ResetNone     Reset = "none"     // the pipeline stops, even with group-offsets if the group has no offsets
)

// options implements connector.
func (k kafka) options() []option {
	valueFormat := required + ", or 'format'"
	if k.upsert {
		valueFormat = required
	}
	all := []option{
		connectorOption,
		{key: "topic", kind: textOption, otherwise: required + ", or 'topic-pattern'", about: "The topic; a source may list several, separated by semicolons."},
		{key: topicPattern, kind: textOption, about: "A regular expression of the topics that a source reads, instead of 'topic'."},
		{key: "format", kind: textOption, about: "The format of the record's value; the same as 'value.format'."},
		{key: "key.format", kind: textOption, about: "The format of the record's key."},
		{key: "value.format", kind: textOption, otherwise: valueFormat, about: "The format of the record's value: " + strings.Join(format.Names(), ", ") + "."},
		{key: "key.fields", kind: listOption, about: "The columns in the record's key, separated by semicolons."},
		{key: "key.fields-prefix", kind: textOption, about: "Begins the names of key columns in the table, but not in the record."},
		{key: "value.fields-include", kind: enumOption, values: []string{"ALL", "EXCEPT_KEY"}, about: "Whether the record's value has the key columns too."},
		{key: "scan.startup.mode", kind: enumOption, values: []string{"group-offsets", "earliest-offset", "latest-offset", "timestamp"}, onlyWeir: k.upsert, about: "Where the first start of the pipeline begins to read."},
		{key: "scan.startup.timestamp-millis", kind: integerOption, onlyWeir: k.upsert, about: "The time of the first record with the mode timestamp, in milliseconds since 1970."},
		{key: "scan.bounded.mode", kind: enumOption, values: []string{"unbounded", "latest-offset"}, about: "Whether reading ends where the topic ended when the pipeline started."},
		{key: "scan.watermark.idle-timeout", kind: durationOption, about: "After which a silent partition no longer holds back the watermark."},
		ignore("scan.watermark.alignment.group", textOption, "Flink's alignment of watermarks; Weir aligns the inputs of a pipeline itself."),
		ignore("scan.watermark.alignment.max-drift", durationOption, "Flink's alignment of watermarks."),
		ignore("scan.watermark.alignment.update-interval", durationOption, "Flink's alignment of watermarks."),
		ignore("scan.watermark.emit.strategy", textOption, "When Flink emits watermarks."),
		{key: discoveryInterval, kind: durationOption, otherwise: "5 min", about: "How often new topics of a pattern are looked for; with 0 s only at the start."},
		ignore("scan.parallelism", integerOption, "Flink's number of parallel readers."),
		ignore("sink.parallelism", integerOption, "Flink's number of parallel writers."),
		{key: "sink.partitioner", kind: enumOption, values: []string{"default", "fixed", "round-robin"}, ignored: true, onlyWeir: k.upsert, about: "Flink's choice of partitions; Weir places rows by their key as Kafka does."},
		{key: "sink.delivery-guarantee", kind: enumOption, values: []string{"exactly-once", "at-least-once", "none"}, about: "The least that is guaranteed: Weir always writes exactly once."},
		ignore("sink.transactional-id-prefix", textOption, "Flink's names of transactional ids."),
		ignore("sink.transaction-naming-strategy", textOption, "Flink's names of transactional ids."),
		{key: "sink.buffer-flush.max-rows", kind: integerOption, ignored: true, onlyWeir: !k.upsert, about: "A buffer of changes in Flink's upsert-kafka; Weir has none."},
		{key: "sink.buffer-flush.interval", kind: durationOption, ignored: true, onlyWeir: !k.upsert, about: "A buffer of changes in Flink's upsert-kafka; Weir has none."},
		{key: "properties.bootstrap.servers", kind: textOption, about: "The brokers, for Flink; Weir uses those of --brokers."},
		{key: "properties.auto.offset.reset", kind: enumOption, values: []string{string(ResetEarliest), string(ResetLatest), string(ResetNone)}, about: "Where a source goes on if its next records were deleted before they were read."},
		ignore("properties.", textOption, "Other settings of Flink's Kafka client."),
	}
	if k.upsert {
		return slices.DeleteFunc(all, func(o option) bool { return o.key == "key.fields" || o.key == "format" })
	}
	return all
}

func (kafka) metadata() map[string]metadata {
	text := notNull(column.String)
	return map[string]metadata{
		"topic": {typ: text}, "partition": {typ: notNull(column.Int)}, "offset": {typ: notNull(column.BigInt)}, "leader-epoch": {typ: column.Of(column.Int)},
		"timestamp": {typ: column.Type{Kind: column.TimestampLTZ, Precision: 3, NotNull: true}, writable: true}, "timestamp-type": {typ: text},
		"headers": {typ: column.Type{Kind: column.Map, NotNull: true, Key: &text, Elem: &column.Type{Kind: column.Bytes}}, writable: true},
	}
}

func (k kafka) bind(t *Table, o *options) error {
	t.Kafka, t.Upsert = &Kafka{}, k.upsert
	for _, step := range []func(*Table, *options) error{k.bindTopic, k.bindFormats, k.bindScan, k.bindSink} {
		if err := step(t, o); err != nil {
			return err
		}
	}
	return nil
}

func (kafka) bindTopic(t *Table, o *options) error {
	t.Kafka.Topic = o.get("topic")
	if t.Kafka.Topic == "" {
		return sql.Errorf(t, "table %s has no option 'topic'", t.Name)
	}
	t.Kafka.Brokers = o.get("properties.bootstrap.servers")
	return nil
}

// Topics returns the topics that a value of the option 'topic' lists, without repetitions.
func Topics(value string) (all []string) {
	for name := range strings.SplitSeq(value, ";") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// topicList returns the option 'topic' for each topic that it lists, or that the option
// 'topic-pattern' matches.
func (p *planner) topicList(s *sql.CreateTable, table string) (all []sql.Option, pattern string, err error) {
	find := func(key string) int {
		return slices.IndexFunc(s.Options, func(o sql.Option) bool { return o.Key == key })
	}
	connector := find("connector")
	if connector < 0 || connectors[s.Options[connector].Value] == nil || !slices.Contains(keys(connectors[s.Options[connector].Value].options()), topicPattern) {
		return nil, "", nil
	}
	if i := find(topicPattern); i >= 0 {
		o := s.Options[i]
		if find("topic") >= 0 {
			return nil, "", sql.Errorf(o, "table %s has both 'topic' and 'topic-pattern'", table).WithHint("leave out one of them; Flink doesn't accept both either")
		}
		all, err = p.matchedTopics(o, table)
		return all, o.Value, err
	}
	for _, o := range s.Options {
		if o.Key != "topic" {
			continue
		}
		for _, name := range Topics(o.Value) {
			if strings.ContainsAny(name, " \t\n") {
				return nil, "", sql.Errorf(o.ValuePos, "table %s: %q is not the name of a topic", table, name).WithHint("separate topics by semicolons")
			}
			one := o
			one.Value = name
			all = append(all, one)
		}
	}
	return all, "", nil
}

// bindFormats assigns the physical columns to the record's key and value.
func (k kafka) bindFormats(t *Table, o *options) error {
	bindKey := k.bindKeyFields
	if k.upsert {
		bindKey = k.bindUpsertKey
	}
	if err := bindKey(t, o); err != nil {
		return err
	}
	include, err := o.one("value.fields-include")
	if err != nil {
		return err
	}
	for i, c := range t.Columns {
		if c.Physical() && (include == "ALL" || !slices.Contains(t.Kafka.Key.Columns, i)) {
			t.Kafka.Value.Columns = append(t.Kafka.Value.Columns, i)
		}
	}
	if err := t.setFormat(&t.Kafka.Key, "key.", "key.format", o, o.get("key.fields-prefix")); err != nil {
		return err
	}
	option := "value.format"
	if o.has("format") && !o.has(option) {
		option = "format"
	}
	if !o.has(option) {
		return sql.Errorf(t, "table %s has no option 'value.format'", t.Name).WithHint("use one of %s", strings.Join(format.Names(), ", "))
	}
	return t.setFormat(&t.Kafka.Value, "value.", option, o, "")
}

// bindUpsertKey puts the primary key into the record's key.
func (kafka) bindUpsertKey(t *Table, o *options) error {
	for _, wrong := range []string{"key.fields", "format"} {
		if o.has(wrong) {
			return sql.Errorf(o.all[wrong], "upsert-kafka has no option '%s'", wrong).WithHint("its key is the PRIMARY KEY; use 'key.format' and 'value.format'")
		}
	}
	if len(t.PrimaryKey) == 0 {
		return sql.Errorf(t, "upsert-kafka table %s needs a PRIMARY KEY (…) NOT ENFORCED", t.Name)
	}
	if !o.has("key.format") || !o.has("value.format") {
		return sql.Errorf(t, "upsert-kafka table %s needs the options 'key.format' and 'value.format'", t.Name)
	}
	t.Kafka.Key.Columns = t.PrimaryKey
	return nil
}

// bindKeyFields puts the columns of key.fields into the record's key.
func (kafka) bindKeyFields(t *Table, o *options) error {
	names := o.get("key.fields")
	if (names == "") != !o.has("key.format") {
		return sql.Errorf(t, "table %s: the options 'key.format' and 'key.fields' must be set together", t.Name)
	}
	for _, name := range strings.Split(names, ";") {
		if name == "" {
			continue
		}
		i := t.index(name)
		if i < 0 || !t.Columns[i].Physical() {
			return sql.Errorf(o.all["key.fields"].ValuePos, "'key.fields' lists %s, which is not a physical column of %s", name, t.Name).WithHint("%s", suggest.DidYouMean(name, t.names()))
		}
		t.Kafka.Key.Columns = append(t.Kafka.Key.Columns, i)
	}
	return nil
}

// bindScan reads where a source starts and whether it ends.
func (kafka) bindScan(t *Table, o *options) error {
	mode := o.get("scan.startup.mode")
	reset, err := o.one("properties.auto.offset.reset")
	if err != nil {
		return err
	}
	k := t.Kafka
	if k.Reset = Reset(reset); k.Reset == ResetLatest && (mode == "earliest-offset" || mode == "timestamp") {
		k.Reset = ResetEarliest // as in Flink, where these modes take precedence
	}
	switch mode {
	case "earliest-offset":
	case "latest-offset":
		k.Startup.Latest = true
	case "", "group-offsets":
		k.Startup.Group, k.Startup.Latest = true, k.Reset == ResetLatest
	case "timestamp":
		ms, err := strconv.ParseInt(o.get("scan.startup.timestamp-millis"), 10, 64)
		if err != nil || ms <= 0 {
			return sql.Errorf(t, "table %s: 'scan.startup.mode' = 'timestamp' requires 'scan.startup.timestamp-millis'", t.Name)
		}
		k.Startup.Timestamp = ms
	default:
		return o.bad("scan.startup.mode", "use earliest-offset, latest-offset, group-offsets or timestamp")
	}
	bounded, err := o.one("scan.bounded.mode")
	if err != nil {
		return err
	}
	t.Bounded = bounded == "latest-offset"
	if k.Discovery, err = ParseDuration(cmp.Or(o.get(discoveryInterval), "5 min")); err != nil {
		return o.bad(discoveryInterval, "write a duration such as 30 s or 5 min; 0 s to look for new topics only at the start")
	}
	if idle := o.get("scan.watermark.idle-timeout"); idle != "" {
		if t.IdleTimeout, err = ParseDuration(idle); err != nil {
			return o.bad("scan.watermark.idle-timeout", "write a duration such as 30 s or 5 min")
		}
	}
	return nil
}

// bindSink rejects delivery guarantees that Weir does not offer. All writes are transactional,
// which satisfies at-least-once too.
func (kafka) bindSink(_ *Table, o *options) error {
	if _, err := o.one("sink.delivery-guarantee"); err != nil {
		return err
	}
	_, err := o.one("sink.partitioner")
	return err
}
