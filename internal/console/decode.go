package console

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/registry"
	"weir.example/weir/reading"
)

// readers decodes payloads written with a schema of the registry. A schema is fetched in the
// background when it is first seen; until it arrives, its records are shown as bytes.
type readers struct {
	client   *registry.Client
	ctx      context.Context // cancels fetches
	fetching sync.WaitGroup

	mu    sync.Mutex
	known map[int]*reader
}

// reader decodes the payloads of one schema.
type reader struct {
	kind  string
	read  func(body []byte) (text []byte, err error) // nil until the schema has arrived
	asked time.Time
}

const (
	askAgain = 10 * time.Second // retry interval for a schema that was not found
	maxKnown = 10_000
)

// newReaders returns readers whose fetches are cancelled with ctx.
func newReaders(ctx context.Context, client *registry.Client) *readers {
	return &readers{client: client, ctx: ctx, known: make(map[int]*reader)}
}

// text is a decoder (see payload.go).
func (r *readers) text(schema int32, data []byte) (kind, text string, ok bool) {
	if r == nil || r.client == nil {
		return "", "", false
	}
	id, rest, err := registry.ReadHeader(data)
	if err != nil || int32(id) != schema { //nolint:gosec // ids are 31 bits
		return "", "", false
	}
	known := r.find(id)
	if known == nil {
		return "", "", false
	}
	defer func() {
		if recover() != nil { // payloads are untrusted: a panic of a decoder must not crash the console
			kind, text, ok = "", "", false
		}
	}()
	shown, err := known.read(rest)
	return known.kind, string(shown), err == nil
}

// find returns the reader of a schema, or starts fetching it and returns nil.
func (r *readers) find(id int) *reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known[id]
	switch {
	case known != nil && known.read != nil:
		return known
	case known != nil && time.Since(known.asked) < askAgain, len(r.known) >= maxKnown:
		return nil
	}
	r.known[id] = &reader{asked: time.Now()}
	r.fetching.Go(func() { _ = r.fetch(r.ctx, id) }) // a failed fetch is repeated after askAgain
	return nil
}

// fetch fetches a schema and creates its reader.
func (r *readers) fetch(ctx context.Context, id int) error {
	s, err := r.client.Schema(ctx, id)
	if err != nil {
		return err
	}
	created, err := readerOf(ctx, s)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[id] = created
	return nil
}

// await fetches the schemas of records, for up to a second.
func (r *readers) await(ctx context.Context, records []*kgo.Record) {
	if r == nil || r.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, record := range records {
		for _, data := range [][]byte{record.Key, record.Value} {
			id, _, err := registry.ReadHeader(data)
			if err != nil {
				continue
			}
			r.mu.Lock()
			known := r.known[id]
			if known == nil && len(r.known) < maxKnown {
				r.known[id] = &reader{asked: time.Now()}
			}
			r.mu.Unlock()
			if known == nil {
				_ = r.fetch(ctx, id) // on failure, the record is shown as bytes
			}
		}
	}
}

func readerOf(ctx context.Context, s *registry.Schema) (*reader, error) {
	read, err := s.Viewer(ctx)
	if err != nil {
		return nil, err
	}
	return &reader{kind: strings.ToLower(string(s.Type)), read: read}, nil
}

// reading decodes a reading written with a schema of the registry.
func (r *readers) reading(data []byte, into *reading.Reading) bool {
	schema, ok := schemaID(data)
	if !ok {
		return false
	}
	_, text, ok := r.text(schema, data)
	var v struct {
		DeviceID string          `json:"device_id"`
		Sensor   string          `json:"sensor"`
		Value    float64         `json:"value"`
		Unit     string          `json:"unit"`
		TS       json.RawMessage `json:"ts"`
	}
	if !ok || json.Unmarshal([]byte(text), &v) != nil {
		return false
	}
	at := bytes.Trim(v.TS, `"`)
	ms, err := strconv.ParseInt(string(at), 10, 64) // Avro timestamps are in milliseconds
	if err != nil {
		if ms, err = reading.ParseTime(at); err != nil {
			return false
		}
	}
	*into = reading.Reading{DeviceID: v.DeviceID, Sensor: v.Sensor, Value: v.Value, Unit: v.Unit, TS: ms}
	return into.Validate() == nil
}
