package sparkplug

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

var arrived = time.UnixMilli(1_800_000_000_000)

// field appends fields of a metric.
type field func(b []byte) []byte

func varint(number protowire.Number, v uint64) field {
	return func(b []byte) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
	}
}

func name(s string) field {
	return func(b []byte) []byte {
		return protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), s)
	}
}

func alias(n uint64) field { return varint(2, n) }
func at(ms uint64) field   { return varint(3, ms) }
func typed(t uint64) field { return varint(4, t) }
func null() field          { return varint(7, 1) }
func short(v uint32) field { return varint(10, uint64(v)) }
func long(v uint64) field  { return varint(11, v) }
func truth() field         { return varint(14, 1) }

func double(v float64) field {
	return func(b []byte) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(b, 13, protowire.Fixed64Type), math.Float64bits(v))
	}
}

func float(v float32) field {
	return func(b []byte) []byte {
		return protowire.AppendFixed32(protowire.AppendTag(b, 12, protowire.Fixed32Type), math.Float32bits(v))
	}
}

func words(s string) field {
	return func(b []byte) []byte {
		return protowire.AppendString(protowire.AppendTag(b, 15, protowire.BytesType), s)
	}
}

func of(fields ...field) (b []byte) {
	for _, f := range fields {
		b = f(b)
	}
	return b
}

// message encodes a payload; seq is left out if it is negative.
func message(seq int, metrics ...[]byte) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1_800_000_000_001)
	for _, m := range metrics {
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), m)
	}
	if seq >= 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(seq))
	}
	return b
}

// plant is a state, whose notes survive.
type plant struct {
	*testing.T
	state *State
	notes map[string][]byte
	now   time.Time
}

func newPlant(t *testing.T) *plant {
	return &plant{T: t, state: NewState(nil), notes: make(map[string][]byte), now: arrived}
}

func (p *plant) restart() { p.state = NewState(p.notes) }

