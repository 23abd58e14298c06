package embedded

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

const fencedID, fencedTopic = "fenced", "events"

// producerClient returns a producer with the transactional id.
func producerClient(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return client(t, b, append([]kgo.Opt{kgo.TransactionalID(fencedID)}, opts...)...)
}

// begin begins a transaction, writes to all partitions, and returns the producer's id and epoch.
func begin(t *testing.T, c *kgo.Client, value string) producer {
	t.Helper()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	who := takeID(t, c)
	if err := write(t, c, value); err != nil {
		t.Fatal(err)
	}
	return who
}

func write(t *testing.T, c *kgo.Client, value string) error {
	t.Helper()
	var records []*kgo.Record
	for p := range int32(killPartitions) {
		records = append(records, &kgo.Record{Topic: fencedTopic, Partition: p, Value: []byte(value)})
	}
	return c.ProduceSync(t.Context(), records...).FirstErr()
}

// takeID makes a client acquire its transactional id, unless it has it already.
func takeID(t *testing.T, c *kgo.Client) producer {
	t.Helper()
	id, epoch, err := c.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return producer{id, epoch}
}

// recoverID requests the next epoch of a producer, as clients do after an abort (KIP-360).
func recoverID(t *testing.T, c *kgo.Client, who producer) (producer, error) {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = kmsg.StringPtr(fencedID), 60_000
	req.ProducerID, req.ProducerEpoch = who.id, who.epoch
	resp, err := req.RequestWith(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return producer{resp.ProducerID, resp.ProducerEpoch}, kerr.ErrorForCode(resp.ErrorCode)
}

func isFenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// A newer producer acquires the transactional id of one with an open transaction. All further
// requests of the older one are rejected, in each version of the protocol and also after a restart,
// and the newer one is not affected.
func TestOlderProducerIsFenced(t *testing.T) {
	for name, versions := range map[string]*kversion.Versions{"EndTxn v4": kversion.V3_8_0(), "EndTxn v5": kversion.V4_0_0()} {
		for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, commit %v, restart %v", name, commit, restart), func(t *testing.T) {
					dir := t.TempDir()
					b := open(t, Config{Dir: dir})
					older, newer := producerClient(t, b, kgo.MaxVersions(versions)), producerClient(t, b, kgo.MaxVersions(versions))
					createTopic(t, newer, fencedTopic, nil)
					was := begin(t, older, "older")
					takeID(t, newer)
					if restart {
						addr := b.Addr()
						if err := b.Close(); err != nil {
							t.Fatal(err)
						}
						b = open(t, Config{Dir: dir, Addr: addr})
					}
					if err := older.EndTransaction(t.Context(), commit); !isFenced(err) {
						t.Errorf("the older producer ended its transaction with %v", err)
					}
					if now, err := recoverID(t, older, was); !isFenced(err) {
						t.Errorf("the older producer recovers as %v: %v", now, err)
					}
					begin(t, newer, "newer")
					if err := newer.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
						t.Errorf("the newer producer ended its transaction with %v", err)
					}
					for _, value := range committedValues(t, b) {
						if value != "newer" {
							t.Errorf("%q is committed", value)
						}
					}
					if err := b.Close(); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}

// committedValues returns the values that readers see, one per partition and transaction.
func committedValues(t *testing.T, b *Broker) (values []string) {
	t.Helper()
	reader := client(t, b, kgo.ConsumeTopics(fencedTopic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	for len(values) < killPartitions {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

// A batch of the older producer begins no transaction of the newer one, whose timeout would fence
// the newer one.
func TestFencedWriteBeginsNothing(t *testing.T) {
	b := open(t, Config{Dir: t.TempDir()})
	older, newer := producerClient(t, b), producerClient(t, b)
	createTopic(t, newer, fencedTopic, nil)
	begin(t, older, "older")
	takeID(t, newer)
	if err := write(t, older, "late"); !isFenced(err) {
		t.Errorf("the older producer wrote with %v", err)
	}
	ongoing, err := kadm.NewClient(newer).ListTransactions(t.Context(), nil, []string{"Ongoing"})
	if err != nil || len(ongoing) != 0 {
		t.Errorf("these transactions are open: %v, %v", ongoing, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// Only a takeover fences a producer: not a transaction timeout, an end whose response was lost, or
// a newer producer that is itself rejected.
func TestProducerRecovers(t *testing.T) {
	for name, play := range map[string]func(b *Broker, older *kgo.Client, was producer) error{
		"after a timeout": func(b *Broker, older *kgo.Client, was producer) error {
			for state := "Ongoing"; state == "Ongoing"; time.Sleep(10 * time.Millisecond) {
				described, err := kadm.NewClient(older).DescribeTransactions(t.Context(), fencedID)
				if err != nil {
					return err
				}
				state = described[fencedID].State
			}
			_, err := recoverID(t, older, was)
			return err
		},
		"after an end": func(b *Broker, older *kgo.Client, was producer) error {
			if err := older.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
				return err
			}
			_, err := recoverID(t, older, was)
			return err
		},
		"after a takeover that is refused": func(b *Broker, older *kgo.Client, was producer) error {
			newer := producerClient(t, b, kgo.TransactionTimeout(time.Hour))
			if _, _, err := newer.ProducerID(t.Context()); !errors.Is(err, kerr.InvalidTransactionTimeout) {
				t.Errorf("a transaction timeout of an hour returned %v", err)
			}
			return older.EndTransaction(t.Context(), kgo.TryCommit)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, Config{Dir: t.TempDir()})
			older := producerClient(t, b, kgo.TransactionTimeout(time.Second))
			createTopic(t, older, fencedTopic, nil)
			if err := play(b, older, begin(t, older, "older")); err != nil {
				t.Error(err)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
