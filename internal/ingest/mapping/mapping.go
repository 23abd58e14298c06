// Package mapping turns messages of devices and gateways into readings, as ingest.yaml describes.
//
//	mapping.go  Message, Result, Mapping: a message by the first rule whose topic matches
//	config.go   the rules in YAML
//	topic.go    topic filters with named wildcards
//	template.go templates and JSON paths
//	values.go   readings from the numbers of a message
//	clock.go    event times
//	preset.go   rules for well-known gateways
//	senml.go    SenML (RFC 8428)
//	plug.go     Sparkplug B
//	guess.go    a proposal of rules for messages
//
// Mapping is a pure function of the message and its time of arrival, but for Sparkplug B, where
// messages depend on earlier ones.
package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/ingest/sparkplug"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// Message is what a device or gateway sent.
type Message struct {
	Topic   string
	Payload []byte
	Arrived time.Time
	Origin  func() []source.Attribute // headers of its dead letters, besides the topic; nil for none
	Headers func() []source.Attribute // headers if it is kept as it is; nil for none
}

// Result is what a message contains.
type Result struct {
	Rule      string            // topic filter of the rule that matched; "" for none
	Readings  []reading.Reading // valid but for Seq and Boot
	Rejected  []spool.Rejected  // parts that are not valid readings
	Messages  []source.Message  // the message itself, if it is kept as it is
	Counts    []spool.Count     // the devices' own numbers of the readings
	Notes     []spool.Note      // what must be known about later messages
	Missing   int64             // messages before this one that did not arrive
	Reply     *Reply            // nil for none
	Refused   []Refusal         // parts that the answer to the sender refuses, and that are no dead letters
	Exemplars int               // examples of measurements, which are ignored
	Skipped   int               // fields that are neither numbers nor booleans, and points without a value
	Ignored   string            // why the message was ignored on purpose; "" if it was not
}

// Refusal is a reason for which parts of a message are refused.
type Refusal struct {
	Reason string
	Count  int64
}

// Mapping is a list of rules.
type Mapping struct {
	rules []*rule
	plugs bool // there is a rule for Sparkplug B
	plug  *sparkplug.State
}

// NotePrefix begins the keys of the notes that Restore needs.
const NotePrefix = sparkplug.NotePrefix

// Restore takes over what messages to an earlier process have said about later ones.
func (m *Mapping) Restore(notes map[string][]byte) {
	if m.plugs {
		m.plug = sparkplug.NewState(notes)
	}
}

// Reply is a message to be published.
type Reply struct {
	Topic   string
	Payload []byte
}

// maxReadings bounds the readings of one message.
const maxReadings = 10_000

// Map maps a message by the first rule whose topic matches. A message that matches no rule, or that
// has no reading, is rejected as a whole.
func (m *Mapping) Map(msg *Message) Result {
	for _, r := range m.rules {
		if names, ok := r.filter.match(msg.Topic); ok {
			var result Result
			if r.plug {
				result = m.applySparkplug(msg)
			} else {
				result = r.apply(msg, names)
			}
			result.Rule = r.filter.text
			return result
		}
	}
	var result Result
	result.reject(msg, msg.Payload, errors.New("no rule matches the topic"))
	return result
}

// Topics returns the topics of Kafka for messages that are kept as they are.
func (m *Mapping) Topics() (all []string) {
	for _, r := range m.rules {
		if r.to != "" && !slices.Contains(all, r.to) {
			all = append(all, r.to)
		}
	}
	return all
}

// Filters returns the topic filters of the rules as MQTT has them, without names.
func (m *Mapping) Filters() (all []string) {
	for _, r := range m.rules {
		levels := slices.Clone(r.filter.levels)
		for i, level := range levels {
			if level != "" && (level[0] == '+' || level[0] == '#') {
				levels[i] = level[:1]
			}
		}
		if plain := strings.Join(levels, "/"); !slices.Contains(all, plain) {
			all = append(all, plain)
		}
	}
	return all
}

// HeaderTopic is the header of a dead letter with the topic of its message.
const HeaderTopic = "weir-ingest-topic"

// attributes returns what f returns, if it is not nil.
func attributes(f func() []source.Attribute) []source.Attribute {
	if f == nil {
		return nil
	}
	return f()
}

func (r *Result) reject(msg *Message, raw []byte, reason error) {
	origin := append([]source.Attribute{{Name: HeaderTopic, Value: msg.Topic}}, attributes(msg.Origin)...)
	r.Rejected = append(r.Rejected, spool.Rejected{Raw: raw, Reason: reason.Error(), Origin: origin})
}

// add adds a reading, or rejects it if it is invalid.
func (r *Result) add(msg *Message, raw []byte, v reading.Reading) {
	if len(r.Readings) >= maxReadings {
		r.reject(msg, raw, fmt.Errorf("the message has more than %d readings", maxReadings))
		return
	}
	if err := v.Validate(); err != nil {
		r.reject(msg, raw, err)
		return
	}
	r.Readings = append(r.Readings, v)
}