// send returns what a message becomes, as text.
func (p *plant) send(topic string, data []byte) string {
	p.Helper()
	r, err := p.state.Map("spBv1.0/"+topic, data, p.now)
	var b strings.Builder
	if err != nil {
		fmt.Fprintf(&b, "error: %v", err)
	}
	if r == nil {
		return b.String()
	}
	for key, value := range r.Notes {
		p.notes[key] = value
	}
	if err == nil {
		for _, v := range r.Readings {
			fmt.Fprintf(&b, "%s %s %v @%d; ", v.DeviceID, v.Sensor, v.Value, v.TS-arrived.UnixMilli())
		}
		if r.Ignored != "" {
			fmt.Fprintf(&b, "ignored: %s", r.Ignored)
		}
		if r.Skipped > 0 {
			fmt.Fprintf(&b, "skipped %d; ", r.Skipped)
		}
	}
	if r.Missing > 0 {
		fmt.Fprintf(&b, " missing %d", r.Missing)
	}
	if r.Topic != "" {
		fmt.Fprintf(&b, " asks %s", r.Topic)
		if cmd, err := decode(r.Command); err != nil || cmd.metrics[0].name != "Node Control/Rebirth" || cmd.metrics[0].value != 1 {
			p.Errorf("the command is %+v, %v", cmd, err)
		}
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func (p *plant) is(got, want string) {
	p.Helper()
	if got != want {
		p.Errorf("got  %s\nwant %s", got, want)
	}
}

func nodeBirth(boot uint64) []byte {
	return message(0, of(name("bdSeq"), typed(typeUInt64), long(boot)), of(name("Node Control/Rebirth"), typed(typeBoolean)),
		of(name("Temp"), alias(1), typed(10), double(21.5)), of(name("Offset"), alias(2), typed(typeInt16), short(math.MaxUint32)))
}

func deviceBirth(seq int) []byte {
	return message(seq, of(name("Speed"), alias(3), typed(9), float(1.5), at(1_800_000_000_500)), of(name("Mode"), alias(4), typed(12), words("auto")), of(name("Run"), alias(5), typed(11), truth()))
}

// A session: births, data by alias and by name, signed and null values, deaths.
func TestSession(t *testing.T) {
	p := newPlant(t)
	p.is(p.send("G/NBIRTH/E", nodeBirth(7)), "G/E online 1 @0; G/E Temp 21.5 @1; G/E Offset -1 @1")
	p.is(p.send("G/DBIRTH/E/D", deviceBirth(1)), "G/E/D online 1 @0; G/E/D Speed 1.5 @500; G/E/D Run 1 @1; skipped 1")
	p.is(p.send("G/DDATA/E/D", message(2, of(alias(3), float(2.5)), of(alias(4), words("off")), of(alias(5), null()))), "G/E/D Speed 2.5 @1; skipped 2")
	p.is(p.send("G/NDATA/E", message(3, of(alias(2), short(0xFFFE)), of(name("Temp"), double(3)))), "G/E Offset -2 @1; G/E Temp 3 @1")
	p.is(p.send("G/DDATA/E/D", message(4, of(alias(4), words("on")))), "ignored: none of its metrics is a numberskipped 1")
	p.is(p.send("G/NCMD/E", message(-1)), "ignored: it is a command")
	p.is(p.send("STATE/host", []byte(`{"online":true}`)), "ignored: it is the state of a host")
	p.is(p.send("G/DDEATH/E/D", message(5)), "G/E/D online 0 @0")
	p.is(p.send("G/NDEATH/E", message(-1, of(name("bdSeq"), long(6)))), "ignored: it is the death of an earlier session")
	p.is(p.send("G/NDEATH/E", message(-1, of(name("bdSeq"), long(7)))), "G/E online 0 @0; G/E/D online 0 @0")
}

// Aliases are kept over a restart, as long as no message is missing: if one is, nothing is guessed.
func TestRestart(t *testing.T) {
	p := newPlant(t)
	p.send("G/NBIRTH/E", nodeBirth(7))
	p.send("G/DBIRTH/E/D", deviceBirth(1))
	p.restart()
	p.is(p.send("G/DDATA/E/D", message(2, of(alias(3), float(2.5)))), "G/E/D Speed 2.5 @1")
	p.restart()
	const refused = "error: a message of the node is missing: it may have been a birth with other aliases; a new one is requested"
	p.is(p.send("G/DDATA/E/D", message(4, of(alias(3), float(3.5)))), refused+" missing 1 asks spBv1.0/G/NCMD/E")
	p.restart()
	p.is(p.send("G/DDATA/E/D", message(5, of(alias(3), float(3.5)))), refused+" asks spBv1.0/G/NCMD/E")
	p.is(p.send("G/DDATA/E/D", message(6, of(alias(3), float(3.5)))), refused) // it was asked just now
	p.is(p.send("G/DDATA/E/D", message(7, of(name("Speed"), typed(9), float(4.5)))), "G/E/D Speed 4.5 @1")
	p.send("G/NBIRTH/E", nodeBirth(8))
	p.is(p.send("G/DDATA/E/D", message(1, of(alias(3), float(5.5)))), "error: the alias 3 is not in the birth: it may have been a birth with other aliases; a new one is requested")
	p.send("G/NBIRTH/E", nodeBirth(8))
	p.send("G/DBIRTH/E/D", deviceBirth(1))
	p.is(p.send("G/DDATA/E/D", message(2, of(alias(3), float(6.5)))), "G/E/D Speed 6.5 @1")
}

// The sequence number wraps, and an unknown node is asked.
func TestSequence(t *testing.T) {
	p := newPlant(t)
	p.is(p.send("G/NDATA/E", message(9, of(alias(1), double(1)))), "error: the birth of the node is not known: it is requested asks spBv1.0/G/NCMD/E")
	p.send("G/NBIRTH/E", nodeBirth(1))
	for i := 1; i < 600; i++ {
		p.is(p.send("G/NDATA/E", message(i%256, of(alias(1), double(1)))), "G/E Temp 1 @1")
	}
	for want, topic := range map[string]string{
		"the topic is not":     "G/NDATA",
		"the message type":     "G/NDATA/E/D",
		"the topic has the me": "G/XDATA/E",
	} {
		if got := p.send(topic, message(1)); !strings.Contains(got, want) {
			t.Errorf("%s: %s", topic, got)
		}
	}
	if got := p.send("G/NDATA/E", []byte{0xff}); !strings.Contains(got, "not a Sparkplug B payload") {
		t.Error(got)
	}
}

func FuzzSparkplug(f *testing.F) {
	f.Add("DDATA/E/D", nodeBirth(1), deviceBirth(1), message(2, of(alias(3), float(2.5))))
	f.Add("NDEATH/E", nodeBirth(1), message(2), message(3, of(alias(1), long(1<<63))))
	f.Fuzz(func(t *testing.T, topic string, a, b, c []byte) {
		s := NewState(nil)
		notes := make(map[string][]byte)
		for i, data := range [][]byte{a, b, c} {
			r, err := s.Map("spBv1.0/G/"+[]string{"NBIRTH/E", "DBIRTH/E/D", topic}[i], data, arrived)
			if r == nil && err == nil {
				t.Fatal("neither a result nor an error")
			}
			if r != nil {
				if err == nil && r.Ignored == "" && len(r.Readings) == 0 {
					t.Fatal("neither a reading nor a reason")
				}
				for key, value := range r.Notes {
					notes[key] = value
				}
			}
		}
		NewState(notes)
	})
}

// FuzzNotes continues with a note that nobody has written: messages of the node are mapped, or
// named, as if it were not known.
func FuzzNotes(f *testing.F) {
	r, err := NewState(nil).Map("spBv1.0/G/NBIRTH/E", nodeBirth(1), arrived)
	if err != nil {
		f.Fatal(err)
	}
	for _, value := range r.Notes {
		f.Add(value, []byte("0"))
	}
	for _, other := range []string{``, `null`, `{}`, `7`, `{"boot":1}`, `{"boot":1,"devices":null}`, `{"boot":1,"devices":{"D":null}}`} {
		f.Add([]byte(other), []byte("-9223372036854775808"))
	}
	f.Fuzz(func(t *testing.T, table, seq []byte) {
		s := NewState(map[string][]byte{NotePrefix + "G/E table": table, NotePrefix + "G/E seq": seq})
		for topic, data := range map[string][]byte{"NDATA/E": message(2), "DBIRTH/E/D": deviceBirth(1), "DDATA/E/D": message(2, of(alias(3), float(2.5))), "NBIRTH/E": nodeBirth(1)} {
			if r, err := s.Map("spBv1.0/G/"+topic, data, arrived); r == nil && err == nil {
				t.Fatalf("%s: neither a result nor an error", topic)
			}
		}
	})
}
