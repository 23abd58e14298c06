package plan

import (
	"errors"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// jdbc is the connector jdbc: a table of a PostgreSQL or SQLite database that INSERTs write, and in
// which lookup joins read. With a primary key, a row replaces the previous one with its key.
type jdbc struct{}

// JDBC is the table of a database. URL, User and Password may refer to secrets.
type JDBC struct {
	URL, User, Password string
	Table               string // 'table-name': schema and name, quoted where they would have to be in SQL
	Flush
	Cache *LookupCache // of lookups; nil keeps nothing beyond a transaction
}

// Flush says when rows are written.
type Flush struct {
	MaxRows  int           // of a transaction of the database; 0 is the default
	Interval time.Duration // how long a row waits for others
}

// String names the table without the database's address, which may contain secrets.
func (j *JDBC) String() string { return "PostgreSQL table " + j.Table }

// jdbcPrefix begins the URLs of PostgreSQL.
const jdbcPrefix = "jdbc:postgresql://"

const postgresDriver = "org.postgresql.Driver"

// options implements connector.
func (jdbc) options() []option {
	const scans = "Flink's scans of the table; Weir reads it in lookup joins."
	return append([]option{
		connectorOption,
		{key: "url", kind: textOption, otherwise: required, about: "The database: jdbc:postgresql://HOST:PORT/DATABASE or jdbc:sqlite:PATH."},
		{key: "table-name", kind: textOption, otherwise: required, about: "The table, with its schema if that is not in the search path."},
		{key: "driver", kind: textOption, about: "The class of the JDBC driver, for Flink; " + postgresDriver + " or " + sqliteDriver + "."},
		{key: "username", kind: textOption, about: "The user of PostgreSQL; set with 'password'."},
		{key: "password", kind: textOption, about: "The user's password, which may refer to a secret."},
		ignore("connection.max-retry-timeout", durationOption, "Flink's time limit for a connection."),
		ignore("scan.partition.column", textOption, scans), ignore("scan.partition.num", integerOption, scans),
		ignore("scan.partition.lower-bound", integerOption, scans), ignore("scan.partition.upper-bound", integerOption, scans),
		ignore("scan.fetch-size", integerOption, scans), ignore("scan.auto-commit", booleanOption, scans),
		{key: "lookup.cache", kind: enumOption, values: []string{"NONE", "PARTIAL"}, about: "Whether answers of lookups are kept beyond a transaction."},
		{key: "lookup.partial-cache.expire-after-write", kind: durationOption, about: "How long an answer is used."},
		{key: "lookup.partial-cache.expire-after-access", kind: durationOption, about: "How long an answer is kept that nobody asks for."},
		{key: "lookup.partial-cache.max-rows", kind: integerOption, otherwise: strconv.Itoa(defaultCacheRows), about: "Rows in the cache, at most."},
		{key: "lookup.partial-cache.cache-missing-key", kind: booleanOption, otherwise: "true", about: "Whether keys without rows are kept too."},
		{key: "lookup.cache.max-rows", kind: integerOption, about: "The older name of 'lookup.partial-cache.max-rows'; set with 'lookup.cache.ttl'."},
		{key: "lookup.cache.ttl", kind: durationOption, about: "The older name of 'lookup.partial-cache.expire-after-write'."},
		{key: "lookup.cache.caching-missing-key", kind: booleanOption, otherwise: "true", about: "The older name of 'lookup.partial-cache.cache-missing-key'."},
		ignore("lookup.max-retries", integerOption, "Flink's number of attempts; Weir repeats a lookup until the database answers."),
		ignore("sink.max-retries", integerOption, "Flink's number of attempts; Weir repeats a delivery until the database accepts it."),
		ignore("sink.parallelism", integerOption, "Flink's number of parallel writers."),
	}, flushOptions("10000")...)
}

func (jdbc) metadata() map[string]metadata { return nil }

func (jdbc) bind(t *Table, o *options) error {
	if strings.HasPrefix(o.get("url"), sqlitePrefix) {
		return t.bindSQLite(o)
	}
	j := &JDBC{URL: o.get("url"), User: o.get("username"), Password: o.get("password"), Table: o.get("table-name")}
	for _, required := range []struct{ key, value string }{{"url", j.URL}, {"table-name", j.Table}} {
		if required.value == "" {
			return sql.Errorf(t, "table %s has no option '%s'", t.Name, required.key)
		}
	}
	if o.has("username") != o.has("password") {
		return sql.Errorf(t, "table %s: the options 'username' and 'password' must be set together", t.Name).
			WithHint("a user without a password can be part of the URL: ?user=NAME")
	}
	if driver := o.get("driver"); driver != "" && driver != postgresDriver {
		return o.bad("driver", "use "+postgresDriver+", or leave it out")
	}
	if !secret.Refers(j.URL) { // otherwise it is checked when the secrets are known
		var wrong *URLError
		if _, err := ParseJDBC(j.URL); errors.As(err, &wrong) {
			return sql.Errorf(o.all["url"].ValuePos, "table %s: %s", t.Name, wrong.Message).WithHint("%s", wrong.Hint)
		}
	}
	if err := j.bind(o); err != nil {
		return err
	}
	if err := j.bindLookup(t, o); err != nil {
		return err
	}
	return t.deliverTo(j, o.name)
}

// deliverTo makes rows that are written to the table pass through a topic to a target.
func (t *Table) deliverTo(d Delivery, connector string) error {
	if !resultName.MatchString(t.Name) {
		return sql.Errorf(t, "table %s: the name can't be part of the topic through which its rows pass", t.Name).
			WithHint("use letters, digits, _ and -; other options have the name in the target")
	}
	t.Delivery, t.Upsert = d, len(t.PrimaryKey) > 0
	return t.setResultFormats(connector)
}

// resultName matches names of tables that can be part of the name of a topic. Without dots, the
// topic of one pipeline can't be that of another one.
var resultName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

func (f *Flush) bind(o *options) (err error) {
	if rows := o.get("sink.buffer-flush.max-rows"); rows != "" {
		if f.MaxRows, err = strconv.Atoi(rows); err != nil || f.MaxRows < 0 || f.MaxRows > MaxFlushRows {
			return o.bad("sink.buffer-flush.max-rows", "write a number of rows, at most "+strconv.Itoa(MaxFlushRows))
		}
	}
	if interval := o.get("sink.buffer-flush.interval"); interval != "" {
		if f.Interval, err = ParseDuration(interval); err != nil || f.Interval > time.Hour {
			return o.bad("sink.buffer-flush.interval", "write a duration such as 1 s, at most 1 h")
		}
	}
	return nil
}

// MaxFlushRows bounds 'sink.buffer-flush.max-rows', because the rows of a transaction are in
// memory.
const MaxFlushRows = 100_000

// setResultFormats sets how rows are stored in the topic from which they are delivered: as JSON,
// which has all types, with all columns. A row that lacks a column was written by other SQL, and
// must not be delivered as if the column were NULL.
func (t *Table) setResultFormats(connector string) error {
	t.Kafka = &Kafka{Startup: Startup{Group: true}, Reset: ResetEarliest}
	for i, c := range t.Columns {
		if !c.Physical() {
			continue
		}
		if err := t.checkDelivered(i, c.Type, connector); err != nil {
			return err
		}
		t.Kafka.Value.add(t, i)
	}
	if len(t.Kafka.Value.Columns) == 0 {
		return sql.Errorf(t, "table %s has no columns to write", t.Name)
	}
	t.Kafka.Value.Name, t.Kafka.Value.Options = "json", format.Options{"fail-on-missing-field": "true"}
	if t.Upsert {
		t.Kafka.Key.Name, t.Kafka.Key.Options = "json", format.Options{}
		for _, i := range t.PrimaryKey {
			t.Kafka.Key.add(t, i)
		}
	}
	return nil
}

func (f *Format) add(t *Table, i int) {
	f.Columns = append(f.Columns, i)
	f.Fields = append(f.Fields, format.Field{Name: t.Columns[i].Name, Type: t.Columns[i].Type})
}

// checkDelivered refuses columns whose values a target could not store, or compare as SQL does.
func (t *Table) checkDelivered(i int, of column.Type, connector string) error {
	name := t.Columns[i].Name
	if of.Has(func(u column.Type) bool {
		return u.Interval() || u.Kind == column.Null || u.Pairs() && u.Key.Kind != column.String
	}) {
		return sql.Errorf(t, "column %s of %s is %s, which the %s connector does not support", name, t.Name, of.Nullable(true), connector).
			WithHint("CAST it to another type, such as STRING or BIGINT")
	}
	if !slices.Contains(t.PrimaryKey, i) {
		return nil
	}
	if of.Nested() || of.Class() == column.Floats {
		return sql.Errorf(t, "column %s of the primary key of %s is %s, which can't be a key of a database table", name, t.Name, of.Nullable(true)).
			WithHint("its values are compared in another way there (-0.0 equals 0.0): use STRING, an integer or DECIMAL")
	}
	return nil
}

// Database is the address of a PostgreSQL database, as a JDBC URL gives it.
type Database struct {
	Hosts []string // host:port, tried in order
	Name  string

	// Settings are those of libpq, such as sslmode and search_path.
	Settings map[string]string
}

// jdbcSettings maps the parameters of JDBC URLs to settings of libpq and the server; "" is a
// parameter that only matters to Java's driver.
var jdbcSettings = map[string]string{
	"user": "user", "sslmode": "sslmode", "sslrootcert": "sslrootcert", "sslcert": "sslcert", "sslkey": "sslkey",
	"connectTimeout": "connect_timeout", "ApplicationName": "application_name", "currentSchema": "search_path", "targetServerType": "target_session_attrs",
	"ssl": "", "reWriteBatchedInserts": "", "loginTimeout": "", "socketTimeout": "", "tcpKeepAlive": "", "prepareThreshold": "", "defaultRowFetchSize": "",
	"stringtype": "", "binaryTransfer": "", "preparedStatementCacheQueries": "", "preparedStatementCacheSizeMiB": "", "assumeMinServerVersion": "",
}

// URLError is an error in a URL, which it does not contain, because it may hold a password.
type URLError struct{ Message, Hint string }

func (e *URLError) Error() string { return e.Message + ": " + e.Hint }

// ParseJDBC parses the URL of a PostgreSQL database. Its errors are *URLError.
func ParseJDBC(text string) (*Database, error) {
	const example = "write jdbc:postgresql://HOST:PORT/DATABASE"
	fail := func(hint, message string) (*Database, error) { //nolint:unparam // returned as it is
		return nil, &URLError{message, hint}
	}
	rest, ok := strings.CutPrefix(text, jdbcPrefix)
	if !ok {
		if kind, _, found := strings.Cut(strings.TrimPrefix(text, "jdbc:"), ":"); found && strings.HasPrefix(text, "jdbc:") && kind != "postgresql" && regexp.MustCompile(`^\w+$`).MatchString(kind) {
			return fail("only PostgreSQL, databases that speak its protocol, and SQLite (jdbc:sqlite:PATH) are supported: "+example, "databases of the kind "+kind+" are not supported")
		}
		return fail(example, "the option 'url' is not the URL of a PostgreSQL database")
	}
	address, query, _ := strings.Cut(rest, "?")
	hosts, name, _ := strings.Cut(address, "/")
	d := &Database{Settings: make(map[string]string)}
	var err error
	if d.Name, err = url.PathUnescape(name); err != nil || d.Name == "" || strings.Contains(d.Name, "/") {
		return fail(example, "the option 'url' names no database")
	}
	if strings.Contains(hosts, "@") {
		return fail("use the options 'username' and 'password'", "the option 'url' has a user before its host")
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if !strings.Contains(host, ":") || strings.HasSuffix(host, "]") {
			host = strings.Trim(host, "[]")
			host = net.JoinHostPort(host, "5432")
		}
		h, port, err := net.SplitHostPort(host)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || h == "" {
			return fail(example, "the option 'url' has an invalid host or port")
		}
		d.Hosts = append(d.Hosts, host)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return fail("escape special characters in its parameters as %XX", "the option 'url' is not valid")
	}
	var known []string
	for key := range jdbcSettings {
		known = append(known, key)
	}
	slices.Sort(known)
	for key := range values {
		to, ok := jdbcSettings[key]
		if secret.Option(key) {
			return fail("use the options 'username' and 'password', whose values are not shown", "the option 'url' has a password")
		}
		if !ok {
			return fail(orElse(suggest.DidYouMean(key, known), "known parameters: "+strings.Join(known, ", ")), "parameter "+strconv.Quote(key)+" of the option 'url' is not supported")
		}
		value := values.Get(key)
		switch {
		case key == "ssl" && value != "false" && d.Settings["sslmode"] == "" && values.Get("sslmode") == "":
			d.Settings["sslmode"] = "verify-full" // as Java's driver does
		case key == "targetServerType":
			if value != "primary" && value != "master" && value != "any" {
				return fail("use primary or any: a standby can't be written", "parameter targetServerType of the option 'url' does not fit")
			}
			d.Settings[to] = map[bool]string{true: "any", false: "read-write"}[value == "any"]
		case to != "":
			d.Settings[to] = value
		}
	}
	return d, nil
}
