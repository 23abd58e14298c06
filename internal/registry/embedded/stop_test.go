package embedded_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/interrupt"
	"weir.example/weir/internal/registry/embedded"
)

// A change whose commit fails leaves no transaction open, which would block readers of the topic;
// the next change succeeds.
func TestFailedChangeLeavesNothingOpen(t *testing.T) {
	b := interrupt.New(t)
	r := open(t, embedded.Config{Broker: b.Config()})
	defer r.Close()
	c := clientOf(t, r)
	if _, err := c.Register(t.Context(), "s", avroRecord(1)); err != nil {
		t.Fatal(err)
	}
	b.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) { // once
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.UnknownServerError.Code
		return resp, nil, true
	})
	resp, err := http.Post(r.URL()+"/subjects/other/versions", "application/json", strings.NewReader(`{"schema":"\"int\""}`)) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < http.StatusInternalServerError {
		t.Errorf("a change whose commit failed is answered with %s", resp.Status)
	}
	if open := b.Open(t); len(open) > 0 {
		t.Errorf("%d transactions are open, the first %+v", len(open), open[0])
	}
	if _, err := c.Register(t.Context(), "other", avroRecord(2)); err != nil {
		t.Error(err)
	}
}
