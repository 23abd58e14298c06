// Package sparkplug turns Sparkplug B messages into readings.
//
//	sparkplug.go  State: births, aliases, sequence numbers, deaths
//	payload.go    the protobuf payload
//
// A node names its metrics in births only; data refers to them by aliases. An alias means nothing
// if a message before it is missing, since that may have been a birth with other aliases: such data
// is refused until the node has sent a birth again, which is requested.
package sparkplug

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"weir.example/weir/internal/saved"
	"weir.example/weir/reading"
)

// State is what is known about all nodes. It may be used by several goroutines.
type State struct {
	mu    sync.Mutex
	nodes map[string]*node // by GROUP/NODE
}

// node is an edge node, as it is noted.
type node struct {
	Boot    int64                       `json:"boot"`    // bdSeq of its birth
	Seq     int64                       `json:"-"`       // of its last message
	Suspect string                      `json:"-"`       // why aliases may mean something else; "" if they do not
	Devices map[string]map[string]named `json:"devices"` // metrics by device, "" for the node itself, and by alias or name

	asked time.Time // when a birth was last requested
}

// named is a metric of a birth.
type named struct {
	Name string `json:"n"`
	Type uint32 `json:"t"`
}

// maxNodes bounds the nodes that are known.
const maxNodes = 10_000

// Result is what a message contains.
type Result struct {
	Readings []reading.Reading
	Skipped  int               // metrics that are no numbers
	Ignored  string            // why the message does not count; "" if it does
	Notes    map[string][]byte // what must be known after a restart
	Missing  int64             // messages of the node that did not arrive
	Topic    string            // to which Command is to be published; "" for none
	Command  []byte
}

// NotePrefix begins the keys of notes.
const NotePrefix = "sparkplug/"

// NewState returns a state with the notes of an earlier process.
func NewState(notes map[string][]byte) *State {
	s := &State{nodes: make(map[string]*node)}
	for key, value := range notes {
		id, ok := strings.CutSuffix(strings.TrimPrefix(key, NotePrefix), " table")
		n := &node{}
		if !ok || saved.Decode(value, n, "boot", "devices") != nil {
			continue
		}
		n.Suspect = "the sequence number of the node's last message is not known"
		var seq int64
		if json.Unmarshal(notes[NotePrefix+id+" seq"], &seq) == nil {
			n.Seq, n.Suspect = seq, ""
			if seq < 0 {
				n.Suspect = "a message of the node is missing"
			}
		}
		s.nodes[id] = n
	}
	return s
}

// Map maps a message. Readings of the sensor "online" say which nodes and devices are.
func (s *State) Map(topic string, data []byte, arrived time.Time) (*Result, error) {
	levels := strings.Split(topic, "/")
	if len(levels) >= 2 && levels[0] == "spBv1.0" && levels[1] == "STATE" {
		return &Result{Ignored: "it is the state of a host"}, nil
	}
	if len(levels) < 4 || len(levels) > 5 || levels[0] != "spBv1.0" || slices.Contains(levels, "") {
		return nil, errors.New("the topic is not spBv1.0/GROUP/TYPE/NODE or spBv1.0/GROUP/TYPE/NODE/DEVICE")
	}
	group, kind, id, device := levels[1], levels[2], levels[1]+"/"+levels[3], ""
	if len(levels) == 5 {
		device = levels[4]
	}
	switch {
	case kind == "NCMD" || kind == "DCMD":
		return &Result{Ignored: "it is a command"}, nil
	case !slices.Contains([]string{"NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"}, kind), (kind[0] == 'D') != (device != ""):
		return nil, fmt.Errorf("the topic has the message type %q", kind)
	}
	p, err := decode(data)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &mapped{state: s, id: id, device: device, payload: p, arrived: arrived.UnixMilli(), result: &Result{Notes: make(map[string][]byte)}}
	if err := m.message(kind); err != nil {
		if n := s.nodes[id]; n != nil && n.Suspect == "" {
			return nil, err
		}
		m.ask(group, levels[3], arrived)
		return m.result, err
	}
	return m.result, nil
}

