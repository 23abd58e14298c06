package console

import (
	"net/http"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	guards "weir.example/weir/internal/guard"
)

// transactionPage is the page of open transactions.
type transactionPage struct {
	client *kgo.Client
	now    func() time.Time
}

// list serves GET /api/transactions: the open ones, oldest first.
func (p transactionPage) list(r *http.Request) (any, error) {
	open, err := broker.ListTransactions(r.Context(), p.client, p.now())
	if err != nil {
		return nil, err
	}
	if open.Open == nil {
		open.Open = []broker.Transaction{}
	}
	return map[string]any{"open": open.Open, "unchecked": open.Unchecked}, nil
}

// hangingTransaction is the answer about one that no coordinator knows.
type hangingTransaction struct {
	broker.Transaction
	Explained string `json:"explained"`         // the evidence of how it ended elsewhere
	Command   string `json:"command,omitempty"` // that ends it in the same way; "" if that is not known
}

// hanging serves GET /api/transactions/hanging?producer_id=N&producer_epoch=E: how it ended
// elsewhere, by the logs of the producer's partitions.
func (p transactionPage) hanging(r *http.Request) (any, error) {
	id, err := strconv.ParseInt(r.FormValue("producer_id"), 10, 64)
	if err != nil {
		return nil, badRequest("producer_id is %q: write the id of a producer", r.FormValue("producer_id"))
	}
	epoch, err := strconv.ParseInt(r.FormValue("producer_epoch"), 10, 16)
	if err != nil {
		return nil, badRequest("producer_epoch is %q: write an epoch of producer %d", r.FormValue("producer_epoch"), id)
	}
	t, err := broker.FindHanging(r.Context(), p.client, broker.HangingID{ProducerID: id, Epoch: int16(epoch)})
	if err != nil {
		return nil, err
	}
	return hangingTransaction{Transaction: t, Explained: t.Evidence.String(), Command: t.Command()}, nil
}

// producerTransaction selects a transaction in the body of a request.
type producerTransaction struct {
	ID       string `json:"transactional_id"`
	Producer int64  `json:"producer_id"`
	Epoch    *int16 `json:"producer_epoch"`
}

func (in *producerTransaction) hanging() broker.HangingID {
	id := broker.HangingID{ProducerID: in.Producer, Epoch: -1}
	if in.Epoch != nil {
		id.Epoch = *in.Epoch
	}
	return id
}

// abort serves POST /api/transactions/abort {"transactional_id"} or, for a hanging transaction that
// no coordinator knows, {"producer_id", "producer_epoch"}. It does not abort a hanging one that was
// committed elsewhere, or may have been: the error names the command.
func (p transactionPage) abort(r *http.Request) (any, error) {
	var in producerTransaction
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if in.ID != "" {
		guards.Note(r.Context(), "abort transaction %s", in.ID)
		return broker.AbortTransaction(r.Context(), p.client, in.ID)
	}
	guards.Note(r.Context(), "abort transaction of producer %d", in.Producer)
	return broker.AbortHanging(r.Context(), p.client, in.hanging(), false)
}

// commit serves POST /api/transactions/commit {"producer_id", "producer_epoch"}: it finishes a
// hanging transaction that was committed elsewhere, and refuses any other.
func (p transactionPage) commit(r *http.Request) (any, error) {
	var in producerTransaction
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	guards.Note(r.Context(), "commit transaction of producer %d", in.Producer)
	return broker.CommitHanging(r.Context(), p.client, in.hanging())
}
