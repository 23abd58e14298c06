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

// reserve keeps room on the disk for what ends transactions. kfake writes control records partition
// by partition and answers with success where the disk has no room for one: readers then see the
// transaction on some of its partitions, or one that was aborted. A file of reserveBytes, given up
// as soon as the disk is full, leaves room for the ends that nobody asks for, such as those of
// transactions that time out; until the disk has room again, requests that would write are refused
// with errors that clients try again.
type reserve struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	full bool
}

const (
	reserveFile  = "reserve"
	reserveBytes = 4 << 20
	lowBytes     = 1 << 20              // with less free than this, the disk is full
	enoughBytes  = reserveBytes + 4<<20 // with as much free as this, it no longer is
)

// openReserve takes the room. Where the disk is full already, the broker starts all the same, and
// refuses to write.
func openReserve(dir string, log *slog.Logger) *reserve {
	r := &reserve{path: filepath.Join(dir, reserveFile), log: log}
	r.look()
	if !r.full {
		r.take()
	}
	return r
}

// take fills the file. Its bytes are written, since a file with a hole takes no room.
func (r *reserve) take() {
	if info, err := os.Stat(r.path); err == nil && info.Size() == reserveBytes {
		return
	}
	if err := os.WriteFile(r.path, make([]byte, reserveBytes), 0o600); err != nil {
		r.log.Warn("keep room on the disk for the ends of transactions", "part", "broker", "err", err)
	}
}

// look looks how much room the disk has, and reports whether it is full.
func (r *reserve) look() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	free, err := freeBytes(filepath.Dir(r.path))
	if err != nil {
		return r.full // nothing new is known
	}
	switch {
	case !r.full && free < lowBytes:
		r.full = true
		r.log.Error("the disk is full: the broker refuses to write until it has room", "part", "broker", "dir", filepath.Dir(r.path), "free_bytes", free)
		if err := os.Remove(r.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.log.Warn("give up the room that was kept", "part", "broker", "err", err)
		}
	case r.full && free >= enoughBytes:
		r.full = false
		r.log.Info("the disk has room again", "part", "broker", "free_bytes", free)
		r.take()
	}
	return r.full
}

// onRequest refuses requests that write to the log or end transactions, while the disk is full.
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
	case *kmsg.InitProducerIDRequest:
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
		resp.ProducerID, resp.ProducerEpoch = -1, -1
		return resp, nil, true
	}
	return nil, nil, false
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

// freeBytes are the bytes of a file system that this process may still write.
func freeBytes(dir string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil //nolint:gosec,unconvert // their types differ between systems
}
