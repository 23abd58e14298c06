package front

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	unknownKey  = "\x00\x00\x00\x0a\x27\x0f\x00\x00\x00\x00\x00\x01\xff\xff"                     // the API key is 9999
	hugeTags    = "\x00\x00\x00\x0f\x00\x12\x00\x03\x00\x00\x00\x07\xff\xff\xff\xff\xff\xff\x0f" // ApiVersions 3 whose header claims 2^32-1 tagged fields
	hugeFrame   = "\xff\xff\xff\xff"
	httpRequest = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	tlsHello    = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 rest of a hello"
)

// Bytes that are not a request close the connection immediately, and concern no other connection.
func TestHostileBytes(t *testing.T) {
	addr, l := serve(t, Limits{})
	tests := []struct {
		name, bytes string
		want        Reason
	}{
		{"unknown API key", unknownKey, ReasonUnknown},
		{"unknown version", string(framed("\x00\x03\x00\x63\x00\x00\x00\x07\xff\xff")), ReasonUnknown},
		{"negative API key", string(framed("\xff\xff\x00\x00\x00\x00\x00\x07\xff\xff")), ReasonUnknown},
		{"negative version", string(framed("\x00\x12\xff\xff\x00\x00\x00\x07\xff\xff")), ReasonUnknown},
		{"size of 4 GiB", hugeFrame, ReasonSize},
		{"negative size", "\x80\x00\x00\x00", ReasonSize},
		{"size just over the bound", "\x06\x40\x00\x01", ReasonSize},
		{"empty frame", "\x00\x00\x00\x00", ReasonSize},
		{"frame without a header", string(framed("\x00\x12")), ReasonSize},
		{"billions of tagged fields", hugeTags, ReasonMalformed},
		{"client id longer than the frame", string(framed("\x00\x12\x00\x00\x00\x00\x00\x07\x7f\xff")), ReasonMalformed},
		{"HTTP", httpRequest, ReasonSize},
		{"TLS", tlsHello, ReasonSize},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", ReasonSize},
		{"Redis", "*1\r\n$4\r\nPING\r\n", ReasonSize},
		{"PostgreSQL", "\x00\x00\x00\x08\x04\xd2\x16\x2f\x00\x00\x00\x00", ReasonUnknown},
		{"SMB", "\x00\x00\x00\x2f\xffSMB\x72\x00\x00\x00\x00\x18\x01\x28\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0c\x00\x02NT LM 0.12\x00", ReasonUnknown},
	}
	counts := make(map[Reason]int64)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, addr)
			send(t, c, []byte(tt.bytes))
			waitClosed(t, c)
			counts[tt.want]++
			waitRefused(t, l, tt.want, counts[tt.want])
			checkServes(t, addr)
		})
	}
}

// librdkafka 2.16 sends a byte too many in Metadata requests.
func TestTrailingBytesAreIgnored(t *testing.T) {
	addr, _ := serve(t, Limits{})
	c := dial(t, addr)
	send(t, c, framed("\x00\x12\x00\x00\x00\x00\x00\x07\xff\xffx"))
	answer := make([]byte, 8)
	if _, err := io.ReadFull(c, answer); err != nil || answer[7] != 7 {
		t.Errorf("answer % x, %v", answer, err)
	}
}

// Without a front, kfake's process ends.
func TestUnprotectedUnknownKey(t *testing.T) {
	addr, exited := unprotected(t)
	send(t, dial(t, addr), []byte(unknownKey))
	select {
	case <-exited:
	case <-time.After(20 * time.Second):
		t.Fatal("kfake survives an unknown API key: the check may be unnecessary now")
	}
}

// Without a front, kfake reserves the memory that a frame claims.
func TestUnprotectedFrameSize(t *testing.T) {
	c := kfake.MustCluster(kfake.NumBrokers(1))
	defer c.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	conn := dial(t, c.ListenAddrs()[0])
	send(t, conn, []byte("GET "))
	for deadline := time.Now().Add(10 * time.Second); after.HeapAlloc < before.HeapAlloc+1<<30; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("kfake reserves no memory for a huge frame: the bound may be unnecessary now")
		}
		runtime.ReadMemStats(&after)
	}
}

// Without a front, kmsg counts to whatever a request claims.
func TestUnprotectedTags(t *testing.T) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = 3
	body := []byte("\x01\x01\x80\x80\x40") // two empty strings and 2^20 tagged fields
	began := time.Now()
	err := req.ReadFrom(body)
	took := time.Since(began)
	if err == nil || took < 10*time.Millisecond {
		t.Fatalf("kmsg refuses the request after %s (%v): the walker may be unnecessary now", took, err)
	}
	began = time.Now()
	if _, err := served()[18].at(3).walk(body, math.MaxInt); !errors.Is(err, errShort) {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Millisecond {
		t.Fatalf("the walker took %s", took)
	}
}

