package front

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake itself keeps the last request of each connection until the broker stops.
func TestControlsKeepNoRequests(t *testing.T) {
	c, controls := controlled(t)
	var received []weak.Pointer[kmsg.MetadataRequest]
	controls.Add(kmsg.Metadata, func(req kmsg.Request) (kmsg.Response, error, bool) {
		received = append(received, weak.Make(req.(*kmsg.MetadataRequest)))
		return nil, nil, false
	})
	const clients = 50
	for range clients {
		ask(t, c.ListenAddrs()[0], kmsg.NewPtrMetadataRequest())
	}
	if len(received) != clients {
		t.Fatalf("the function received %d requests, expected %d", len(received), clients)
	}
	kept := clients
	for deadline := time.Now().Add(20 * time.Second); kept > clients/2 && time.Now().Before(deadline); {
		runtime.GC()
		kept = 0
		for _, req := range received {
			if req.Value() != nil {
				kept++
			}
		}
	}
	if kept > clients/2 { // the last one, and those that a goroutine of kfake has not dropped yet
		t.Errorf("%d of %d requests are kept after their connections were closed", kept, clients)
	}
}

// A request that sleeps in a function passes it once, although others arrive in the meantime.
func TestControlsRunSleepingRequestsOnce(t *testing.T) {
	c, controls := controlled(t)
	addr := c.ListenAddrs()[0]
	calls := make(map[string]int)
	wake, asleep := make(chan struct{}), make(chan struct{})
	controls.Add(kmsg.Metadata, func(r kmsg.Request) (kmsg.Response, error, bool) {
		name := *r.(*kmsg.MetadataRequest).Topics[0].Topic
		calls[name]++
		if name == "sleeps" && calls[name] == 1 {
			close(asleep)
			controls.Sleep(func() { <-wake })
		}
		return nil, nil, false
	})
	sleeper := dial(t, addr)
	send(t, sleeper, frame(describe("sleeps")))
	<-asleep
	for range 3 {
		ask(t, addr, describe("passes"))
	}
	close(wake)
	receive(t, sleeper)
	ask(t, addr, describe("passes"))
	if calls["sleeps"] != 1 || calls["passes"] != 4 {
		t.Errorf("calls of the function by request: %v, expected 1 that sleeps and 4 that pass", calls)
	}
}

// kfake itself keeps each connection on which a request has slept until the broker stops.
func TestControlsForgetSleepers(t *testing.T) {
	c, controls := controlled(t)
	addr := c.ListenAddrs()[0]
	woken := make(chan struct{})
	close(woken)
	controls.Add(kmsg.Metadata, func(kmsg.Request) (kmsg.Response, error, bool) {
		controls.Sleep(func() { <-woken })
		return nil, nil, false
	})
	kept := 0
	controls.Add(kmsg.ApiVersions, func(kmsg.Request) (kmsg.Response, error, bool) {
		kept = controls.sleeping.Len()
		return nil, nil, false
	})
	const clients = 50
	for range clients {
		ask(t, addr, describe("sleeps"))
	}
	ask(t, addr, kmsg.NewPtrApiVersionsRequest())
	if kept > clients/2 { // the last one, and those whose goroutines have not finished yet
		t.Errorf("kfake keeps %d of %d connections on which a request has slept", kept, clients)
	}
}

// controlled starts a broker without a front.
func controlled(t *testing.T) (*kfake.Cluster, *Controls) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	controls, err := NewControls(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, controls
}

// describe requests the metadata of a topic.
func describe(name string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	return req
}
