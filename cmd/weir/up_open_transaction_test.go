package main

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// weir up exits with 1 if a transaction of an additional pipeline may have been left open, and
// names only that pipeline: the transactions of all others have ended.
func TestUpNamesPipelineWithOpenTransaction(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	const stuck = "weir-weir-stuck/"
	var stopping atomic.Bool
	refuse := func(id string) bool { return stopping.Load() && strings.HasPrefix(id, stuck) }
	c.ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.EndTxnRequest)
		if !refuse(req.TransactionalID) {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return resp, nil, true
	})
	c.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.InitProducerIDRequest)
		if req.TransactionalID == nil || !refuse(*req.TransactionalID) {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return resp, nil, true
	})
	addr := c.ListenAddrs()[0]
	up := start(t, "up", "--brokers="+addr, "--data-dir="+t.TempDir(), "--rate=2000", "--stop-timeout=3s",
		"--pipeline="+copyPipeline(t, "stuck", "sensor_data_tx", "stuck_out"), "--pipeline="+copyPipeline(t, "healthy", "sensor_data_tx", "healthy_out"))
	for _, id := range []string{"weir-weir-device-stats/", "weir-weir-healthy/", stuck} {
		begun(t, addr, id)
	}
	stopping.Store(true)
	begun(t, addr, stuck) // from now on it can't be ended
	up.signal(syscall.SIGTERM)
	code := up.wait(30 * time.Second)
	log := up.errOut.String()
	last := log[strings.LastIndex(strings.TrimSpace(log), "\nweir:")+1:]
	if code != exitFailed || !strings.Contains(last, "pipeline stuck") || !strings.Contains(last, stuck) {
		t.Errorf("exit %d, want %d and a last message that names pipeline stuck and its transaction: %q\n%s", code, exitFailed, last, log)
	}
	for _, other := range []string{"weir-weir-healthy/", "weir-weir-device-stats/", "weir-produce-"} {
		if strings.Contains(last, other) {
			t.Errorf("the message names the transaction of %s, which was ended: %s", other, last)
		}
	}
	for _, open := range openOn(t, addr) {
		if !strings.HasPrefix(open.TransactionalID, stuck) {
			t.Errorf("transaction %s is open", open.TransactionalID)
		}
	}
}
