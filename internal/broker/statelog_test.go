package broker

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// stateBatch encodes states of transactional ids as their coordinators log them.
func stateBatch(states ...loggedState) *kmsg.RecordBatch {
	b := kmsg.NewRecordBatch()
	b.FirstOffset = 100
	for n, s := range states {
		r := kmsg.NewRecord()
		r.OffsetDelta = int32(n) //nolint:gosec // few
		key := kmsg.NewTxnMetadataKey()
		key.TransactionalID = s.id
		r.Key = key.AppendTo(nil)
		if s.state >= 0 {
			value := kmsg.NewTxnMetadataValue()
			value.Version = 1
			value.ProducerID, value.ProducerEpoch, value.State, value.ClientTransactionVersion = s.producer, s.epoch, s.state, s.version
			r.Value = value.AppendTo(nil)
		}
		body := r.AppendTo(nil)[1:] // a length of zero takes one byte
		r.Length = int32(len(body)) //nolint:gosec // few
		b.Records = r.AppendTo(b.Records)
		b.NumRecords++
	}
	return &b
}

type loggedState struct {
	id       string
	producer int64
	epoch    int16
	state    kmsg.TransactionState // negative for a tombstone
	version  int16
}

// The state after the records' epoch tells how exactly this transaction ended, whatever came before
// and after it.
func TestDecision(t *testing.T) {
	const (
		empty, ongoing                = kmsg.TransactionStateEmpty, kmsg.TransactionStateOngoing
		prepareCommit, prepareAbort   = kmsg.TransactionStatePrepareCommit, kmsg.TransactionStatePrepareAbort
		completeCommit, completeAbort = kmsg.TransactionStateCompleteCommit, kmsg.TransactionStateCompleteAbort
	)
	of := func(epoch int16, state kmsg.TransactionState) loggedState {
		return loggedState{"x", 7, epoch, state, 2}
	}
	for _, tt := range []struct {
		name   string
		states []loggedState
		want   Outcome
	}{
		{"committed", []loggedState{of(4, completeAbort), of(5, ongoing), of(5, ongoing), of(6, prepareCommit), of(6, ongoing), of(7, prepareAbort)}, Committed},
		{"aborted", []loggedState{of(5, prepareCommit), of(5, ongoing), of(6, prepareAbort), of(6, ongoing), of(7, prepareCommit)}, Aborted},
		{"only the end is left", []loggedState{of(6, completeCommit)}, Committed},
		{"aborted by the coordinator", []loggedState{of(5, ongoing), of(7, prepareAbort)}, Aborted},
		{"the end is compacted", []loggedState{of(5, ongoing), of(6, ongoing), of(7, prepareAbort)}, ""},
		{"only the next one is left", []loggedState{of(7, completeCommit), of(7, completeAbort)}, ""},
		{"not ended", []loggedState{of(5, ongoing)}, ""},
		{"a later commit", []loggedState{of(5, ongoing), of(7, prepareCommit)}, ""},
		{"acquired after it", []loggedState{of(6, empty), of(6, ongoing), of(7, prepareCommit)}, ""},
		{"another producer", []loggedState{{"x", 8, 6, prepareCommit, 2}}, ""},
		{"another id", []loggedState{{"y", 7, 6, prepareCommit, 2}}, ""},
		{"shared epochs", []loggedState{{"x", 7, 6, prepareCommit, 1}}, ""},
		{"removed", []loggedState{{"x", 7, 0, -1, 0}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := decision{id: "x", t: &Transaction{ProducerID: 7, Epoch: 5}}
			if err := eachState(stateBatch(tt.states...), d.consider); err != nil && !errors.Is(err, errDecided) {
				t.Fatal(err)
			}
			if d.outcome != tt.want {
				t.Errorf("%q, want %q", d.outcome, tt.want)
			}
			if d.outcome != "" && (d.offset < 100 || tt.states[d.offset-100].state != d.state) {
				t.Errorf("%v at offset %d", d.state, d.offset)
			}
		})
	}
}

// A batch that can't be decoded is an error, and no decision.
func TestDamagedStates(t *testing.T) {
	whole := stateBatch(loggedState{"x", 7, 6, kmsg.TransactionStatePrepareCommit, 2})
	for _, tt := range []struct {
		name, want string
		change     func(b *kmsg.RecordBatch)
	}{
		{"compressed", "compressed", func(b *kmsg.RecordBatch) { b.Attributes = 2 }},
		{"cut off", "cut off", func(b *kmsg.RecordBatch) { b.Records = b.Records[:len(b.Records)-1] }},
		{"no records", "cut off", func(b *kmsg.RecordBatch) { b.Records = nil }},
		{"a value that is too short", "decode state at offset 100", func(b *kmsg.RecordBatch) {
			r := kmsg.NewRecord()
			key := kmsg.NewTxnMetadataKey()
			key.TransactionalID = "x"
			r.Key, r.Value = key.AppendTo(nil), []byte{0, 1, 2}
			r.Length = int32(len(r.AppendTo(nil)) - 1) //nolint:gosec // few
			b.Records = r.AppendTo(nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := *whole
			tt.change(&b)
			d := decision{id: "x", t: &Transaction{ProducerID: 7, Epoch: 5}}
			if err := eachState(&b, d.consider); err == nil || errors.Is(err, errDecided) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, outcome %q", err, d.outcome)
			}
		})
	}
}