// mapped is a message that is being mapped.
type mapped struct {
	state   *State
	id      string
	device  string
	payload *payload
	arrived int64
	result  *Result
}

func (m *mapped) message(kind string) error {
	n := m.state.nodes[m.id]
	switch kind {
	case "NBIRTH":
		return m.birth()
	case "NDEATH":
		return m.death(n)
	}
	if n == nil {
		return errors.New("the birth of the node is not known: it is requested")
	}
	if err := m.sequence(n); err != nil {
		return err
	}
	switch kind {
	case "DBIRTH":
		if n.Suspect != "" {
			return m.suspect(n)
		}
		if err := m.learn(n); err != nil {
			return err
		}
		m.online(m.device, 1)
	case "DDEATH":
		m.online(m.device, 0)
		return nil
	}
	return m.data(n)
}

// sequence compares the message's number with that of the last one.
func (m *mapped) sequence(n *node) error {
	if m.payload.seq < 0 {
		return errors.New("the message has no seq")
	}
	if n.Seq >= 0 {
		if missing := (m.payload.seq - n.Seq - 1 + 256) % 256; missing > 0 {
			m.result.Missing = missing
			n.Suspect = "a message of the node is missing"
		}
	}
	n.Seq = m.payload.seq
	m.noteSeq(n)
	return nil
}

func (m *mapped) noteSeq(n *node) {
	seq := n.Seq
	if n.Suspect != "" {
		seq = -1
	}
	m.result.Notes[NotePrefix+m.id+" seq"] = fmt.Append(nil, seq)
}

func (m *mapped) suspect(n *node) error {
	return fmt.Errorf("%s: it may have been a birth with other aliases; a new one is requested", n.Suspect)
}

// birth begins the node's session.
func (m *mapped) birth() error {
	if m.payload.seq < 0 {
		return errors.New("the birth has no seq")
	}
	if m.state.nodes[m.id] == nil && len(m.state.nodes) >= maxNodes {
		return fmt.Errorf("there are more than %d nodes", maxNodes)
	}
	n := &node{Seq: m.payload.seq, Boot: -1, Devices: make(map[string]map[string]named)}
	for i := range m.payload.metrics {
		if v := &m.payload.metrics[i]; v.name == "bdSeq" && v.kind == integer {
			n.Boot = int64(v.integer) //nolint:gosec // it is only compared
		}
	}
	if before := m.state.nodes[m.id]; before != nil {
		n.asked = before.asked // a node whose births do not help is not asked all the time
	}
	m.state.nodes[m.id] = n
	if err := m.learn(n); err != nil {
		return err
	}
	m.noteSeq(n)
	m.online("", 1)
	return m.data(n)
}

// learn takes over the metrics of a birth.
func (m *mapped) learn(n *node) error {
	table := make(map[string]named)
	for i := range m.payload.metrics {
		v := &m.payload.metrics[i]
		if v.name == "" {
			return errors.New("a metric of the birth has no name")
		}
		key := "n" + v.name
		if v.aliased {
			key = fmt.Sprint("a", v.alias)
		}
		if known, twice := table[key]; twice && known.Name != v.name {
			return fmt.Errorf("two metrics of the birth have the alias %d", v.alias)
		}
		table[key] = named{v.name, v.datatype}
		table["n"+v.name] = table[key]
	}
	n.Devices[m.device] = table
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	m.result.Notes[NotePrefix+m.id+" table"] = text
	return nil
}

// death ends the node's session, and with it its devices.
func (m *mapped) death(n *node) error {
	boot := int64(-1)
	for i := range m.payload.metrics {
		if v := &m.payload.metrics[i]; v.name == "bdSeq" && v.kind == integer {
			boot = int64(v.integer) //nolint:gosec // it is only compared
		}
	}
	if n != nil && n.Boot >= 0 && boot >= 0 && n.Boot != boot {
		m.result.Ignored = "it is the death of an earlier session"
		return nil
	}
	m.online("", 0)
	if n != nil {
		for _, device := range slices.Sorted(maps.Keys(n.Devices)) {
			if device != "" {
				m.online(device, 0)
			}
		}
	}
	return nil
}

