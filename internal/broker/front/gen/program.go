package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// form is the wire form of a message in a range of versions.
type form struct {
	key      int16
	name     string
	from, to int16
	flexible bool
	program  string // see package front
}

// table returns the forms of all messages of a type, in the versions that both Kafka and kfake
// serve. Consecutive versions with the same form share one.
func table(messages []message, kind string, served map[int16]versions) ([]form, error) {
	slices.SortFunc(messages, func(a, b message) int { return cmp.Compare(a.APIKey, b.APIKey) })
	var forms []form
	for _, m := range messages {
		if m.Type != kind || !served[m.APIKey].some {
			continue
		}
		if m.Name == "ApiVersionsRequest" {
			addVersion5(&m)
		}
		from, to := max(m.ValidVersions.from, served[m.APIKey].from), min(m.ValidVersions.to, served[m.APIKey].to)
		for v := from; v <= to; v++ {
			p := program{version: v, flexible: m.FlexibleVersions.has(v), structs: make(map[string][]field)}
			for _, s := range m.CommonStructs {
				p.structs[s.Name] = s.Fields
			}
			text, err := p.members(m.Fields)
			if err != nil {
				return nil, fmt.Errorf("%s version %d: %w", m.Name, v, err)
			}
			if n := len(forms) - 1; n >= 0 && forms[n].key == m.APIKey && forms[n].program == text && forms[n].flexible == p.flexible {
				forms[n].to = v
				continue
			}
			forms = append(forms, form{m.APIKey, m.Name, v, v, p.flexible, text})
		}
	}
	return forms, nil
}

// addVersion5 adds KIP-1242's version of ApiVersions, which Kafka 4.3 lacks: franz-go begins each
// connection with it, and would need a second request otherwise. Its response equals version 4's.
func addVersion5(m *message) {
	since := versions{5, math.MaxInt16, true}
	m.ValidVersions.to = max(m.ValidVersions.to, since.from)
	m.Fields = append(m.Fields,
		field{Name: "ClusterId", Type: "string", Versions: since, NullableVersions: since},
		field{Name: "NodeId", Type: "int32", Versions: since})
}

// program translates the fields of one version of a message.
type program struct {
	version  int16
	flexible bool
	structs  map[string][]field // common structs
}

// members returns the items of a struct's fields. Adjacent fields of fixed sizes are merged.
func (p program) members(fields []field) (string, error) {
	var items, tags []string
	fixed := 0
	flush := func() {
		if fixed > 0 {
			items = append(items, strconv.Itoa(fixed))
		}
		fixed = 0
	}
	for _, f := range fields {
		// kmsg parses a tagged field in flexible versions that do not have it yet, too.
		tagged := f.TaggedVersions.some && p.flexible
		if !f.Versions.has(p.version) && !tagged {
			continue
		}
		at := p
		if tagged {
			at.version = max(p.version, f.TaggedVersions.from)
		}
		item, size, err := at.item(f)
		if err != nil {
			return "", fmt.Errorf("field %s: %w", f.Name, err)
		}
		switch {
		case tagged:
			tags = append(tags, fmt.Sprintf("%d:%s", f.Tag, item))
		case size > 0:
			fixed += size
		default:
			flush()
			items = append(items, item)
		}
	}
	flush()
	if len(tags) > 0 {
		items = append(items, "<"+strings.Join(tags, " ")+">")
	}
	return strings.Join(items, " "), nil
}

// sizes has the types of fixed sizes, in bytes.
var sizes = map[string]int{
	"bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "float64": 8, "uuid": 16,
}

// item returns a field's item, and its size if that is fixed.
func (p program) item(f field) (item string, size int, err error) {
	null := ""
	if f.NullableVersions.has(p.version) {
		null = "?"
	}
	if elem, ok := strings.CutPrefix(f.Type, "[]"); ok {
		item, _, err := p.item(field{Type: elem, Fields: f.Fields})
		return "[" + item + "]" + null, 0, err
	}
	if n := sizes[f.Type]; n > 0 {
		return strconv.Itoa(n), n, nil
	}
	switch f.Type {
	case "string":
		return "s" + null, 0, nil
	case "bytes", "records":
		return "b" + null, 0, nil
	}
	fields := f.Fields
	if fields == nil {
		var ok bool
		if fields, ok = p.structs[f.Type]; !ok {
			return "", 0, fmt.Errorf("unknown type %s", f.Type)
		}
	}
	members, err := p.members(fields)
	return "(" + members + ")" + null, 0, err
}

// unserved are the APIs of kfake that the broker does not serve. Kafka serves those of clients'
// metrics (KIP-714) only if something receives the metrics. kfake discards them, remembers every
// client for good, and each client compresses what it sends.
var unserved = []kmsg.Key{kmsg.GetTelemetrySubscriptions, kmsg.PushTelemetry}

// servedVersions asks kfake for the versions that it serves of each API.
func servedVersions(ctx context.Context) (map[int16]versions, error) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.ListenAddrs()[0])
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)); err != nil {
		return nil, err
	}
	var head [8]byte // size and correlation id
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:4])-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	if err := resp.ReadFrom(body); err != nil {
		return nil, err
	}
	all := make(map[int16]versions)
	for _, k := range resp.ApiKeys {
		if !slices.Contains(unserved, kmsg.Key(k.ApiKey)) {
			all[k.ApiKey] = versions{k.MinVersion, k.MaxVersion, true}
		}
	}
	return all, nil
}
