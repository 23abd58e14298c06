package plan

import (
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// influxdb is the connector influxdb: points that INSERTs write to InfluxDB, VictoriaMetrics,
// QuestDB or another server of the line protocol. A point replaces one of the same measurement,
// tags and time.
type influxdb struct{}

// LineProtocol is a measurement of a server of the line protocol. Columns are indexes of
// Kafka.Value.
type LineProtocol struct {
	Web
	Measurement string // "" if a column has it
	NamedBy     int    // that column, or -1
	Tags        []int
	Fields      []int
	Time        int
	Precision   string // ns, us, ms or s

	Bucket, Org     string // of version 2 of the API, which is used if Bucket is set
	Database        string // of version 1; "" for servers without databases
	RetentionPolicy string
	Token           string
	User, Password  string
	Flush
}

// String names the target without its address.
func (l *LineProtocol) String() string {
	name := l.Measurement
	if name == "" {
		name = "named by a column"
	}
	return "line protocol, measurement " + name
}

func (influxdb) options() []option {
	return onlyWeir([]option{
		connectorOption,
		{key: "measurement", kind: textOption, about: "The name of the measurement; or set 'measurement.column'."},
		{key: "measurement.column", kind: textOption, about: "The column that has the name of the measurement."},
		{key: "tags", kind: listOption, about: "The columns that are tags, separated by semicolons."},
		{key: "fields", kind: listOption, about: "The columns that are fields; without it, all that are nothing else."},
		{key: "time", kind: textOption, about: "The column with the time of points; without it, the only TIMESTAMP or TIMESTAMP_LTZ."},
		{key: "precision", kind: enumOption, values: []string{"ns", "us", "ms", "s"}, about: "The precision in which times are sent."},
		{key: "bucket", kind: textOption, about: "The bucket of InfluxDB 2 and later."},
		{key: "org", kind: textOption, about: "The bucket's organization."},
		{key: "database", kind: textOption, about: "The database of InfluxDB 1."},
		{key: "retention-policy", kind: textOption, about: "The database's retention policy."},
		{key: "token", kind: textOption, about: "The token, which may refer to a secret."},
		{key: "username", kind: textOption, about: "The user; set with 'password'."},
		{key: "password", kind: textOption, about: "The user's password, which may refer to a secret."},
	}, flushOptions("10000"), webOptions)
}

func (influxdb) metadata() map[string]metadata { return nil }

func (influxdb) bind(t *Table, o *options) error {
	l := &LineProtocol{
		Measurement: o.get("measurement"), NamedBy: -1, Time: -1, Bucket: o.get("bucket"), Org: o.get("org"), Database: o.get("database"), RetentionPolicy: o.get("retention-policy"),
		Token: o.get("token"), User: o.get("username"), Password: o.get("password"),
	}
	if !o.has("url") {
		return sql.Errorf(t, "table %s has no option 'url'", t.Name)
	}
	if err := l.Web.bind(t, o); err != nil {
		return err
	}
	if err := l.checkAccount(t, o); err != nil {
		return err
	}
	if err := l.Flush.bind(o); err != nil {
		return err
	}
	if err := t.deliverTo(l, o.name); err != nil {
		return err
	}
	if err := l.bindColumns(t, o); err != nil {
		return err
	}
	return l.checkColumns(t, o)
}

func (l *LineProtocol) checkAccount(t *Table, o *options) error {
	switch {
	case l.Bucket != "" && l.Database != "":
		return sql.Errorf(t, "table %s has both 'bucket' and 'database'", t.Name).WithHint("'bucket' and 'org' are for InfluxDB 2 and later, 'database' is for InfluxDB 1")
	case l.Org != "" && l.Bucket == "":
		return sql.Errorf(t, "table %s has the option 'org', but no 'bucket'", t.Name)
	case l.RetentionPolicy != "" && l.Database == "":
		return sql.Errorf(t, "table %s has the option 'retention-policy', but no 'database'", t.Name)
	case o.has("username") != o.has("password"):
		return sql.Errorf(t, "table %s: the options 'username' and 'password' must be set together", t.Name)
	case o.has("username") && o.has("token"):
		return sql.Errorf(t, "table %s has both 'token' and 'username'", t.Name)
	}
	return nil
}

// valueColumn returns the index in Kafka.Value of a column that an option names.
func (t *Table) valueColumn(o *options, key, name string) (int, error) {
	i := t.index(name)
	at := slices.Index(t.Kafka.Value.Columns, i)
	if i < 0 || at < 0 {
		return 0, sql.Errorf(o.all[key].ValuePos, "'%s' names the column %s, which table %s does not have", key, name, t.Name).
			WithHint("%s", orElse(suggest.DidYouMean(name, t.namesOf(t.Kafka.Value.Columns)), "separate names by semicolons"))
	}
	return at, nil
}

func (t *Table) valueColumns(o *options, key string) (all []int, err error) {
	if !o.has(key) {
		return nil, nil
	}
	for name := range strings.SplitSeq(o.get(key), ";") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		i, err := t.valueColumn(o, key, name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(all, i) {
			return nil, sql.Errorf(o.all[key].ValuePos, "'%s' names the column %s twice", key, name)
		}
		all = append(all, i)
	}
	return all, nil
}

// bindColumns says which column is what.
func (l *LineProtocol) bindColumns(t *Table, o *options) (err error) {
	if o.has("measurement") == o.has("measurement.column") {
		return sql.Errorf(t, "table %s needs one of 'measurement' and 'measurement.column'", t.Name).WithHint("'measurement' is its name; 'measurement.column' is the column that has it")
	}
	if o.has("measurement.column") {
		if l.NamedBy, err = t.valueColumn(o, "measurement.column", o.get("measurement.column")); err != nil {
			return err
		}
	}
	if l.Tags, err = t.valueColumns(o, "tags"); err != nil {
		return err
	}
	if o.has("time") {
		if l.Time, err = t.valueColumn(o, "time", o.get("time")); err != nil {
			return err
		}
	} else if l.Time, err = l.onlyTime(t); err != nil {
		return err
	}
	if l.Fields, err = t.valueColumns(o, "fields"); err != nil {
		return err
	}
	used := append(slices.Clone(l.Tags), l.NamedBy, l.Time)
	if !o.has("fields") {
		for i := range t.Kafka.Value.Fields {
			if !slices.Contains(used, i) {
				l.Fields = append(l.Fields, i)
			}
		}
	}
	seen := make(map[int]bool)
	for _, i := range append(used, l.Fields...) {
		if i >= 0 && seen[i] {
			return sql.Errorf(t, "table %s: column %s has two roles: it can be one of measurement, tag, field and time", t.Name, t.Kafka.Value.Fields[i].Name)
		}
		seen[i] = true
	}
	for i, f := range t.Kafka.Value.Fields {
		if !seen[i] {
			return sql.Errorf(t, "column %s of table %s is neither a tag nor a field, so its values would be lost", f.Name, t.Name).WithHint("add it to 'tags' or 'fields', or leave the column out")
		}
	}
	if len(l.Fields) == 0 {
		return sql.Errorf(t, "table %s has no column that could be a field: a point needs at least one", t.Name).WithHint("fields are the columns that are not in 'tags' and not the time")
	}
	return nil
}

func (l *LineProtocol) onlyTime(t *Table) (int, error) {
	found := -1
	for i, f := range t.Kafka.Value.Fields {
		if !f.Type.Instant() || slices.Contains(l.Tags, i) {
			continue
		}
		if found >= 0 {
			return 0, sql.Errorf(t, "table %s has several columns of timestamps", t.Name).WithHint("name the one that is the time of points: 'time' = '%s'", f.Name)
		}
		found = i
	}
	if found < 0 {
		return 0, sql.Errorf(t, "table %s has no column of type TIMESTAMP or TIMESTAMP_LTZ, which points have as their time", t.Name).
			WithHint("without a time the server would set it, and a repeated row would be another point")
	}
	return found, nil
}

// precisions has the digits of fractions of a second.
var precisions = map[string]int{"s": 0, "ms": 3, "us": 6, "ns": 9}

func (l *LineProtocol) checkColumns(t *Table, o *options) (err error) {
	fields := t.Kafka.Value.Fields
	if l.Precision, err = o.one("precision"); err != nil {
		return err
	}
	if strings.HasPrefix(l.Measurement, "#") || strings.ContainsAny(l.Measurement, "\r\n") || strings.HasSuffix(l.Measurement, `\`) || o.has("measurement") && l.Measurement == "" {
		return o.bad("measurement", "a measurement has a name that does not begin with #, does not end with \\, and has no line breaks")
	}
	if !fields[l.Time].Type.Instant() {
		return o.bad("time", "the time is a column of type TIMESTAMP or TIMESTAMP_LTZ")
	}
	if p := fields[l.Time].Type.Precision; p > precisions[l.Precision] {
		return sql.Errorf(t, "column %s of %s has %d digits of a second's fraction, more than the 'precision' %s: points of different times would replace each other", fields[l.Time].Name, t.Name, p, l.Precision).
			WithHint("use a finer precision, or a column with fewer digits")
	}
	if l.NamedBy >= 0 && fields[l.NamedBy].Type.Class() != column.Texts {
		return o.bad("measurement.column", "its column must be STRING")
	}
	for _, i := range append(slices.Clone(l.Tags), l.Fields...) {
		if name := fields[i].Name; name == "time" || strings.HasPrefix(name, "_") || strings.ContainsAny(name, "\r\n") || strings.HasSuffix(name, `\`) {
			return sql.Errorf(t, "column %q of %s can't be a tag or field: servers of the line protocol ignore it, or read it in another way", name, t.Name).WithHint("give it another name")
		}
	}
	for _, i := range l.Tags {
		if k := fields[i].Type; !text(k) && !k.Integer() && k.Kind != column.Boolean {
			return sql.Errorf(t, "column %s of %s is %s, which can't be a tag", fields[i].Name, t.Name, k.Nullable(true)).WithHint("use STRING, BOOLEAN or an integer")
		}
	}
	for _, i := range l.Fields {
		if k := fields[i].Type; !text(k) && !k.Integer() && k.Kind != column.Boolean && k.Class() != column.Floats {
			return sql.Errorf(t, "column %s of %s is %s, which can't be a field", fields[i].Name, t.Name, k.Nullable(true)).WithHint("CAST it to DOUBLE, BIGINT, BOOLEAN or STRING")
		}
	}
	return l.checkKey(t)
}

// text reports whether values are strings, and not bytes.
func text(t column.Type) bool { return t.Class() == column.Texts && t.Kind != column.Bytes }

// checkKey requires a primary key to be what identifies a point.
func (l *LineProtocol) checkKey(t *Table) error {
	if !t.Upsert {
		return nil
	}
	identity := append(slices.Clone(l.Tags), l.Time)
	if l.NamedBy >= 0 {
		identity = append(identity, l.NamedBy)
	}
	var key, want []string
	for _, i := range identity {
		want = append(want, t.Kafka.Value.Fields[i].Name)
	}
	for _, i := range t.PrimaryKey {
		key = append(key, t.Columns[i].Name)
	}
	a, b := slices.Sorted(slices.Values(key)), slices.Sorted(slices.Values(want))
	if !slices.Equal(a, b) {
		return sql.Errorf(t, "the primary key of %s is (%s), but points of the line protocol replace each other by (%s)", t.Name, strings.Join(key, ", "), strings.Join(want, ", ")).
			WithHint("make them equal: the tags and the time")
	}
	return nil
}

// Scale is the number of the precision's units in a microsecond, or the number of microseconds in a
// unit.
func (l *LineProtocol) Scale() (multiply, divide int64) {
	switch l.Precision {
	case "us":
		return 1, 1
	case "ms":
		return 1, 1000
	case "s":
		return 1, int64(time.Second / time.Microsecond)
	}
	return 1000, 1
}
