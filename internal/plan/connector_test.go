package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"weir.example/weir/internal/sql"
)

// TestTableOptions binds tables with one invalid option each. The error must point at the option's
// value or key and name a fix.
func TestTableOptions(t *testing.T) {
	const good = "'connector' = 'kafka', 'topic' = 't', 'format' = 'json'"
	const jdbcGood = "'connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d'"
	for _, c := range []struct {
		name, options string
		at            string // position of the error: the first occurrence of this text
		message, hint string
	}{
		{"unknown connector", "'connector' = 'hive', 'topic' = 't'", "'hive'", "'hive' is not supported as 'connector'", "use one of blackhole, datagen, filesystem, http, influxdb, jdbc, kafka, mqtt, print, upsert-kafka"},
		{"misspelt option", good + ", 'scan.startup.mod' = 'latest-offset'", "'scan.startup.mod'", "option 'scan.startup.mod' is not supported", "did you mean scan.startup.mode?"},
		{"option twice", good + ", 'topic' = 'u'", "'topic' = 'u'", "option 'topic' is listed twice", ""},
		{"startup mode", good + ", 'scan.startup.mode' = 'begin'", "'begin'", "'begin' is not supported as 'scan.startup.mode'", "use earliest-offset, latest-offset, group-offsets or timestamp"},
		{"idle timeout", good + ", 'scan.watermark.idle-timeout' = 'soon'", "'soon'", "'soon' is not supported as 'scan.watermark.idle-timeout'", "write a duration such as 30 s or 5 min"},
		{"bounded mode", good + ", 'scan.bounded.mode' = 'timestamp'", "'timestamp'", "'timestamp' is not supported as 'scan.bounded.mode'", "use unbounded or latest-offset"},
		{"reset", good + ", 'properties.auto.offset.reset' = 'newest'", "'newest'", "'newest' is not supported as 'properties.auto.offset.reset'", "use earliest or latest or none"},
		{"topic list", "'connector' = 'kafka', 'topic' = 't;u v', 'format' = 'json'", "'t;u v'", "table t: \"u v\" is not the name of a topic", "separate topics by semicolons"},
		{"topic and pattern", good + ", 'topic-pattern' = 't.*'", "'topic-pattern'", "table t has both 'topic' and 'topic-pattern'", "leave out one of them; Flink doesn't accept both either"},
		{"bad pattern", "'connector' = 'kafka', 'topic-pattern' = 't(', 'format' = 'json'", "'t('", "table t: 'topic-pattern' is no valid pattern: the regular expression 't(', character 2: ( is not closed", "write a regular expression for whole names, such as 'site-.*'"},
		{"discovery", "'connector' = 'kafka', 'topic-pattern' = 't.*', 'format' = 'json', 'scan.topic-partition-discovery.interval' = 'often'", "'often'", "'often' is not supported as 'scan.topic-partition-discovery.interval'", "write a duration such as 30 s or 5 min; 0 s to look for new topics only at the start"},
		{"key without format", good + ", 'key.fields' = 'a'", "CREATE", "table t: the options 'key.format' and 'key.fields' must be set together", ""},
		{"key prefix", good + ", 'key.format' = 'json', 'key.fields' = 'a', 'key.fields-prefix' = 'k_'", "CREATE", "column a is in 'key.fields', but its name does not start with the 'key.fields-prefix' k_", ""},
		{"upsert format", "'connector' = 'upsert-kafka', 'topic' = 't', 'format' = 'json'", "'format'", "upsert-kafka has no option 'format'", "its key is the PRIMARY KEY; use 'key.format' and 'value.format'"},
		{"jdbc without URL", "'connector' = 'jdbc', 'table-name' = 't'", "CREATE", "table t has no option 'url'", ""},
		{"jdbc without table", jdbcGood, "CREATE", "table t has no option 'table-name'", ""},
		{"other database", "'connector' = 'jdbc', 'url' = 'jdbc:mysql://h/d', 'table-name' = 't'", "'jdbc:mysql://h/d'", "table t: databases of the kind mysql are not supported", "only PostgreSQL, databases that speak its protocol, and SQLite (jdbc:sqlite:PATH) are supported: write jdbc:postgresql://HOST:PORT/DATABASE"},
		{"no database", "'connector' = 'jdbc', 'url' = 'jdbc:postgresql://h:5432', 'table-name' = 't'", "'jdbc:postgresql://h:5432'", "table t: the option 'url' names no database", "write jdbc:postgresql://HOST:PORT/DATABASE"},
		{"bad port", "'connector' = 'jdbc', 'url' = 'jdbc:postgresql://h:0/d', 'table-name' = 't'", "'jdbc:postgresql://h:0/d'", "table t: the option 'url' has an invalid host or port", "write jdbc:postgresql://HOST:PORT/DATABASE"},
		{"secret in URL", "'connector' = 'jdbc', 'url' = 'jdbc:postgresql://me:hunter2@h/d', 'table-name' = 't'", "'jdbc:postgresql://me", "table t: the option 'url' has a user before its host", "use the options 'username' and 'password'"},
		{"password in URL", "'connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d?user=u&password=hunter2', 'table-name' = 't'", "'jdbc:postgresql://h", "table t: the option 'url' has a password", "use the options 'username' and 'password', whose values are not shown"},
		{"URL parameter", "'connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d?sslMode=require', 'table-name' = 't'", "'jdbc:postgresql://h", "table t: parameter \"sslMode\" of the option 'url' is not supported", "did you mean sslmode?"},
		{"user alone", jdbcGood + ", 'table-name' = 't', 'username' = 'u'", "CREATE", "table t: the options 'username' and 'password' must be set together", "a user without a password can be part of the URL: ?user=NAME"},
		{"driver", jdbcGood + ", 'table-name' = 't', 'driver' = 'com.mysql.Driver'", "'com.mysql.Driver'", "'com.mysql.Driver' is not supported as 'driver'", "use org.postgresql.Driver, or leave it out"},
		{"rows of a flush", jdbcGood + ", 'table-name' = 't', 'sink.buffer-flush.max-rows' = 'all'", "'all'", "'all' is not supported as 'sink.buffer-flush.max-rows'", "write a number of rows, at most 100000"},
		{"interval of a flush", jdbcGood + ", 'table-name' = 't', 'sink.buffer-flush.interval' = 'never'", "'never'", "'never' is not supported as 'sink.buffer-flush.interval'", "write a duration such as 1 s, at most 1 h"},
		{"misspelt jdbc option", jdbcGood + ", 'table-name' = 't', 'sink.max-retry' = '1'", "'sink.max-retry'", "option 'sink.max-retry' is not supported", "did you mean sink.max-retries?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "CREATE TABLE t (a INT) WITH (" + c.options + ");"
			_, err := Compile(text, "test")
			var e *sql.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, expected an error with a position", err)
			}
			if got, want := sql.Offset(text, e.Pos), strings.Index(text, c.at); got != want {
				t.Errorf("error at offset %d, expected %d", got, want)
			}
			if e.Message != c.message || e.Hint != c.hint {
				t.Errorf("got %q with hint %q, expected %q with hint %q", e.Message, e.Hint, c.message, c.hint)
			}
		})
	}
}

