// Package mqtt publishes rows to an MQTT broker with QoS 1, at least once: for commands and
// thresholds back to devices.
//
//	mqtt.go   Sender: connections and messages
//	topic.go  topics from values of rows
package mqtt

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/ingest/subscribe"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
)

// Sender publishes rows. It implements sink.Sender.
type Sender struct {
	name    string // of the sink
	table   *plan.Table
	to      *plan.MQTT
	secrets secret.Source
}

// New returns the target of a table with the connector mqtt.
func New(c broker.Config, pipeline string, t *plan.Table, secrets secret.Source) sink.Target {
	s := &Sender{name: sink.Name(pipeline, t.Name), table: t, to: t.Delivery.(*plan.MQTT), secrets: secrets} //nolint:forcetypeassert // by contract
	return sink.AtLeastOnce(c, pipeline, t, s)
}

// Into implements sink.Sender. Rows may be published elsewhere after a restart.
func (s *Sender) Into() string { return "" }

// sending is a connection. It implements sink.Sending.
type sending struct {
	*Sender
	publisher *subscribe.Publisher
}

// Open implements sink.Sender.
func (s *Sender) Open(ctx context.Context) (sink.Sending, error) {
	for option, value := range map[string]string{"username": s.to.User, "password": s.to.Password} {
		if _, err := s.secrets.Expand(value); err != nil {
			return nil, sink.Refuse("table %s, option '%s': %w", s.table.Name, option, err)
		}
	}
	c := &subscribe.Config{
		URL: s.to.URL, ClientID: s.to.ClientID, Version: s.to.Version, Username: s.to.User, Password: s.to.Password,
		TLS: subscribe.TLSConfig{CA: s.to.CA, Cert: s.to.Cert, Key: s.to.Key},
	}
	if c.ClientID == "" { // processes of a pipeline have different ones
		c.ClientID = "weir-" + strings.ToLower(rand.Text()[:12])
	}
	publisher, err := subscribe.ConnectPublisher(ctx, c, s.secrets)
	if err != nil {
		return nil, fmt.Errorf("connect to the MQTT broker of table %s: %w", s.table.Name, err)
	}
	return &sending{s, publisher}, nil
}

// Close implements sink.Sending.
func (s *sending) Close() { s.publisher.Close() }

// row is a row of a batch, or a deleted one.
type row struct {
	origin  *kgo.Record
	cols    []*column.Column
	at      int
	deleted bool
}

// chunk is the number of messages between two checks that the partitions are still ours.
const chunk = 200

// Send implements sink.Sending. Messages of a partition are published in the order of their
// offsets.
func (s *sending) Send(ctx context.Context, b *sink.Batch, p *sink.Progress) error {
	var rows []row
	for i, r := range b.Origins {
		rows = append(rows, row{r, b.Rows.Cols, i, false})
	}
	for i, r := range b.DeletedOrigins {
		rows = append(rows, row{r, b.Deleted.Cols, i, true})
	}
	slices.SortFunc(rows, func(a, b row) int { return sink.ByOffset(a.origin, b.origin) })
	for part := range slices.Chunk(rows, chunk) {
		if err := p.Sending(ctx, -1, 0); err != nil {
			return err
		}
		if err := s.publish(ctx, part, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *sending) publish(ctx context.Context, rows []row, p *sink.Progress) error {
	var messages []subscribe.Message
	var origins []*kgo.Record
	for _, r := range rows {
		m, err := s.message(r)
		if err != nil {
			p.Refuse(sink.Refusal{Origin: r.origin, Err: err})
			continue
		}
		messages, origins = append(messages, m), append(origins, r.origin)
	}
	err := s.publisher.Publish(ctx, messages, func(i int, err error) error {
		var rejected *subscribe.RejectedError
		if errors.As(err, &rejected) {
			if rejected.Busy() {
				return fmt.Errorf("publish to %q: %w", messages[i].Topic, err)
			}
			p.Refuse(sink.Refusal{Origin: origins[i], Err: fmt.Errorf("publish to %q: %w", messages[i].Topic, err)})
		}
		p.Acknowledged(origins[i].Partition, origins[i].Offset+1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("publish rows of table %s: %w", s.table.Name, err)
	}
	for _, r := range rows { // also those that were refused
		p.Acknowledged(r.origin.Partition, r.origin.Offset+1)
	}
	return nil
}

// overhead is how many bytes a packet has besides topic and payload, at most.
const overhead = 16

func (s *sending) message(r row) (m subscribe.Message, err error) {
	if m.Topic, err = s.topic(r); err != nil {
		return m, err
	}
	m.Retain = s.to.Retain
	if !r.deleted { // an empty message clears the retained one
		if m.Payload, err = s.payload(r); err != nil {
			return m, err
		}
		if s.to.Retain && len(m.Payload) == 0 {
			return m, errEmpty
		}
	}
	if most := s.publisher.Largest(); most > 0 && len(m.Topic)+len(m.Payload)+overhead > most {
		return m, fmt.Errorf("the message has %d bytes, more than the %d that the broker takes", len(m.Topic)+len(m.Payload)+overhead, most)
	}
	return m, nil
}

var errEmpty = errors.New("the payload is empty, and a retained message without payload would clear the topic")

func (s *sending) payload(r row) ([]byte, error) {
	if s.to.Payload < 0 {
		if !json.Valid(r.origin.Value) {
			return nil, errors.New("the row is not JSON")
		}
		return r.origin.Value, nil
	}
	c := r.cols[s.to.Payload]
	if c.Null[r.at] {
		return nil, fmt.Errorf("column %s of the payload is NULL", s.table.Kafka.Value.Fields[s.to.Payload].Name)
	}
	return []byte(c.S[r.at]), nil
}
