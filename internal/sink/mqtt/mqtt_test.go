package mqtt

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"weir.example/weir/internal/ingest/mqtttest"
	"weir.example/weir/internal/ingest/subscribe"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table plans a pipeline that writes a table.
func table(t *testing.T, addr, columns, key, with string) (*plan.Program, *plan.Table) {
	t.Helper()
	return sinktest.Pipeline(t, columns, key, fmt.Sprintf("'connector' = 'mqtt', 'url' = 'mqtt://%s', %s", addr, with))
}

// listener keeps the messages of a broker, over new connections if it has to.
type listener struct {
	mu  sync.Mutex
	all []string
}

func listen(t *testing.T, addr string) *listener {
	l := &listener{}
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			_ = subscribe.Listen(ctx, &subscribe.Config{URL: "mqtt://" + addr, ClientID: "listener", Topics: []string{"#"}}, func(topic string, payload []byte) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.all = append(l.all, topic+" "+string(payload))
			})
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
	ready := &mqtttest.Publisher{Addr: addr, ClientID: "ready"}
	defer ready.Close()
	for len(l.take()) == 0 { // until it has subscribed
		if err := ready.Publish(ctx, "ready", nil); err != nil {
			t.Error(err)
			return l
		}
	}
	return l
}

func (l *listener) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

func (l *listener) messages() []string {
	return slices.DeleteFunc(l.take(), func(m string) bool { return m == "ready " })
}

// await waits until there are n messages.
func (l *listener) await(t *testing.T, n int) []string {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for len(l.messages()) < n && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	return l.messages()
}

// Rows are published to the topics of their values, with both versions of MQTT; values that would
// make another topic of it are dead letters.
func TestTopics(t *testing.T) {
	for _, version := range []string{"5", "3.1.1"} {
		t.Run(version, func(t *testing.T) {
			m := mqtttest.StartMosquitto(t)
			l := listen(t, m.Addr())
			p, of := table(t, m.Addr(), "device_id STRING, n INT, cmd STRING", "", "'topic' = 'cmd/{device_id}/no{n}/set', 'payload.column' = 'cmd', 'version' = '"+version+"'")
			at := sinktest.Cluster(t, 1)
			row := func(device, n, cmd string) *kgo.Record {
				return sinktest.Record(0, "", fmt.Sprintf(`{"device_id":%s,"n":%s,"cmd":%s}`, device, n, cmd))
			}
			bad := []string{`"a/b"`, `"+"`, `"#"`, `"x\u0000"`, `"x\u0001"`, `""`, "null", `"\uffff"`}
			all := []*kgo.Record{row(`"a"`, "1", `"on"`)}
			for _, device := range bad {
				all = append(all, row(device, "1", `"on"`))
			}
			all = append(all, row(`"ü b"`, "-2", `""`), row(`"a"`, "1", "null"), row(`"$SYS"`, "1", `"off"`))
			sinktest.Write(t, at, all...)
			done := sinktest.Deliver(t, sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{})))
			want := []string{"cmd/a/no1/set on", "cmd/ü b/no-2/set ", "cmd/$SYS/no1/set off"}
			if diff := cmp.Diff(want, l.await(t, 3)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if letters := sinktest.Letters(t, at); len(letters) != len(bad)+1 || done.DeadLetters != len64(letters) {
				t.Errorf("%d dead letters:\n%s", len(letters), strings.Join(letters, "\n"))
			}
		})
	}
}

func len64(all []string) int64 { return int64(len(all)) }

// A retained message is the last version of a row, and a deleted row clears it.
func TestRetained(t *testing.T) {
	m := mqtttest.StartMosquitto(t)
	p, of := table(t, m.Addr(), "k STRING, v INT", "k", "'topic' = 'state/{k}', 'retain' = 'true'")
	at := sinktest.Cluster(t, 2)
	sinktest.Write(t, at, sinktest.Record(0, `{"k":"a"}`, `{"k":"a","v":1}`), sinktest.Record(1, `{"k":"b"}`, `{"k":"b","v":1}`), sinktest.Record(0, `{"k":"a"}`, `{"k":"a","v":2}`))
	c := sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{}))
	sinktest.Deliver(t, c)
	sinktest.Write(t, at, sinktest.Record(1, `{"k":"b"}`, ""), sinktest.Record(0, `{"k":"c"}`, `{"k":"c","v":3}`))
	sinktest.Deliver(t, sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{})))
	got := make(map[string]bool)
	for _, message := range listen(t, m.Addr()).await(t, 2) {
		got[message] = true
	}
	if diff := cmp.Diff(map[string]bool{`state/a {"k":"a","v":2}`: true, `state/c {"k":"c","v":3}`: true}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// cutting is a proxy that cuts connections after some bytes of the broker's answers.
func cutting(t *testing.T, to string, random *rand.Rand, open *atomic.Bool) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err == nil && !open.Load() {
				_ = out.Close()
				err = net.ErrClosed
			}
			if err != nil { // the broker is down
				_ = in.Close()
				continue
			}
			limit := 100 + random.Int64N(1500)
			serving.Go(func() {
				_, _ = io.CopyN(in, out, limit)
				_ = in.Close()
				_ = out.Close()
			})
			serving.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
		}
	})
	return l.Addr().String()
}

// Every row is published although connections end between a message and its acknowledgement, and
// the broker is down in the beginning; those of a partition in their order.
func TestConnectionsEnd(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := mqtttest.StartMosquitto(t)
	var open atomic.Bool
	p, of := table(t, cutting(t, m.Addr(), rand.New(rand.NewPCG(seed, 0)), &open), "k STRING, v INT", "", "'topic' = 'row/{k}', 'version' = '3.1.1'")
	m.Kill()
	at := sinktest.Cluster(t, 3)
	const n = 900
	var all []*kgo.Record
	want := make(map[string]bool)
	for i := range n {
		all = append(all, sinktest.Record(int32(i%3), "", fmt.Sprintf(`{"k":"p%d","v":%d}`, i%3, i)))
		want[fmt.Sprintf(`row/p%d {"k":"p%d","v":%d}`, i%3, i%3, i)] = true
	}
	sinktest.Write(t, at, all...)
	c := sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{}))
	started := make(chan *listener)
	go func() {
		for c.Status.Snapshot().Retries == 0 { // it has found the broker down
			time.Sleep(time.Millisecond)
		}
		m.Start()
		l := listen(t, m.Addr())
		open.Store(true)
		started <- l
	}()
	sinktest.Deliver(t, c)
	l := <-started
	got, last := make(map[string]bool), make(map[string]int)
	again := 0
	for _, message := range l.await(t, n) {
		var v int
		topic, body, _ := strings.Cut(message, " ")
		_, value, _ := strings.Cut(body, `"v":`)
		if _, err := fmt.Sscanf(value, "%d}", &v); err != nil {
			t.Error(err)
		}
		if v > last[topic]+3 { // later rows never come before earlier ones
			t.Errorf("%s came after %d", message, last[topic])
		}
		last[topic] = max(last[topic], v)
		if got[message] {
			again++
		}
		got[message] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if again == 0 || again > n/2 {
		t.Errorf("%d rows came again", again)
	}
}