// A frame reserves memory for the bytes that have arrived, not for those that it claims.
func TestMemoryFollowsBytes(t *testing.T) {
	addr, l := serve(t, Limits{})
	const claim = "\x06\x3f\xff\xff" // nearly 100 MiB
	for range 50 {
		c := dial(t, addr)
		send(t, c, append([]byte(claim), make([]byte, 10<<10)...))
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if used := l.Memory(); used == 50*32<<10 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("50 connections that sent 10 KiB each hold %d bytes", used)
		}
	}
}

// A client with a newer version of ApiVersions learns which versions the broker has (KIP-511).
func TestNewerAPIVersions(t *testing.T) {
	addr, _ := serve(t, Limits{})
	for _, version := range []string{"\x00\x06", "\x00\x63", "\x7f\xff"} {
		c := dial(t, addr)
		send(t, c, framed("\x00\x12"+version+"\x00\x00\x00\x07\xff\xffwhatever the future brings"))
		resp := kmsg.NewPtrApiVersionsResponse()
		if err := resp.ReadFrom(receive(t, c)); err != nil {
			t.Fatal(err)
		}
		if resp.ErrorCode != 35 || len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 5 {
			t.Fatalf("got %+v", resp)
		}
		send(t, c, frame(kmsg.NewPtrMetadataRequest())) // the connection remains usable
		receive(t, c)
	}
}

// ApiVersions announces the versions that the front accepts, and no others.
func TestAnnouncedVersions(t *testing.T) {
	addr, _ := serve(t, Limits{})
	for version := range int16(6) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "test", "1"
		resp := ask(t, addr, req).(*kmsg.ApiVersionsResponse)
		announced := make(map[int16]bool)
		for _, k := range resp.ApiKeys {
			announced[k.ApiKey] = true
			from := k.MinVersion
			switch kmsg.Key(k.ApiKey) {
			case kmsg.Produce:
				from = 3
			case kmsg.SASLHandshake:
				from = 1
			}
			if api := served()[k.ApiKey]; api == nil || api.from != from || api.to != k.MaxVersion {
				t.Errorf("API key %d: versions %d to %d are announced, but the front has %+v", k.ApiKey, k.MinVersion, k.MaxVersion, api)
			}
		}
		if len(announced) != len(served()) {
			t.Errorf("%d APIs are announced, but the front accepts %d: regenerate its tables", len(announced), len(served()))
		}
	}
}

// Requests larger than the small buffer, smaller ones, pipelined ones and ones that arrive byte by
// byte are answered in their order.
func TestFrames(t *testing.T) {
	addr, l := serve(t, Limits{})
	c := dial(t, addr)
	var all []byte
	for i := range 40 {
		req := kmsg.NewPtrMetadataRequest()
		req.Version = 4
		topic := strings.Repeat("x", i*i*15)
		req.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
		all = append(all, frame(req)...)
	}
	go func() {
		rest := all
		for step := 1; len(rest) > 0; step = step%7001 + 997 {
			n := min(step, len(rest))
			if _, err := c.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	for i := range 40 {
		resp := kmsg.NewPtrMetadataResponse()
		resp.Version = 4
		if err := resp.ReadFrom(receive(t, c)); err != nil {
			t.Fatal(err)
		}
		if got := len(*resp.Topics[0].Topic); got != i*i*15 {
			t.Fatalf("answer %d is about a topic of %d bytes", i, got)
		}
	}
	for _, b := range frame(kmsg.NewPtrMetadataRequest()) {
		send(t, c, []byte{b})
	}
	receive(t, c)
	_ = c.Close()
	waitNoMemory(t, l)
}

// waitNoMemory waits until connections hold no memory.
func waitNoMemory(t testing.TB, l *Listener) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); l.Memory() != 0 || l.Connections() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are in use, and %d connections open", l.Memory(), l.Connections())
		}
	}
}

// A request whose rest does not arrive closes the connection.
func TestSlowRequest(t *testing.T) {
	addr, l := serve(t, Limits{FrameTimeout: 100 * time.Millisecond})
	c := dial(t, addr)
	whole := frame(kmsg.NewPtrMetadataRequest())
	send(t, c, whole[:len(whole)-1])
	waitClosed(t, c)
	waitRefused(t, l, ReasonSlow, 1)
}

// A client that sends nothing is idle, one that waits for an answer is not.
func TestIdle(t *testing.T) {
	addr, l := serve(t, Limits{IdleTimeout: 100 * time.Millisecond, FrameTimeout: time.Second}, "topic")
	waiting := dial(t, addr)
	fetch := fetchRequest("topic", 1<<20)
	fetch.MaxWaitMillis, fetch.MinBytes = 500, 1
	send(t, waiting, frame(fetch))
	idle := dial(t, addr)
	waitClosed(t, idle)
	receive(t, waiting)
	waitClosed(t, waiting)
	waitRefused(t, l, ReasonIdle, 2)
}

