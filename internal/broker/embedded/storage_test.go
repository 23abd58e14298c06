package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Above the cap, produce requests are rejected by name and everything else goes on: transactions
// end, nothing that was acknowledged is lost, and deleting records makes space, also after a
// restart.
func TestStorageCap(t *testing.T) {
	const limit, size = 200_000, 10_000
	dir, log := t.TempDir(), new(bytes.Buffer)
	start := func() *Broker {
		return open(t, Config{Dir: dir, StoredBytes: limit, Logger: slog.New(slog.NewTextHandler(log, nil))})
	}
	b := start()
	c := client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordRetries(0), kgo.DisableIdempotentWrite())
	createTopic(t, c, killTopic, nil)
	txn := client(t, b, kgo.TransactionalID("open"))
	if err := txn.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := txn.ProduceSync(t.Context(), &kgo.Record{Topic: killTopic, Partition: 1, Value: []byte("committed")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	send := func(c *kgo.Client, n int) error {
		value := append(fmt.Appendf(nil, "%d ", n), make([]byte, size)...)
		return c.ProduceSync(t.Context(), &kgo.Record{Topic: killTopic, Value: value}).FirstErr()
	}
	sent := 0
	var err error
	for ; err == nil && sent < 100; sent++ {
		err = send(c, sent)
	}
	sent-- // the last one was rejected
	if !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("after %d records of %d bytes: %v, expected KAFKA_STORAGE_ERROR", sent, size, err)
	}
	at := b.Stored()
	if at.Bytes > limit || at.Bytes < limit-2*size || at.Limit != limit || at.Rejected == 0 || at.Largest != killTopic {
		t.Errorf("stored: %+v, expected nearly %d bytes", at, limit)
	}
	for _, want := range []string{"storage is nearly full", "largest_topic=" + killTopic, "storage is full"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not contain %q: %s", want, log)
		}
	}
	if err := txn.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Errorf("commit a transaction when the storage is full: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = start()
	defer b.Close()
	c = client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordRetries(0), kgo.DisableIdempotentWrite())
	if err := send(c, sent); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("after a restart: %v, expected KAFKA_STORAGE_ERROR", err)
	}
	if got := committedRecords(t, b, killTopic, 0); len(got) != sent {
		t.Errorf("%d records of %d that were acknowledged", len(got), sent)
	}
	if got := committedRecords(t, b, killTopic, 1); len(got) != 1 {
		t.Errorf("%d records of the transaction, want 1", len(got))
	}
	through := make(kadm.Offsets)
	through.Add(kadm.Offset{Topic: killTopic, At: 10})
	if _, err := kadm.NewClient(c).DeleteRecords(t.Context(), through); err != nil {
		t.Fatal(err)
	}
	b.storage.measured = b.storage.measured.Add(-storageRefresh) // as if the time had passed
	if err := send(c, sent); err != nil {
		t.Errorf("after records were deleted: %v", err)
	}
}

// The answer names the cap and what to do, in terms that the version of the request has.
func TestStorageAnswer(t *testing.T) {
	s := newStorage(100, func() Stored { return Stored{Bytes: 90} }, slog.New(slog.DiscardHandler))
	for version, want := range map[int16]*kerr.Error{3: kerr.NotLeaderForPartition, 4: kerr.KafkaStorageError, 13: kerr.KafkaStorageError} {
		part := kmsg.NewProduceRequestTopicPartition()
		part.Records = make([]byte, 20)
		topic := kmsg.NewProduceRequestTopic()
		topic.Partitions = append(topic.Partitions, part)
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks, req.Topics = version, -1, append(req.Topics, topic)
		answer, _, answered := s.onProduce(req)
		resp, ok := answer.(*kmsg.ProduceResponse)
		if !answered || !ok {
			t.Fatalf("version %d: a request beyond the cap was accepted", version)
		}
		got := resp.Topics[0].Partitions[0]
		if got.ErrorCode != want.Code || got.ErrorMessage == nil || !strings.Contains(*got.ErrorMessage, "90 bytes of at most 100") {
			t.Errorf("version %d: code %d, want %d; message %v", version, got.ErrorCode, want.Code, got.ErrorMessage)
		}
		req.Acks = 0
		if _, err, answered := s.onProduce(req); err == nil || !answered {
			t.Errorf("version %d without an answer: the connection stays open", version)
		}
	}
}

// A fetch gets no more than the profile allows, whatever it asks for, and a batch that is larger
// than that all the same.
func TestFetchIsClamped(t *testing.T) {
	b := open(t, Config{Dir: t.TempDir(), Profile: "edge"})
	defer b.Close()
	c := client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(3<<20))
	createTopic(t, c, killTopic, map[string]string{"max.message.bytes": "4194304"})
	for range 5 {
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: killTopic, Value: make([]byte, 400_000)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: killTopic, Partition: 1, Value: make([]byte, 2<<20)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	limit := Profiles["edge"].FetchBytes
	if got := fetchAll(t, c, 0); got < 400_000 || got > limit+400_100 {
		t.Errorf("a fetch of everything returned %d bytes, want at most %d and a batch", got, limit)
	}
	if got := fetchAll(t, c, 1); got < 2<<20 {
		t.Errorf("a fetch of a large batch returned %d bytes", got)
	}
}

// fetchAll returns the size of the answer to one fetch without limits.
func fetchAll(t *testing.T, c *kgo.Client, p int32) int {
	t.Helper()
	listed, err := kadm.NewClient(c).ListTopics(t.Context(), killTopic)
	if err != nil {
		t.Fatal(err)
	}
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.PartitionMaxBytes = p, 1<<30
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = killTopic, listed[killTopic].ID
	topic.Partitions = append(topic.Partitions, part)
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch, req.Topics = 1<<30, -1, append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), c)
	if err != nil || len(resp.Topics) != 1 {
		t.Fatalf("fetch: %v, %+v", err, resp)
	}
	return len(resp.Topics[0].Partitions[0].RecordBatches)
}

// An unknown profile is refused by name, with the choices.
func TestUnknownProfile(t *testing.T) {
	_, err := Open(Config{Dir: t.TempDir(), Profile: "small"})
	if err == nil || !strings.Contains(err.Error(), `unknown profile "small": choose default or edge`) {
		t.Errorf("error %v", err)
	}
}

// The cap counts the index of small batches, which takes more memory than their records take on the
// disk.
func TestStorageCapCountsTheIndex(t *testing.T) {
	const limit = 200_000
	dir := t.TempDir()
	b := open(t, Config{Dir: dir, StoredBytes: limit})
	c := client(t, b, kgo.RecordRetries(0), kgo.DisableIdempotentWrite())
	createTopic(t, c, killTopic, nil)
	batches := 0
	var err error
	for ; err == nil && batches < 3000; batches++ {
		err = c.ProduceSync(t.Context(), &kgo.Record{Topic: killTopic, Value: []byte("x")}).FirstErr()
	}
	batches-- // the last one was rejected
	if !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("after %d batches: %v, expected KAFKA_STORAGE_ERROR", batches, err)
	}
	if index := batches * indexBytes; index < limit/2 || index > limit {
		t.Errorf("%d batches were accepted, whose index takes %d bytes", batches, index)
	}
	before := b.Stored().Bytes
	c.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, Config{Dir: dir, StoredBytes: limit})
	defer b.Close()
	if after := b.Stored().Bytes; after != before {
		t.Errorf("%d bytes are stored after a restart, %d before", after, before)
	}
}
