package front

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

const unprotectedEnv = "WEIR_TEST_UNPROTECTED" // serve kfake without a front until stdin ends

func TestMain(m *testing.M) {
	if os.Getenv(unprotectedEnv) != "" {
		c := kfake.MustCluster(kfake.NumBrokers(1))
		fmt.Println(c.ListenAddrs()[0])
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// serve starts a broker with a front, with topics of one partition.
func serve(t testing.TB, limits Limits, topics ...string) (addr string, l *Listener) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics...), kfake.ListenFn(func(network, addr string) (net.Listener, error) {
		inner, err := net.Listen(network, addr)
		if err != nil {
			return nil, err
		}
		l = Wrap(inner, limits, slog.New(slog.DiscardHandler))
		return l, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	controls, err := NewControls(c)
	if err != nil {
		t.Fatal(err)
	}
	for key, check := range Checks(func(id [16]byte) string {
		if info := c.TopicIDInfo(id); info != nil {
			return info.Topic
		}
		return ""
	}) {
		controls.Add(key, check)
	}
	return c.ListenAddrs()[0], l
}

// unprotected starts a process with a kfake of its own, without a front. The process has exited
// when exited is closed.
func unprotected(t *testing.T) (addr string, exited <-chan struct{}) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), unprotectedEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // the exit is what is waited for
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		<-done
	})
	return addr[:len(addr)-1], done
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t testing.TB, c net.Conn, p []byte) {
	t.Helper()
	if _, err := c.Write(p); err != nil {
		t.Fatal(err)
	}
}

// framed prefixes bytes with their size.
func framed(p string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

// frame returns the frame of a request.
func frame(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 7)
}

// receive reads an answer, and returns it without size and correlation id.
func receive(t testing.TB, c net.Conn) []byte {
	t.Helper()
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatal(err)
	}
	if got := binary.BigEndian.Uint32(head[4:]); got != 7 {
		t.Fatalf("answer with correlation id %d", got)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	return body
}

// ask sends a request on a new connection, and returns its answer.
func ask(t testing.TB, addr string, req kmsg.Request) kmsg.Response {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	send(t, c, frame(req))
	body := receive(t, c)
	resp := req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	return resp
}

// checkServes checks that the broker answers others.
func checkServes(t testing.TB, addr string) {
	t.Helper()
	began := time.Now()
	if resp := ask(t, addr, kmsg.NewPtrMetadataRequest()).(*kmsg.MetadataResponse); len(resp.Brokers) != 1 {
		t.Fatalf("the broker answers others with %+v", resp)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the broker answers others after %s", took)
	}
}

// waitClosed checks that the broker closes a connection without an answer.
func waitClosed(t testing.TB, c net.Conn) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n > 0 {
		t.Fatal("the broker answered")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the broker keeps the connection open")
	}
}

// waitRefused waits until a refusal was counted.
func waitRefused(t testing.TB, l *Listener, reason Reason, n int64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); l.Refusals()[reason] != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("refusals: %v, want %d because of %s", l.Refusals(), n, reason)
		}
	}
}

func client(t testing.TB, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
