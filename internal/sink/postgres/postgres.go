// Package postgres delivers rows to tables of PostgreSQL and databases that speak its protocol, and
// looks rows up in them. Rows and the offsets of the result topic are written in one transaction of
// the database.
//
//	postgres.go  Target: connecting; positions
//	session.go   claims of partitions, and deliveries
//	write.go     COPY, INSERT … ON CONFLICT and DELETE of a batch
//	table.go     the columns and the key of a table in the database, and whether rows fit
//	types.go     SQL types and those of PostgreSQL
//	encode.go    values in PostgreSQL's binary format
//	array.go     arrays as text
//	ddl.go       CREATE TABLE and ALTER TABLE
//	lookup.go    rows of keys, for lookup joins; lookup_types.go: their types and values
//	errors.go    what an error of the database means
//
// The table weir_offsets has a row for each partition: the next offset to deliver, and the epoch of
// the session that may do so. Every claim increments the epoch, which fences the previous session:
// its deliveries find no row to update. Offsets are read from there and nowhere else.
package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
)

// Target is a table of a database. It implements sink.Target.
type Target struct {
	name    string // of the sink
	table   *plan.Table
	jdbc    *plan.JDBC
	secrets secret.Source
	logger  *slog.Logger

	// failpoint, if set, is called in a delivery after the rows are written and before the commit.
	failpoint func()
}

// New returns the target of a table with the connector jdbc.
func New(pipeline string, t *plan.Table, secrets secret.Source, logger *slog.Logger) *Target {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Target{name: sink.Name(pipeline, t.Name), table: t, jdbc: t.Delivery.(*plan.JDBC), secrets: secrets, logger: logger} //nolint:forcetypeassert // by contract
}

// idleLimit ends the transaction of a process that has stopped in it, whose locks would hold up its
// successor.
const idleLimit = "30s"

// begin starts a transaction. Deferred constraints would be reported by the commit, for no row in
// particular.
const begin = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '" + idleLimit + "'; SET CONSTRAINTS ALL IMMEDIATE"

// Connection returns how to connect to the database of a table with the connector jdbc.
func Connection(t *plan.Table, secrets secret.Source) (*pgx.ConnConfig, error) {
	return New("", t, secrets, nil).config()
}

// config returns how to connect.
func (t *Target) config() (*pgx.ConnConfig, error) {
	text := make(map[string]string)
	for name, value := range map[string]string{"url": t.jdbc.URL, "username": t.jdbc.User, "password": t.jdbc.Password} {
		expanded, err := t.secrets.Expand(value)
		if err != nil {
			return nil, sink.Refuse("table %s, option '%s': %w", t.table.Name, name, err)
		}
		text[name] = expanded
	}
	d, err := plan.ParseJDBC(text["url"])
	if err != nil {
		return nil, sink.Refuse("table %s: %w", t.table.Name, err)
	}
	settings := map[string]string{"application_name": "weir " + t.name, "dbname": d.Name, "connect_timeout": "10"}
	var hosts, ports []string
	for _, host := range d.Hosts {
		h, port, err := net.SplitHostPort(host)
		if err != nil {
			return nil, sink.Refuse("table %s: %w", t.table.Name, err)
		}
		hosts, ports = append(hosts, h), append(ports, port)
	}
	settings["host"], settings["port"] = strings.Join(hosts, ","), strings.Join(ports, ",")
	for key, value := range d.Settings {
		settings[key] = value
	}
	if text["username"] != "" {
		settings["user"], settings["password"] = text["username"], text["password"]
	}
	var dsn strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for key, value := range settings {
		fmt.Fprintf(&dsn, "%s='%s' ", key, escape.Replace(value))
	}
	config, err := pgx.ParseConfig(dsn.String())
	if err != nil { // its text may contain settings
		return nil, sink.Refuse("table %s: the settings of the connection are not valid: %s", t.table.Name, hide(err, text["password"]))
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // poolers such as PgBouncer keep no prepared statements
	return config, nil
}

// hide returns the text of an error without secrets.
func hide(err error, secrets ...string) string {
	text := secret.Redact(err.Error())
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "******")
		}
	}
	return text
}

func (t *Target) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := t.config()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, explain(err, "connect to the database of table %s", t.table.Name)
	}
	return conn, nil
}

// Positions implements sink.Target.
func (t *Target) Positions(ctx context.Context, from sink.Topic) (map[int32]int64, error) {
	conn, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	all := make(map[int32]int64)
	var known *string
	if err := conn.QueryRow(ctx, "SELECT to_regclass('weir_offsets')::text").Scan(&known); err != nil || known == nil {
		return all, explain(err, "read the positions of sink %s", t.name)
	}
	rows, err := conn.Query(ctx, "SELECT part, next FROM weir_offsets WHERE sink = $1 AND topic_id = $2", t.name, from.ID)
	if err != nil {
		return nil, explain(err, "read the positions of sink %s", t.name)
	}
	var part int32
	var next int64
	_, err = pgx.ForEachRow(rows, []any{&part, &next}, func() error {
		all[part] = next
		return nil
	})
	return all, explain(err, "read the positions of sink %s", t.name)
}

// AcceptPosition implements sink.Target.
func (t *Target) AcceptPosition(partition int32, next int64) string {
	return fmt.Sprintf("run in the database: UPDATE weir_offsets SET next = %d WHERE sink = '%s' AND part = %d", next, t.name, partition)
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	_ = conn.Close(ctx)
}