func fetchRequest(topic string, maxBytes int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes = 11, maxBytes
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic = topic
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.PartitionMaxBytes = maxBytes
	ft.Partitions = append(ft.Partitions, fp)
	req.Topics = append(req.Topics, ft)
	return req
}

// produceMiB writes records of about 500 KB, one in each batch.
func produceMiB(t testing.TB, addr, topic string, mib int) {
	t.Helper()
	c := client(t, addr, kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := bytes.Repeat([]byte("0123456789"), 50_000)
	for range 2 * mib {
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// A client that does not read its answer is disconnected, and its memory freed.
func TestSlowReader(t *testing.T) {
	addr, l := serve(t, Limits{WriteTimeout: 200 * time.Millisecond}, "topic")
	produceMiB(t, addr, "topic", 16)
	c := dial(t, addr)
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	send(t, c, frame(fetchRequest("topic", math.MaxInt32)))
	waitRefused(t, l, ReasonSlow, 1)
	checkServes(t, addr)
}

// A Fetch answer is bounded, whatever the client asks for, by one more batch at most.
func TestFetchClamp(t *testing.T) {
	addr, l := serve(t, Limits{FetchBytes: 2 << 20}, "topic")
	produceMiB(t, addr, "topic", 8)
	size := func() int {
		resp := ask(t, addr, fetchRequest("topic", math.MaxInt32)).(*kmsg.FetchResponse)
		return len(resp.Topics[0].Partitions[0].RecordBatches)
	}
	if n := size(); n < 1<<20 || n > 2<<20 {
		t.Errorf("the answer has %d bytes, with FetchBytes of 2 MiB", n)
	}
	// When memory is short, answers become smaller, down to a single batch.
	l.memory.take(l.limits.MemoryBytes)
	if n := size(); n < 400<<10 || n > 600<<10 {
		t.Errorf("the answer has %d bytes while memory is short", n)
	}
	l.memory.release(l.limits.MemoryBytes)
}

// The largest versions of Fetch have other fields before max_bytes.
func TestFetchClampVersions(t *testing.T) {
	l := Wrap(nil, Limits{FetchBytes: 1 << 20}, slog.New(slog.DiscardHandler))
	for version := served()[1].from; version <= served()[1].to; version++ {
		for asked, want := range map[int32]int32{math.MaxInt32: 1 << 20, 1000: 1000, 0: 0, -1: -1} {
			req := fetchRequest("topic", asked)
			req.Version, req.MaxWaitMillis, req.MinBytes = version, math.MaxInt32, math.MaxInt32
			body := frame(req)[4:]
			if _, body, err := l.check(body); err != nil {
				t.Fatal(err)
			} else {
				skip := 8 + 2 + 4 // header with the client id "test"
				if req.IsFlexible() {
					skip++
				}
				got := kmsg.NewPtrFetchRequest()
				got.Version = version
				if err := got.ReadFrom(body[skip:]); err != nil {
					t.Fatal(err)
				}
				if got.MaxBytes != want || got.MaxWaitMillis != math.MaxInt32 || got.MinBytes != math.MaxInt32 {
					t.Errorf("version %d: asked for %d bytes, passed on %+v", version, asked, got)
				}
			}
		}
	}
}

// Connections beyond a limit are closed, and their places are reused.
func TestConnectionLimits(t *testing.T) {
	addr, l := serve(t, Limits{Connections: 5, ConnectionsPerAddress: 3})
	open := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	works := func(c net.Conn) bool {
		if _, err := c.Write(frame(kmsg.NewPtrMetadataRequest())); err != nil {
			return false
		}
		_, err := io.ReadFull(c, make([]byte, 8))
		return err == nil
	}
	var first []net.Conn
	for range 3 {
		c := open("127.0.0.1")
		first = append(first, c)
		if !works(c) {
			t.Fatal("a connection within the limits does not work")
		}
	}
	if works(open("127.0.0.1")) {
		t.Error("a fourth connection from one address works")
	}
	for range 2 {
		if !works(open("127.0.0.2")) {
			t.Fatal("a connection from another address does not work")
		}
	}
	if works(open("127.0.0.3")) {
		t.Error("a sixth connection works")
	}
	waitRefused(t, l, ReasonConnections, 2)
	_ = first[0].Close()
	for deadline := time.Now().Add(10 * time.Second); l.Connections() > 4; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a closed connection keeps its place")
		}
	}
	if !works(open("127.0.0.3")) {
		t.Error("the place of a closed connection is not reused")
	}
}

// A request that finds no memory waits, and is refused after MemoryTimeout.
func TestMemoryIsShort(t *testing.T) {
	addr, l := serve(t, Limits{MemoryBytes: 8 << 20, MemoryTimeout: 200 * time.Millisecond})
	large := kmsg.NewPtrMetadataRequest()
	large.Version = 4
	topic := strings.Repeat("x", 30_000)
	large.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	l.memory.take(8 << 20)
	c := dial(t, addr)
	send(t, c, frame(large))
	waitClosed(t, c)
	waitRefused(t, l, ReasonMemory, 1)
	checkServes(t, addr) // small requests need no memory

	c = dial(t, addr)
	send(t, c, frame(large))
	time.AfterFunc(50*time.Millisecond, func() { l.memory.release(8 << 20) })
	receive(t, c)
	_ = c.Close()
	waitNoMemory(t, l)
}

// Thousands of idle connections cost little, and hold up nobody.
func TestIdleConnections(t *testing.T) {
	const n = 5000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 2*n+500 {
		t.Skipf("the limit of open files is %d (%v)", limit.Cur, err)
	}
	addr, l := serve(t, Limits{})
	for range n {
		c := dial(t, addr)
		defer c.Close()
	}
	for deadline := time.Now().Add(20 * time.Second); l.Connections() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are accepted", l.Connections())
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if held := m.HeapAlloc + m.StackInuse; held > 128<<20 {
		t.Errorf("%d idle connections and their clients hold %d bytes", n, held)
	}
	checkServes(t, addr)
}

// flaky is a listener whose Accept fails a few times.
type flaky struct {
	net.Listener
	failures int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return f.Listener.Accept()
}

// Accept survives a lack of file descriptors.
func TestAcceptRetries(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Wrap(&flaky{inner, 3}, Limits{}, slog.New(slog.DiscardHandler))
	dial(t, inner.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Accept of a closed listener: %v", err)
	}
}

// panicking is a connection with a bug.
type panicking struct{ net.Conn }

func (panicking) Read([]byte) (int, error) { panic("a bug") }

// A panic ends its connection only, and is logged.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	server, peer := net.Pipe()
	defer peer.Close()
	l := Wrap(nil, Limits{}, slog.New(slog.NewTextHandler(&log, nil)))
	c := newConn(l, panicking{server}, address(server))
	if _, err := c.Read(make([]byte, 4)); err == nil {
		t.Fatal("no error")
	}
	if _, err := peer.Write([]byte("x")); err == nil {
		t.Fatal("the connection is open")
	}
	if l.Refusals()[ReasonPanic] != 1 || !strings.Contains(log.String(), "a bug") || !strings.Contains(log.String(), "stack=") {
		t.Fatalf("refusals %v, log %s", l.Refusals(), log.String())
	}
}

