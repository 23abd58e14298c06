package console

import (
	"net/http"

	"weir.example/weir/internal/broker"
)

// transactions is GET /api/transactions: the open ones, oldest first.
func (c *Console) transactions(r *http.Request) (any, error) {
	open, err := broker.ListTransactions(r.Context(), c.client, c.cfg.Now())
	if err != nil {
		return nil, err
	}
	if open == nil {
		open = []broker.Transaction{}
	}
	return map[string]any{"open": open}, nil
}

// abort is POST /api/transactions/abort {"transactional_id"} or, for a hanging one that no
// coordinator knows, {"producer_id"}.
func (c *Console) abort(r *http.Request) (any, error) {
	var in struct {
		ID       string `json:"transactional_id"`
		Producer int64  `json:"producer_id"`
	}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if in.ID != "" {
		return broker.AbortTransaction(r.Context(), c.client, in.ID)
	}
	return broker.AbortHanging(r.Context(), c.client, in.Producer)
}
