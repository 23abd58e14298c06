// Package intake is the way of messages into the spool that all protocols share: a message is
// mapped, counted and shown in samples, and what it contains becomes an entry.
//
//	intake.go  Message, Intake: from a message to an entry
//	sample.go  a few messages beside what the rules made of them; reasons of dead letters
//	metrics.go counters by protocol
package intake

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/source"
)

// Protocols by which messages arrive.
const (
	HTTP        = "http"
	OTLP        = "otlp"         // metrics of OpenTelemetry
	RemoteWrite = "remote-write" // of Prometheus
	MQTT        = "mqtt"         // from clients of the embedded broker
	MQTTSource  = "mqtt-source"  // from another broker
)

// Headers of dead letters, besides mapping.HeaderTopic.
const (
	HeaderClient = "weir-ingest-client" // id of an MQTT client, or the address of an HTTP client
	HeaderQoS    = "weir-ingest-qos"
	HeaderRetain = "weir-ingest-retain"
)

// Message is what a device or gateway sent.
type Message struct {
	Protocol string
	Client   string // who sent it, for dead letters
	Topic    string
	Payload  []byte
	Arrived  time.Time

	QoS    byte // of MQTT, like Retain
	Retain bool

	Delivery *spool.Delivery // nil if the sender does not repeat what is not acknowledged
}

// Reject returns a dead letter with a whole message, as an entry for the spool.
func (in *Intake) Reject(msg *Message, reason error) *spool.Entry {
	origin := append([]source.Attribute{{Name: mapping.HeaderTopic, Value: msg.Topic}}, msg.origin()...)
	result := mapping.Result{Rejected: []spool.Rejected{{Raw: msg.Payload, Reason: reason.Error(), Origin: origin}}}
	in.Record(msg, &result)
	return &spool.Entry{Rejected: result.Rejected, Delivery: msg.Delivery}
}

func (m *Message) mqtt() bool { return m.Protocol == MQTT || m.Protocol == MQTTSource }

// origin are the headers of its dead letters, besides the topic.
func (m *Message) origin() []source.Attribute {
	origin := []source.Attribute{{Name: HeaderClient, Value: m.Client}}
	if m.mqtt() {
		origin = append(origin,
			source.Attribute{Name: HeaderQoS, Value: strconv.Itoa(int(m.QoS))},
			source.Attribute{Name: HeaderRetain, Value: strconv.FormatBool(m.Retain)})
	}
	return origin
}

// headers are the headers of a message that is kept as it is.
func (m *Message) headers() []source.Attribute {
	if !m.mqtt() {
		return []source.Attribute{{Name: "http.topic", Value: m.Topic}, {Name: "http.client", Value: m.Client}}
	}
	return []source.Attribute{
		{Name: "mqtt.topic", Value: m.Topic}, {Name: "mqtt.client", Value: m.Client},
		{Name: "mqtt.qos", Value: strconv.Itoa(int(m.QoS))}, {Name: "mqtt.retain", Value: strconv.FormatBool(m.Retain)},
	}
}

// Digest returns the digest of a topic and a payload, for a Delivery.
func Digest(topic string, payload []byte) (sum [sha256.Size]byte) {
	d := sha256.New()
	_, _ = d.Write(binary.AppendUvarint(nil, uint64(len(topic)))) // it never fails
	_, _ = d.Write([]byte(topic))
	_, _ = d.Write(payload)
	d.Sum(sum[:0])
	return sum
}

// Intake maps messages. It may be used by several goroutines.
type Intake struct {
	mapping *mapping.Mapping
	spool   *spool.Spool

	mu       sync.Mutex
	counts   map[string]*Counts // by protocol
	reasons  map[string]int64   // of dead letters
	samples  ring
	rejected ring
}

// New returns the intake of a spool.
func New(m *mapping.Mapping, s *spool.Spool) *Intake {
	if s != nil {
		m.Restore(s.Notes(mapping.NotePrefix))
	}
	return &Intake{mapping: m, spool: s, counts: make(map[string]*Counts), reasons: make(map[string]int64)}
}

// Spool returns the spool.
func (in *Intake) Spool() *spool.Spool { return in.spool }

// Map returns what a message contains, as an entry for the spool. The entry is nil if there is
// nothing to store, because the message is ignored on purpose: it can be acknowledged at once.
func (in *Intake) Map(msg *Message) (*spool.Entry, mapping.Result) {
	result := in.mapping.Map(&mapping.Message{Topic: msg.Topic, Payload: msg.Payload, Arrived: msg.Arrived, Origin: msg.origin, Headers: msg.headers})
	in.Record(msg, &result)
	if len(result.Readings)+len(result.Rejected)+len(result.Messages)+len(result.Notes) == 0 {
		return nil, result
	}
	return &spool.Entry{
		Readings: result.Readings, Rejected: result.Rejected, Messages: result.Messages, Counts: result.Counts, Notes: result.Notes, Delivery: msg.Delivery,
	}, result
}

// Put maps a message and stores what it contains. done is called as spool.Append does; or by Put
// itself, if there is nothing to store.
func (in *Intake) Put(msg *Message, done func(spool.Receipt, error)) {
	entry, _ := in.Map(msg)
	if entry == nil {
		done(spool.Receipt{}, nil)
		return
	}
	in.spool.Append(entry, done)
}
