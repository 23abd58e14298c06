package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/syncbuf"
	"weir.example/weir/internal/transact"
)

// stray is a transactional client that can also write to partitions, and commit offsets, of which
// its coordinator does not know. They miss the marker at the transaction's end, as they do when
// Kafka loses it.
type stray struct {
	b      *realBroker
	t      *testing.T
	id     string
	client *kgo.Client
	old    *kgo.Client // requests that do not add partitions to the transaction (KIP-890)
	pid    int64
	epoch  int16
}

func (b *realBroker) newStray(t *testing.T, id string) *stray {
	t.Helper()
	client, err := broker.Connect(t.Context(), b.at, kgo.TransactionalID(id), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Produce), 11)
	versions.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
	old, err := broker.Connect(t.Context(), b.at, kgo.MaxVersions(versions))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(old.Close)
	return &stray{b: b, t: t, id: id, client: client, old: old}
}

// begin begins a transaction with a record in a partition.
func (s *stray) begin(topic string, partition int32) {
	s.t.Helper()
	if err := s.client.BeginTransaction(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.client.ProduceSync(s.t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte("known")}).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
	var err error
	if s.pid, s.epoch, err = s.client.ProducerID(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stray) end(how kgo.TransactionEndTry) {
	s.t.Helper()
	if err := s.client.EndTransaction(s.t.Context(), how); err != nil {
		s.t.Fatal(err)
	}
}

// write writes a record of the transaction to a partition that the coordinator does not know.
func (s *stray) write(topic string, partition int32) {
	s.t.Helper()
	value := []byte("stray")
	r := kmsg.NewRecord()
	r.Value = value
	body := r.AppendTo(nil)[1:] // a length of zero takes one byte
	r.Length = int32(len(body)) //nolint:gosec // a few bytes
	now := time.Now().UnixMilli()
	batch := kmsg.NewRecordBatch()
	batch.PartitionLeaderEpoch, batch.Magic, batch.Attributes = -1, 2, 1<<4 // transactional
	batch.FirstTimestamp, batch.MaxTimestamp, batch.NumRecords = now, now, 1
	batch.ProducerID, batch.ProducerEpoch = s.pid, s.epoch
	batch.Records = r.AppendTo(nil)
	const lengthEnd, crcEnd = 8 + 4, 8 + 4 + 4 + 1 + 4
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-lengthEnd)) //nolint:gosec // a few bytes
	binary.BigEndian.PutUint32(raw[crcEnd-4:], crc32.Checksum(raw[crcEnd:], crc32.MakeTable(crc32.Castagnoli)))
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.Acks, req.TimeoutMillis = &s.id, -1, 10_000
	of, at := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	at.Partition, at.Records = partition, raw
	of.Topic, of.Partitions = topic, append(of.Partitions, at)
	req.Topics = append(req.Topics, of)
	kresp, err := s.old.Broker(1).RetriableRequest(s.t.Context(), req)
	if err == nil {
		err = kerr.ErrorForCode(kresp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		s.t.Fatalf("write to %s-%d: %v", topic, partition, err)
	}
}

// commitOffset commits an offset of a group in the transaction, without telling the coordinator.
func (s *stray) commitOffset(group, topic string, offset int64) {
	s.t.Helper()
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = s.id, group, s.pid, s.epoch
	of, at := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
	at.Offset = offset
	of.Topic, of.Partitions = topic, append(of.Partitions, at)
	req.Topics = append(req.Topics, of)
	resp, err := req.RequestWith(s.t.Context(), s.old)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		s.t.Fatalf("commit an offset: %v", err)
	}
}