func (m *mapped) deviceID(device string) string {
	if device == "" {
		return m.id
	}
	return m.id + "/" + device
}

// online adds a reading that says whether a node or device is online. A death was prepared when the
// node connected, so its time is that of its arrival.
func (m *mapped) online(device string, v float64) {
	m.result.Readings = append(m.result.Readings, reading.Reading{DeviceID: m.deviceID(device), Sensor: "online", Value: v, TS: m.arrived})
}

// control reports whether a metric is no measurement.
func control(name string) bool {
	return name == "bdSeq" || strings.HasPrefix(name, "Node Control/") || strings.HasPrefix(name, "Device Control/")
}

// data adds the readings of a message.
func (m *mapped) data(n *node) error {
	var all []reading.Reading
	skipped := 0
	for i := range m.payload.metrics {
		v := &m.payload.metrics[i]
		known, ok := named{v.name, v.datatype}, v.name != ""
		switch {
		case !ok && n.Suspect != "":
			return m.suspect(n)
		case !ok:
			if known, ok = n.Devices[m.device][fmt.Sprint("a", v.alias)]; !ok || !v.aliased {
				n.Suspect = fmt.Sprintf("the alias %d is not in the birth", v.alias)
				m.noteSeq(n)
				return m.suspect(n)
			}
		case known.Type == 0:
			born, listed := n.Devices[m.device]["n"+v.name]
			if v.kind == integer && (!listed || n.Suspect != "") {
				return fmt.Errorf("the data type of %.100q is not known", v.name)
			}
			known = born
			known.Name = v.name
		}
		if control(known.Name) {
			continue
		}
		value, number := v.number(known.Type)
		if !number {
			skipped++
			continue
		}
		r := reading.Reading{DeviceID: m.deviceID(m.device), Sensor: known.Name, Value: value, TS: m.arrived}
		if at := v.timestamp; at != 0 {
			r.TS = at
		} else if m.payload.timestamp != 0 {
			r.TS = m.payload.timestamp
		}
		all = append(all, r)
	}
	m.result.Readings = append(m.result.Readings, all...)
	m.result.Skipped = skipped
	if len(m.result.Readings) == 0 {
		m.result.Ignored = "none of its metrics is a number"
	}
	return nil
}

// askEvery is the shortest time between two requests of a node's birth.
const askEvery = 10 * time.Second

// ask requests a birth of the node.
func (m *mapped) ask(group, name string, now time.Time) {
	n := m.state.nodes[m.id]
	if n == nil {
		if len(m.state.nodes) >= maxNodes {
			return
		}
		n = &node{Seq: -1, Suspect: "the birth of the node is not known", Devices: make(map[string]map[string]named)}
		m.state.nodes[m.id] = n
	}
	if age := now.Sub(n.asked); age >= 0 && age < askEvery {
		return
	}
	n.asked = now
	m.result.Topic, m.result.Command = "spBv1.0/"+group+"/NCMD/"+name, rebirth(now)
}

// rebirth returns the payload of the command Node Control/Rebirth.
func rebirth(now time.Time) []byte {
	at := uint64(now.UnixMilli()) //nolint:gosec // after 1970
	var v []byte
	v = protowire.AppendString(protowire.AppendTag(v, 1, protowire.BytesType), "Node Control/Rebirth")
	v = protowire.AppendVarint(protowire.AppendTag(v, 3, protowire.VarintType), at)
	v = protowire.AppendVarint(protowire.AppendTag(v, 4, protowire.VarintType), typeBoolean)
	v = protowire.AppendVarint(protowire.AppendTag(v, 14, protowire.VarintType), 1)
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), at)
	return protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), v)
}
