package console

import (
	"net/http"
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

// abort serves POST /api/transactions/abort {"transactional_id"} or, for a hanging transaction that
// no coordinator knows, {"producer_id", "producer_epoch"}. It does not abort a hanging one that was
// committed elsewhere, or may have been: the error names the command.
func (p transactionPage) abort(r *http.Request) (any, error) {
	var in struct {
		ID       string `json:"transactional_id"`
		Producer int64  `json:"producer_id"`
		Epoch    *int16 `json:"producer_epoch"`
	}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if in.ID != "" {
		guards.Note(r.Context(), "abort transaction %s", in.ID)
		return broker.AbortTransaction(r.Context(), p.client, in.ID)
	}
	guards.Note(r.Context(), "abort transaction of producer %d", in.Producer)
	id := broker.HangingID{ProducerID: in.Producer, Epoch: -1}
	if in.Epoch != nil {
		id.Epoch = *in.Epoch
	}
	return broker.AbortHanging(r.Context(), p.client, id, false)
}
