// Package influx delivers rows as points of the line protocol to InfluxDB, VictoriaMetrics, QuestDB
// and other servers that know it. A point replaces one of the same measurement, tags and time, so
// that a row that is sent again changes nothing.
//
//	influx.go  Sender: requests, and what answers mean
//	line.go    rows as lines; rows that can't be one
package influx

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/web"
	"weir.example/weir/internal/webhook"
)

// Limits of a request.
const (
	MaxRows  = 5_000
	MaxBytes = 4 << 20
)

// Sender writes points. It implements sink.Sender.
type Sender struct {
	table   *plan.Table
	lines   *plan.LineProtocol
	secrets secret.Source
}

// New returns the target of a table with the connector influxdb.
func New(c broker.Config, pipeline string, t *plan.Table, secrets secret.Source) sink.Target {
	return sink.AtLeastOnce(c, pipeline, t, &Sender{table: t, lines: t.Delivery.(*plan.LineProtocol), secrets: secrets}) //nolint:forcetypeassert // by contract
}

// Into implements sink.Sender.
func (s *Sender) Into() string {
	l := s.lines
	text := "measurement " + l.Measurement
	if l.NamedBy >= 0 {
		text = "measurements named by " + s.name(l.NamedBy)
	}
	if l.Bucket+l.Database != "" {
		text += " of " + strings.Trim(l.Org+"/"+l.Bucket+l.Database+"/"+l.RetentionPolicy, "/")
	}
	var tags []string
	for _, i := range l.Tags {
		tags = append(tags, s.name(i))
	}
	return text + " by tags (" + strings.Join(tags, ", ") + ")"
}

func (s *Sender) name(i int) string { return s.table.Kafka.Value.Fields[i].Name }

// sending is a client with its settings. It implements sink.Sending.
type sending struct {
	*Sender
	server *web.Server
	url    string // of writes
}

// Open implements sink.Sender.
func (s *Sender) Open(context.Context) (sink.Sending, error) {
	l := s.lines
	server, err := web.Open(s.table, &l.Web, s.secrets)
	if err != nil {
		return nil, err
	}
	open := &sending{Sender: s, server: server}
	if open.url, err = s.address(server.URL); err != nil {
		return nil, err
	}
	server.Headers.Set("Content-Type", "text/plain; charset=utf-8")
	if l.Token != "" {
		token, err := server.Expand("token", l.Token)
		if err != nil {
			return nil, err
		}
		server.Headers.Set("Authorization", "Token "+token)
	}
	if l.User != "" {
		user, err := server.Expand("username", l.User)
		if err != nil {
			return nil, err
		}
		password, err := server.Expand("password", l.Password)
		if err != nil {
			return nil, err
		}
		server.Headers.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	}
	return open, server.Connect(l.Token, l.Password)
}

// precisions are the names in version 1 of the API; nanoseconds are the default.
var precisions = map[string]string{"us": "u", "ms": "ms", "s": "s"}

// address returns the URL of writes: the one of the configuration if its path says so, otherwise
// that of the API below it.
func (s *Sender) address(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", sink.Refuse("table %s: the option 'url' is not valid", s.table.Name)
	}
	l, q := s.lines, u.Query()
	if path := strings.TrimSuffix(u.Path, "/"); !strings.HasSuffix(path, "/write") {
		u.Path = path + "/write"
		if l.Bucket != "" {
			u.Path = path + "/api/v2/write"
		}
	}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	if l.Bucket != "" {
		set("bucket", l.Bucket)
		set("org", l.Org)
		set("precision", l.Precision)
	} else {
		set("db", l.Database)
		set("rp", l.RetentionPolicy)
		set("precision", precisions[l.Precision])
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Close implements sink.Sending.
func (s *sending) Close() { s.server.Close() }

// point is a row as a line.
type point struct {
	origin *kgo.Record
	line   []byte
}

var errDeleted = errors.New("the row was deleted, and the line protocol can't delete its point, which remains")

// Send implements sink.Sending.
func (s *sending) Send(ctx context.Context, b *sink.Batch, p *sink.Progress) error {
	for _, origin := range b.DeletedOrigins {
		p.Refuse(sink.Refusal{Origin: origin, Err: errDeleted})
	}
	var points []point
	size := 0
	for row, origin := range b.Origins {
		line, err := s.line(nil, b.Rows.Cols, row)
		if err != nil {
			p.Refuse(sink.Refusal{Origin: origin, Err: err})
			continue
		}
		if len(points) == MaxRows || size+len(line) > MaxBytes && len(points) > 0 {
			if err := s.write(ctx, points, p); err != nil {
				return err
			}
			points, size = points[:0], 0
		}
		points, size = append(points, point{origin, line}), size+len(line)
	}
	return s.write(ctx, points, p)
}

// write writes points in one request, and in smaller ones if the server refuses some of them.
func (s *sending) write(ctx context.Context, points []point, p *sink.Progress) error {
	return sink.Isolate(len(points), func(from, to int) error {
		if err := p.Sending(ctx, -1, 0); err != nil {
			return err
		}
		var body []byte
		for _, one := range points[from:to] {
			body = append(body, one.line...)
		}
		answer, err := s.server.Send(ctx, http.MethodPost, s.url, s.server.Headers.Clone(), body)
		if err != nil {
			return fmt.Errorf("write points of table %s: %w", s.table.Name, err)
		}
		return s.judge(answer)
	}, func(err error) bool { return errors.As(err, new(*rowError)) }, func(row int, err error) {
		p.Refuse(sink.Refusal{Origin: points[row].origin, Err: fmt.Errorf("refused by the server: %w", err)})
	})
}

// rowError is an answer that objects to points.
type rowError struct{ error }

func (e *rowError) Unwrap() error { return e.error }

// judge returns what an answer means.
func (s *sending) judge(a *webhook.Answer) error {
	switch {
	case a.Status == http.StatusNoContent:
		return nil
	case a.OK():
		return sink.Refuse("table %s: the server answers %d instead of 204: is the option 'url' that of a server of the line protocol? It says: %s", s.table.Name, a.Status, a.Text)
	case a.Later():
		return &sink.LaterError{Err: fmt.Errorf("write points of table %s: %w", s.table.Name, a.Err()), After: a.RetryAfter}
	case a.Endpoint():
		return sink.Refuse("table %s: the server does not take its points: %w. Check the options 'url', %s", s.table.Name, a.Err(), s.account())
	}
	return &rowError{a.Err()}
}

// account names the options that a refused request may be about.
func (s *sending) account() string {
	if s.lines.Bucket != "" {
		return "'org', 'bucket' and 'token'"
	}
	return "'database', 'username' and 'password'"
}