// TestOptionValues checks that enumerations declare their values, and that each value is accepted
// or refused for another reason.
func TestOptionValues(t *testing.T) {
	for name, c := range connectors {
		for _, o := range c.options() {
			if (o.kind == enumOption) != (len(o.values) > 0) && o.kind != booleanOption {
				t.Errorf("%s: option %s of type %s has the values %q", name, o.key, o.kind, o.values)
			}
			for _, v := range o.values {
				_, err := Compile(fmt.Sprintf("CREATE TABLE t (m INT) WITH ('connector' = '%s', '%s' = '%s');", name, o.key, v), "test")
				if err != nil && strings.Contains(err.Error(), fmt.Sprintf("'%s' is not supported as '%s'", v, o.key)) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// TestConnectors checks what the planner assumes of each connector: option names are unique, and
// upsert tables need a primary key.
func TestConnectors(t *testing.T) {
	for name, c := range connectors {
		options := keys(c.options())
		for i, option := range options {
			if slices.Contains(options[:i], option) {
				t.Errorf("%s: option %s is listed twice", name, option)
			}
		}
		if !slices.Contains(options, "connector") {
			t.Errorf("%s: no option 'connector'", name)
		}
		for _, key := range slices.Sorted(maps.Keys(c.metadata())) {
			_, err := Compile("CREATE TABLE t (m INT METADATA FROM '"+key+"') WITH ('connector' = '"+name+"');", "test")
			if err == nil || strings.Contains(err.Error(), "has no metadata") {
				t.Errorf("%s: metadata %s: %v", name, key, err)
			}
		}
	}
}
