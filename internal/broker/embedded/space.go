package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// reserve keeps disk space for the ends of transactions. kfake writes control records partition by
// partition and reports success even if the disk is too full for one: readers then see a
// transaction on some of its partitions only, or one that was aborted. A file of reserveBytes,
// deleted as soon as the disk is full, leaves space for the ends that no client requests, such as
// timeouts. Until the disk has space again, requests that would write are rejected with retriable
// errors.
type reserve struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	full bool
}

const (
	reserveFile  = "reserve"
	reserveBytes = 4 << 20
	lowBytes     = 1 << 20              // below this, the disk counts as full
	enoughBytes  = reserveBytes + 4<<20 // from here up, it no longer does
)

// openReserve allocates the space. If the disk is already full, the broker still starts, and
// rejects writes.
func openReserve(dir string, log *slog.Logger) *reserve {
	r := &reserve{path: filepath.Join(dir, reserveFile), log: log}
	r.look()
	if !r.full {
		r.take()
	}
	return r
}

// take fills the file. It writes all bytes, since a sparse file allocates no space.
func (r *reserve) take() {
	if info, err := os.Stat(r.path); err == nil && info.Size() == reserveBytes {
		return
	}
	if err := os.WriteFile(r.path, make([]byte, reserveBytes), 0o600); err != nil {
		r.log.Warn("cannot reserve disk space for the ends of transactions", "part", "broker", "err", err)
	}
}

// look checks the free space, and reports whether the disk is full.
func (r *reserve) look() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	free, err := freeBytes(filepath.Dir(r.path))
	if err != nil {
		return r.full // free space unknown: no change
	}
	switch {
	case !r.full && free < lowBytes:
		r.full = true
		r.log.Error("disk full: the broker rejects writes until there is free space", "part", "broker", "dir", filepath.Dir(r.path), "free_bytes", free)
		if err := os.Remove(r.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.log.Warn("cannot release the reserved disk space", "part", "broker", "err", err)
		}
	case r.full && free >= enoughBytes:
		r.full = false
		r.log.Info("disk has free space again", "part", "broker", "free_bytes", free)
		r.take()
	}
	return r.full
}

// onRequest rejects requests that write records or offsets, or end transactions, while the disk is
// full.
func (r *reserve) onRequest(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	if !r.look() {
		return nil, nil, false
	}
	switch req := kreq.(type) {
	case *kmsg.ProduceRequest:
		return refuseProduce(req, kerr.KafkaStorageError), nil, req.Acks != 0
	case *kmsg.EndTxnRequest:
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
		return resp, nil, true
	case *kmsg.OffsetCommitRequest:
		return refuseOffsets(req, kerr.CoordinatorNotAvailable), nil, true
	case *kmsg.InitProducerIDRequest:
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
		resp.ProducerID, resp.ProducerEpoch = -1, -1
		return resp, nil, true
	}
	return nil, nil, false
}

func refuseOffsets(req *kmsg.OffsetCommitRequest, err *kerr.Error) *kmsg.OffsetCommitResponse {
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse) //nolint:forcetypeassert // kmsg pairs them
	for _, t := range req.Topics {
		topic := kmsg.NewOffsetCommitResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			part := kmsg.NewOffsetCommitResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, err.Code
			topic.Partitions = append(topic.Partitions, part)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

func refuseProduce(req *kmsg.ProduceRequest, err *kerr.Error) *kmsg.ProduceResponse {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			part := kmsg.NewProduceResponseTopicPartition()
			part.Partition, part.BaseOffset = p.Partition, -1
			part.ErrorCode = err.Code
			topic.Partitions = append(topic.Partitions, part)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// freeBytes returns the bytes of a file system that are available to this process.
func freeBytes(dir string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil //nolint:gosec,unconvert // their types differ between systems
}