// Real clients work through the front: produce, consume, groups, transactions.
func TestClient(t *testing.T) {
	addr, l := serve(t, Limits{}, "topic")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p := client(t, addr, kgo.TransactionalID("producer"), kgo.DefaultProduceTopic("topic"))
	for range 3 {
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := p.ProduceSync(ctx, kgo.StringRecord("a"), kgo.StringRecord("b")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := p.EndTransaction(ctx, kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	noAcks := client(t, addr, kgo.DefaultProduceTopic("topic"), kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	for range 4 {
		if err := noAcks.ProduceSync(ctx, kgo.StringRecord("c")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	c := client(t, addr, kgo.ConsumerGroup("group"), kgo.ConsumeTopics("topic"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	for n := 0; n < 10; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		n += fetches.NumRecords()
	}
	if err := c.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	for reason, n := range l.Refusals() {
		if n > 0 {
			t.Errorf("%d connections were refused because of %s", n, reason)
		}
	}
}

// Clients that never read what they have asked for hold no more than twice the memory of all
// connections: those that have waited for the longest time are disconnected, and others served.
func TestManySlowReaders(t *testing.T) {
	addr, l := serve(t, Limits{MemoryBytes: 8 << 20}, "topic")
	produceMiB(t, addr, "topic", 2)
	peak, checked := int64(0), 0
	for range 100 {
		c := dial(t, addr)
		if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		send(t, c, frame(fetchRequest("topic", 1)))
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != nil { // the answer is being sent
			t.Fatal(err)
		}
		if peak = max(peak, l.Memory()); checked%20 == 0 {
			checkServes(t, addr)
		}
		checked++
	}
	if limit := 2*l.limits.MemoryBytes + 1<<20; peak > limit {
		t.Errorf("slow readers hold %d bytes, more than %d", peak, limit)
	}
	if l.Refusals()[ReasonMemory] == 0 {
		t.Error("none was disconnected")
	}
	if n := len(ask(t, addr, fetchRequest("topic", 1)).(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches); n < 400<<10 {
		t.Errorf("a client that reads gets %d bytes", n)
	}
}
