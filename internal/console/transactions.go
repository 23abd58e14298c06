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
	if open == nil {
		open = []broker.Transaction{}
	}
	return map[string]any{"open": open}, nil
}

// abort serves POST /api/transactions/abort {"transactional_id"} or, for a hanging transaction that
// no coordinator knows, {"producer_id"}.
func (p transactionPage) abort(r *http.Request) (any, error) {
	var in struct {
		ID       string `json:"transactional_id"`
		Producer int64  `json:"producer_id"`
	}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if in.ID != "" {
		guards.Note(r.Context(), "abort transaction %s", in.ID)
		return broker.AbortTransaction(r.Context(), p.client, in.ID)
	}
	guards.Note(r.Context(), "abort transaction of producer %d", in.Producer)
	return broker.AbortHanging(r.Context(), p.client, in.Producer)
}