// apply maps a message. names has the values of the topic's wildcards.
func (r *rule) apply(msg *Message, names captures) (result Result) {
	if r.to != "" {
		result.Messages = []source.Message{{Topic: r.to, Key: msg.Topic, Value: msg.Payload, TS: msg.Arrived.UnixMilli(), Headers: attributes(msg.Headers)}}
		return result
	}
	if why := r.ignore(names); why != "" {
		return Result{Ignored: why}
	}
	if r.bare {
		r.applyBare(msg, names, &result)
		return result
	}
	root, err := decodeJSON(msg.Payload)
	if err != nil {
		result.reject(msg, msg.Payload, err)
		return result
	}
	if r.preset != nil && r.preset.other != nil {
		if why := r.preset.other(root); why != "" {
			return Result{Ignored: why}
		}
	}
	if r.senml {
		err = applySenML(msg, root, &result)
	} else {
		err = r.applyElements(msg, names, root, &result)
	}
	if err == nil && len(result.Readings) == 0 && len(result.Rejected) == 0 {
		err = fmt.Errorf("the message has no reading: none of its %d fields is a number or a boolean", result.Skipped)
	}
	if err != nil {
		result.reject(msg, msg.Payload, err)
	}
	return result
}

func (r *rule) applyBare(msg *Message, names captures, result *Result) {
	s := &scope{names: names}
	v, err := r.reading(msg, s)
	if err == nil {
		v.Value, err = bareValue(msg.Payload)
	}
	if err != nil {
		result.reject(msg, msg.Payload, err)
		return
	}
	result.add(msg, msg.Payload, v)
}

// applyElements maps each element of the message, or the message itself.
func (r *rule) applyElements(msg *Message, names captures, root any, result *Result) error {
	if r.each == nil {
		r.applyElement(msg, &scope{names: names, root: root, element: root}, msg.Payload, result)
		return nil
	}
	found, ok := r.each.find(root)
	if !ok {
		return fmt.Errorf("the message has no %s", r.each)
	}
	list, ok := found.([]any)
	if !ok {
		return fmt.Errorf("%s is not an array", r.each)
	}
	if len(list) == 0 {
		return fmt.Errorf("%s is empty", r.each)
	}
	for _, element := range list {
		raw, err := json.Marshal(element)
		if err != nil {
			return err
		}
		before := len(result.Readings) + len(result.Rejected)
		r.applyElement(msg, &scope{names: names, root: root, element: element}, raw, result)
		if len(result.Readings)+len(result.Rejected) == before {
			result.reject(msg, raw, errors.New("the element has no reading"))
		}
	}
	return nil
}

func (r *rule) applyElement(msg *Message, s *scope, raw []byte, result *Result) {
	v, err := r.reading(msg, s)
	if err != nil {
		result.reject(msg, raw, err)
		return
	}
	defer func(from int) { r.count(msg, s, &v, from, result) }(len(result.Readings))
	if r.value != nil {
		found, ok := r.value.path().in(s)
		if !ok {
			result.reject(msg, raw, fmt.Errorf("there is no value at %s", r.value))
			return
		}
		if v.Value, err = explicitNumber(found); err != nil {
			result.reject(msg, raw, fmt.Errorf("%s: %w", r.value, err))
			return
		}
		result.add(msg, raw, v)
		return
	}
	fields := s.element
	if r.fields != nil {
		found, ok := r.fields.in(s)
		if !ok {
			result.reject(msg, raw, fmt.Errorf("the message has no %s%s", r.fields, r.hint()))
			return
		}
		fields = found
	}
	r.flatten(msg, s, raw, v, "", fields, result)
}

// count adds the device's own number of the readings that begin at from; there are none if what it
// sent is a dead letter.
func (r *rule) count(msg *Message, s *scope, v *reading.Reading, from int, result *Result) {
	if r.seq == nil {
		return
	}
	n := spool.Count{Device: msg.Topic + " " + v.DeviceID, From: from, To: len(result.Readings)}
	switch found, ok := r.seq.in(s); {
	case ok:
		seq, err := strconv.ParseInt(fmt.Sprint(found), 10, 64)
		if err != nil || seq < 0 {
			return
		}
		n.Seq = seq
	case !r.zero:
		return
	}
	if r.counter != nil {
		name, err := r.counter.expand(s)
		if err != nil {
			return
		}
		n.Device = name
	}
	if r.boot != nil {
		n.Boot, _ = r.boot.expand(s) // without one, repeats cannot be told
	}
	if r.restarts {
		n.At = v.TS
	}
	result.Counts = append(result.Counts, n)
}

// reading returns a reading without its value; its sensor is empty if each field is a sensor.
func (r *rule) reading(msg *Message, s *scope) (v reading.Reading, err error) {
	if v.DeviceID, err = r.device.expand(s); err != nil {
		return v, fmt.Errorf("device: %w", err)
	}
	if r.sensor != nil {
		if v.Sensor, err = r.sensor.expand(s); err != nil {
			return v, fmt.Errorf("sensor: %w", err)
		}
	}
	if v.Unit, err = r.unitOf(v.Sensor, s); err != nil {
		return v, fmt.Errorf("unit: %w", err)
	}
	v.TS, err = r.clock.time(s, msg.Arrived)
	return v, err
}

// unitOf returns the unit of a sensor: by its name, or else the rule's.
func (r *rule) unitOf(sensor string, s *scope) (string, error) {
	if unit, ok := r.units[sensor]; ok {
		return unit, nil
	}
	if r.unit == nil {
		return "", nil
	}
	return r.unit.expand(s)
}

// decodeJSON decodes a whole payload; numbers stay json.Number.
func decodeJSON(payload []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the message is empty")
		}
		return nil, fmt.Errorf("the message is not JSON: %w", err)
	}
	if rest := payload[d.InputOffset():]; len(bytes.TrimLeft(rest, " \t\r\n")) > 0 {
		return nil, errors.New("the message is not JSON: something follows its first value")
	}
	return root, nil
}