// offset returns the stable offset of a group in partition 0, as a pipeline fetches it.
func (b *realBroker) offset(t *testing.T, group, topic string) (int64, error) {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	rg := kmsg.NewOffsetFetchRequestGroup()
	rt := kmsg.NewOffsetFetchRequestGroupTopic()
	rt.Topic, rt.Partitions = topic, []int32{0}
	rg.Group, rg.Topics = group, append(rg.Topics, rt)
	req.Groups = append(req.Groups, rg)
	resp, err := req.RequestWith(t.Context(), b.client)
	if err != nil {
		t.Fatal(err)
	}
	p := resp.Groups[0].Topics[0].Partitions[0]
	return p.Offset, kerr.ErrorForCode(p.ErrorCode)
}

// committedValues returns what readers see, once nothing is open.
func (b *realBroker) committedValues(t *testing.T, topic string) (values []string) {
	t.Helper()
	err := broker.ReadAll(t.Context(), b.at, topic, nil, func(r *kgo.Record) error {
		values = append(values, string(r.Value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(values)
	return values
}

// wantCommitted checks what readers see, once nothing is open.
func (b *realBroker) wantCommitted(t *testing.T, topic string, values ...string) {
	t.Helper()
	if diff := cmp.Diff(values, b.committedValues(t, topic)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// hanging lists the hanging transaction of a producer id; nil if there is none.
func (s *stray) hanging() *broker.Transaction {
	s.t.Helper()
	var all []broker.Transaction
	if err := json.Unmarshal([]byte(must(s.t, "transactions", "list", s.b.flag, "-o=json")), &all); err != nil {
		s.t.Fatal(err)
	}
	for i := range all {
		if all[i].ProducerID == s.pid && all[i].Hanging {
			return &all[i]
		}
	}
	return nil
}

func (s *stray) refused(want string, args ...string) {
	s.t.Helper()
	args = append(append([]string{"transactions"}, args...), s.b.flag, fmt.Sprint("--producer-id=", s.pid))
	if code, _, stderr := do(s.t, args...); code != exitFailed || !strings.Contains(stderr, want) {
		s.t.Errorf("weir %s: exit %d, %s, want %q", strings.Join(args, " "), code, stderr, want)
	}
}

// Transactions whose markers are missing in some partitions are found, and end as they did in the
// others, or not at all.
func (b *realBroker) testHanging(t *testing.T) {
	verify := func(on string) {
		responses, err := b.admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Name: "transaction.partition.verification.enable", Value: &on}})
		if err != nil || len(responses) != 1 || responses[0].Err != nil {
			t.Fatal(responses, err)
		}
	}
	verify("false")
	defer verify("true")
	topic := func(t *testing.T) string {
		name := "hang-" + strings.NewReplacer("_", "-", ",", "").Replace(t.Name()[strings.LastIndex(t.Name(), "/")+1:])
		b.makeTopic(t, name, 2)
		return name
	}
	t.Run("committed", func(t *testing.T) {
		topic, s := topic(t), b.newStray(t, "hang-committed")
		s.begin(topic, 0)
		if h := s.hanging(); h != nil {
			t.Fatalf("in flight: %+v", h)
		}
		s.write(topic, 1)
		s.commitOffset("hang-group", topic, 17)
		s.end(kgo.TryCommit)
		h := s.hanging()
		if h == nil || len(h.Partitions) != 2 || h.Epoch != s.epoch || h.Evidence == nil || h.Evidence.Outcome != broker.Committed || len(h.Evidence.Markers) != 1 {
			t.Fatalf("hanging: %+v", h)
		}
		if got := h.Evidence.Markers[0]; got.Topic != topic || got.Partition != 0 || got.Epoch != s.epoch+1 || !got.Commit {
			t.Errorf("epoch %d, marker %+v", s.epoch, got)
		}
		offsets, err := b.admin.ListTopics(t.Context(), broker.OffsetsTopic)
		if err != nil {
			t.Fatal(err)
		}
		n := int32(len(offsets[broker.OffsetsTopic].Partitions))
		if got := h.Partitions[0]; got.Topic != broker.OffsetsTopic || got.Partition != broker.OffsetsPartition("hang-group", n) {
			t.Errorf("partitions %+v, want that of the group, of %d", h.Partitions, n)
		}
		if _, err := b.offset(t, "hang-group", topic); !errors.Is(err, kerr.UnstableOffsetCommit) {
			t.Errorf("the group's offset before: %v", err)
		}
		text := must(t, "transactions", "list", b.flag)
		for _, want := range []string{"(hanging)", "elsewhere: committed (COMMIT marker in " + topic + "-0", "weir transactions commit --producer-id", broker.OffsetsTopic + "-"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in\n%s", want, text)
			}
		}
		s.refused("committed elsewhere", "abort")
		s.refused("weir transactions commit --producer-id", "abort", "--force")
		s.refused("no open transaction", "commit", "--producer-epoch=1234")
		must(t, "transactions", "commit", "--dry-run", b.flag, fmt.Sprint("--producer-id=", s.pid))
		if s.hanging() == nil {
			t.Fatal("--dry-run has written markers")
		}
		must(t, "transactions", "commit", b.flag, fmt.Sprint("--producer-id=", s.pid))
		b.wantCommitted(t, topic, "known", "stray")
		if n, err := b.offset(t, "hang-group", topic); err != nil || n != 17 {
			t.Errorf("the group's offset: %d, %v", n, err)
		}
		s.begin(topic, 1)
		s.end(kgo.TryCommit)
		b.wantCommitted(t, topic, "known", "known", "stray")
		if h := s.hanging(); h != nil {
			t.Errorf("after the next transaction: %+v", h)
		}
	})
	t.Run("committed, and another one is open", func(t *testing.T) {
		topic, s := topic(t), b.newStray(t, "hang-open")
		s.begin(topic, 0)
		s.write(topic, 1)
		s.end(kgo.TryCommit)
		s.begin(topic, 0)
		if h := s.hanging(); h == nil || h.Epoch != s.epoch-1 || h.Evidence.Outcome != broker.Committed {
			t.Fatalf("hanging beside an open one: %+v", h)
		}
		must(t, "transactions", "commit", b.flag, fmt.Sprint("--producer-id=", s.pid))
		s.end(kgo.TryAbort)
		b.wantCommitted(t, topic, "known", "stray")
	})
	t.Run("aborted", func(t *testing.T) {
		topic, s := topic(t), b.newStray(t, "hang-aborted")
		s.begin(topic, 0)
		s.write(topic, 1)
		s.end(kgo.TryAbort)
		s.refused("aborted elsewhere", "commit")
		must(t, "transactions", "abort", b.flag, fmt.Sprint("--producer-id=", s.pid))
		if got := b.committedValues(t, topic); len(got) != 0 {
			t.Errorf("readers see %q", got)
		}
	})
	t.Run("fenced", func(t *testing.T) {
		topic, s := topic(t), b.newStray(t, "hang-fenced")
		s.begin(topic, 0)
		s.write(topic, 1)
		must(t, "transactions", "abort", s.id, b.flag)
		h := s.hanging()
		if h == nil || h.Evidence.Outcome != broker.Aborted {
			t.Fatalf("hanging: %+v", h)
		}
		t.Logf("records of epoch %d: %s", s.epoch, h.Describe())
		s.refused("aborted elsewhere", "commit")
		must(t, "transactions", "abort", b.flag, fmt.Sprint("--producer-id=", s.pid))
	})
	// deleted has a hanging transaction whose other partition is gone.
	deleted := func(t *testing.T, s *stray, topic string, how kgo.TransactionEndTry) {
		gone := topic + "-gone"
		b.makeTopic(t, gone, 1)
		s.begin(gone, 0)
		s.write(topic, 1)
		s.end(how)
		b.committedValues(t, gone) // the marker is written
		if _, err := b.admin.DeleteTopic(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("known to the coordinator", func(t *testing.T) {
		topic, s := topic(t), b.newStray(t, "hang-coordinator")
		s.begin(topic, 1)
		s.end(kgo.TryCommit)
		deleted(t, s, topic, kgo.TryCommit)
		h := s.hanging()
		if h == nil || h.Evidence.Outcome != broker.Committed || len(h.Evidence.Markers) != 0 || !strings.Contains(h.Evidence.Coordinator, "PrepareCommit") {
			t.Fatalf("hanging: %+v, %+v", h, h.Evidence)
		}
		must(t, "transactions", "commit", b.flag, fmt.Sprint("--producer-id=", s.pid))
		b.wantCommitted(t, topic, "known", "stray")
	})
	t.Run("known to the log of the coordinator", func(t *testing.T) {
		topic, s := topic(t), b.newStray(t, "hang-next")
		s.begin(topic, 0)
		s.end(kgo.TryCommit)
		deleted(t, s, topic, kgo.TryAbort)
		s.begin(topic, 0)
		s.end(kgo.TryCommit)
		h := s.hanging()
		if h == nil || h.Evidence.Outcome != broker.Aborted || len(h.Evidence.Markers) != 0 || !strings.Contains(h.Evidence.Coordinator, "PrepareAbort") {
			t.Fatalf("hanging: %+v", h)
		}
		s.refused("aborted elsewhere", "commit")
		must(t, "transactions", "abort", b.flag, fmt.Sprint("--producer-id=", s.pid))
		b.wantCommitted(t, topic, "known", "known")
	})
	for _, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		t.Run(fmt.Sprintf("finished by its client, committed %t", how), func(t *testing.T) {
			topic, s := topic(t), b.newStray(t, fmt.Sprintf("hang-own-%t", how))
			s.begin(topic, 0)
			s.write(topic, 1)
			s.commitOffset(s.id, topic, 17)
			s.end(how)
			if s.hanging() == nil {
				t.Fatal("it is not hanging")
			}
			var log syncbuf.Buffer
			sessions := &transact.Sessions{Broker: b.at, Work: t.Context(), Logger: slog.New(slog.NewTextHandler(&log, nil))}
			if err := sessions.Acquire(t.Context(), s.client, topic, broker.OffsetsTopic); err != nil {
				t.Fatal(err)
			}
			if h := s.hanging(); h != nil || !strings.Contains(log.String(), "finished a hanging transaction") {
				t.Errorf("still hanging: %+v\n%s", h, log.String())
			}
			want, offset := []string{"known", "stray"}, int64(17)
			if how == kgo.TryAbort {
				want, offset = nil, -1
			}
			b.wantCommitted(t, topic, want...)
			if got, err := b.offset(t, s.id, topic); err != nil || got != offset {
				t.Errorf("the group is at %d, %v", got, err)
			}
		})
	}
	t.Run("mixed", func(t *testing.T) {
		topic, s := topic(t), b.newStray(t, "hang-mixed")
		s.begin(topic, 0)
		s.write(topic, 1)
		s.end(kgo.TryCommit)
		s.begin(topic, 0)
		if err := broker.RefuseMixed(t.Context(), s.client); err != nil {
			t.Error(err)
		}
		if err := s.client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: 1, Value: []byte("known")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		var mixed *broker.MixedError
		if err := broker.RefuseMixed(t.Context(), s.client); !errors.As(err, &mixed) || len(mixed.Partitions) != 1 || mixed.Partitions[0].Partition != 1 || mixed.Partitions[0].FirstOffset != 0 {
			t.Errorf("%v", err)
		}
		s.end(kgo.TryAbort)
		b.wantCommitted(t, topic, "known") // the abort has hidden the record of the first one
	})
	t.Run("records of two transactions", func(t *testing.T) {
		topic, s := topic(t), b.newStray(t, "hang-two")
		s.begin(topic, 0)
		s.write(topic, 1)
		s.end(kgo.TryAbort)
		s.begin(topic, 0)
		s.write(topic, 1)
		s.end(kgo.TryCommit)
		s.refused("more than one transaction", "commit")
		s.refused("more than one transaction", "abort")
		s.refused("more than one transaction", "abort", "--force")
	})
}
