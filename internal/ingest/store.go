package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"weir.example/weir/internal/ingest/spool"
)

// maxReasons bounds the reasons in an answer.
const maxReasons = 20

// answer is the body of an answer in JSON.
type answer struct {
	Status      int      `json:"-"`
	Accepted    int      `json:"accepted"`               // readings
	DeadLetters int      `json:"dead_letters,omitempty"` // parts that are not readings
	Refused     int64    `json:"refused,omitempty"`      // points of metrics
	Skipped     int      `json:"skipped,omitempty"`      // fields that are neither numbers nor booleans, points without a value
	Ignored     string   `json:"ignored,omitempty"`      // why nothing in the message counts
	Reasons     []string `json:"reasons,omitempty"`      // of dead letters
	Error       string   `json:"error,omitempty"`
	Code        string   `json:"code,omitempty"`    // as InfluxDB answers
	Message     string   `json:"message,omitempty"` // likewise
	Repeated    bool     `json:"-"`
}

// stored is an answer under an idempotency key.
type stored struct {
	Status int    `json:"status"`
	Body   answer `json:"body"`
}

// keyOf returns the idempotency key of a request; "" for none.
func keyOf(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1 || values[0] == "" || len(values[0]) > 255:
		return "", refuse(http.StatusBadRequest, "Idempotency-Key must be given once, with 1 to 255 characters")
	}
	return values[0], nil
}

// store makes an entry durable and returns the answer: that of the first request if the key is
// known.
func (h *Server) store(r *http.Request, key string, body []byte, entry *spool.Entry, a answer) (*answer, error) {
	if key == "" && len(entry.Readings)+len(entry.Rejected)+len(entry.Messages) == 0 {
		return &a, nil
	}
	if key != "" {
		entry.Key = r.URL.Path + " " + key // of one route
		entry.Digest = digest(r, body)
		text, err := json.Marshal(stored{a.Status, a})
		if err != nil {
			return nil, err
		}
		entry.Answer = text
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer cancel()
	receipt, err := h.spool.Put(ctx, entry)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("it is not known to be stored after %s: send it again", storeTimeout)
		if h.cfg.Ack == ackKafka {
			err = fmt.Errorf("it is not known to be in Kafka after %s, and may be on the disk: send it again", storeTimeout)
		}
	}
	if err != nil || !receipt.Repeated {
		return &a, err
	}
	if key == "" { // the device's own number is known
		a.Repeated = true
		return &a, nil
	}
	var first stored
	if err := json.Unmarshal(receipt.Answer, &first); err != nil {
		return nil, err
	}
	first.Body.Status, first.Body.Repeated = first.Status, true
	return &first.Body, nil
}

// digest identifies what a key stands for: the query and the decompressed body.
func digest(r *http.Request, body []byte) (sum [sha256.Size]byte) {
	d := sha256.New()
	query := sha256.Sum256([]byte(r.URL.RawQuery))
	_, _ = d.Write(query[:]) // it never fails
	_, _ = d.Write(body)
	d.Sum(sum[:0])
	return sum
}

// answerOf returns the answer to a request that was not stored.
func answerOf(err error) *answer {
	a := &answer{Status: http.StatusInternalServerError, Error: err.Error()}
	var refused *refusal
	var full *spool.FullError
	switch {
	case errors.As(err, &refused):
		a.Status = refused.status
	case errors.As(err, &full):
		a.Status = http.StatusTooManyRequests
	case errors.Is(err, spool.ErrInFlight):
		a.Status = http.StatusConflict
	case errors.Is(err, spool.ErrKeyBody):
		a.Status = http.StatusUnprocessableEntity
	case errors.Is(err, spool.ErrTooLarge):
		a.Status = http.StatusRequestEntityTooLarge
	default: // the disk failed or was too slow: whether it was stored is unknown
		a.Status = http.StatusServiceUnavailable
	}
	return a
}

func write(w http.ResponseWriter, _ *http.Request, a *answer) {
	if a.Repeated {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	if a.Status == http.StatusNoContent {
		w.WriteHeader(a.Status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(a) // the client may have disconnected
}
