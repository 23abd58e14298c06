package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// storage caps the bytes of all topics' records, and of the index that kfake keeps of their batches
// in memory: without the latter, small batches would need more memory at the next start than a
// machine with a cap has. Above the cap, produce requests are rejected with
// KAFKA_STORAGE_ERROR and a message that names the cap, as Redpanda does when its disk is full:
// clients know the error and retry it until their delivery timeout, so that records wait in them
// until there is space. POLICY_VIOLATION would be final: clients drop the batch.
//
// All other requests pass: transactions end (their control records are few bytes beyond the cap),
// groups commit offsets, and operators delete topics and records.
type storage struct {
	limit   int64 // 0: no cap
	measure func() Stored
	log     *slog.Logger
	now     func() time.Time

	mu       sync.Mutex
	stored   int64 // measured, plus what was accepted since then
	measured time.Time
	warned   bool // more than warnShare is stored
	full     bool // the last request did not fit
	rejected int64
}

// Stored is how much an embedded broker stores.
type Stored struct {
	Bytes    int64  // of all topics' records, and indexBytes for each batch
	Limit    int64  // cap of Bytes; 0: none
	Rejected int64  // produce requests that did not fit since the broker started
	Largest  string // topic with the most bytes, empty without topics
	TopBytes int64  // of Largest
}

const (
	warnPercent    = 80          // of the cap: a warning is logged
	calmPercent    = 70          // below, the warning may be logged again
	storageRefresh = time.Second // between measurements while the cap is near
)

func newStorage(limit int64, measure func() Stored, log *slog.Logger) *storage {
	s := &storage{limit: max(limit, 0), measure: measure, log: log, now: time.Now}
	s.state()
	return s
}

// state measures what is stored, and logs a warning once it is near the cap.
func (s *storage) state() Stored {
	at := s.measure() // outside the lock: it waits for the broker, which may wait for the lock
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(at)
	at.Limit, at.Rejected = s.limit, s.rejected
	return at
}

// take records a measurement. The caller has the lock.
func (s *storage) take(at Stored) {
	s.stored, s.measured = at.Bytes, s.now()
	if s.limit == 0 {
		return
	}
	switch percent := at.Bytes * 100 / s.limit; {
	case percent >= warnPercent && !s.warned:
		s.warned = true
		s.log.Warn("the broker's storage is nearly full: shorten the retention of the largest topic, or delete topics that are no longer needed",
			"part", "broker", "stored_bytes", at.Bytes, "limit_bytes", s.limit, "largest_topic", at.Largest, "topic_bytes", at.TopBytes)
	case percent < calmPercent:
		s.warned = false
	}
}

// onProduce rejects a request that does not fit. The broker calls it for one request at a time.
func (s *storage) onProduce(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.ProduceRequest)
	if !ok || s.limit == 0 {
		return nil, nil, false
	}
	var size int64
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			size += int64(len(p.Records)) + indexBytes
		}
	}
	s.mu.Lock()
	near := (s.stored+size)*100 >= s.limit*warnPercent && s.now().Sub(s.measured) >= storageRefresh
	s.mu.Unlock()
	if near {
		s.state()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fits := s.stored+size <= s.limit; fits {
		if s.full {
			s.full = false
			s.log.Warn("the broker's storage has space again", "part", "broker", "stored_bytes", s.stored, "limit_bytes", s.limit)
		}
		s.stored += size
		return nil, nil, false
	}
	s.rejected++
	if !s.full {
		s.full = true
		s.log.Error("the broker's storage is full: produce requests are rejected until retention, or the deletion of records or topics, makes space",
			"part", "broker", "stored_bytes", s.stored, "limit_bytes", s.limit)
	}
	if req.Acks == 0 {
		return nil, errStorageFull, true // the connection is closed: such a request has no answer
	}
	return s.refuse(req), nil, true
}

var errStorageFull = errors.New("the broker's storage is full")

func (s *storage) refuse(req *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	code := kerr.KafkaStorageError
	if req.Version < 4 {
		code = kerr.NotLeaderForPartition // such clients don't know the other, and would not retry it
	}
	resp := refuseProduce(req, code)
	message := fmt.Sprintf("the broker stores %d bytes of at most %d: shorten the retention of its topics, delete records or topics, or start it with another --profile", s.stored, s.limit)
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			resp.Topics[i].Partitions[j].ErrorMessage = &message
		}
	}
	return resp
}

// stored measures the records of all topics and their index.
func (l *loop) stored() (at Stored) {
	l.do(func() {
		for _, topic := range l.topics.MapKeys() {
			var size int64
			partitions := l.topics.MapIndex(topic)
			for _, id := range partitions.MapKeys() {
				p := partitions.MapIndex(id).Elem()
				size += p.FieldByName("nbytes").Int()
				segments := p.FieldByName("segments")
				for i := range segments.Len() {
					size += int64(segments.Index(i).FieldByName("index").Len()) * indexBytes
				}
			}
			at.Bytes += size
			if at.Largest == "" || size > at.TopBytes {
				at.Largest, at.TopBytes = topic.String(), size
			}
		}
	})
	return at
}

// Stored returns how much the broker stores.
func (b *Broker) Stored() Stored { return b.storage.state() }
