package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/longtest"
)

// openOn lists the open transactions on a broker.
func openOn(t *testing.T, addr string) (open []broker.Transaction) {
	t.Helper()
	eachList(t, addr, func(all []broker.Transaction) bool { open = all; return true })
	return open
}

// begun waits until a transaction with this prefix of its id is open. It asks without a pause,
// since the broker sees a pipeline's transaction only while it is flushed and committed: a few
// milliseconds of each commit interval.
func begun(t *testing.T, addr, id string) {
	t.Helper()
	eachList(t, addr, func(all []broker.Transaction) bool {
		return slices.ContainsFunc(all, func(open broker.Transaction) bool { return strings.HasPrefix(open.TransactionalID, id) })
	})
}

// eachList calls enough with one list of open transactions after another, until it returns true.
func eachList(t *testing.T, addr string, enough func([]broker.Transaction) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := broker.Connect(ctx, broker.Config{Brokers: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for {
		listed, err := broker.ListTransactions(ctx, client, time.Now())
		if err != nil {
			t.Fatalf("list transactions until the expected one is open: %v", err)
		}
		if enough(listed.Open) {
			return
		}
	}
}

// brokerOf returns the address of the embedded broker of another process.
func brokerOf(t *testing.T, dir string) (addr string) {
	t.Helper()
	waitFor(t, "embedded broker", func() bool {
		member, err := embedded.Join(dir)
		if err != nil || member == nil {
			return false
		}
		addr = member.Addr
		return member.Leave() == nil
	})
	return addr
}

// If the broker hangs, a command that is stopped exits with 1 in time, and names the transaction
// that may have been left open.
func TestStopWithHangingBroker(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	host := start(t, "up", "--data-dir="+dir, "--listen=127.0.0.1:0", "--rate=2000")
	waitFor(t, "readings", func() bool { return served(dir) > 0 })
	addr := brokerOf(t, dir)
	join, at := "--data-dir="+dir, "--brokers="+addr
	const timeout = 3 * time.Second
	for _, c := range []struct {
		name string
		args []string
		id   string // prefix of its transactional ids
	}{
		{"run", []string{"run", copyPipeline(t, "joined", "sensor_data_tx", "joined_out"), join, "--instance=x", "--commit-interval=5s"}, "weir-weir-joined/x"},
		{"run by address", []string{"run", copyPipeline(t, "named", "sensor_data_tx", "named_out"), at, "--instance=x", "--commit-interval=5s", "--data-dir=" + t.TempDir()}, "weir-weir-named/x"},
		{"consume", []string{"consume", join, "--instance=x", "--commit-interval=5s"}, "weir-weir-device-stats/x"},
		{"produce", []string{"produce", join, "--rate=1000", "--name=joined", "--commit-interval=5s"}, "weir-produce-joined"},
		{"up", []string{"up", at, "--data-dir=" + t.TempDir(), "--seed=7", "--rate=2000", "--pipeline=" + copyPipeline(t, "copied", "sensor_data_tx", "copied_out")}, "weir-weir-copied/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, append(c.args, fmt.Sprint("--stop-timeout=", timeout))...)
			defer func() {
				if t.Failed() {
					t.Logf("it wrote: %s\nand the broker's process: %s", p.errOut.String(), host.errOut.String())
				}
			}()
			begun(t, addr, c.id)
			host.signal(syscall.SIGSTOP)
			defer host.signal(syscall.SIGCONT)
			began := time.Now()
			p.signal(syscall.SIGTERM)
			code := p.wait(30 * time.Second)
			if took := time.Since(began); took > timeout+2*time.Second {
				t.Errorf("it took %s, want %s at most", took, timeout)
			}
			log := p.errOut.String()
			if code != exitFailed {
				t.Errorf("exit %d, want %d", code, exitFailed)
			}
			if !strings.Contains(log, c.id) {
				t.Errorf("it does not name transaction %s", c.id)
			}
		})
	}
}

// A command that is stopped at any moment while it processes a backlog ends its transactions before
// it exits.
func TestStopAtAnyMomentLeavesNothingOpen(t *testing.T) {
	rounds := longtest.Size(3, 5, 20)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	at, own := "--brokers="+b.Addr(), "--data-dir="+t.TempDir()
	must(t, "topics", "apply", at)
	must(t, "produce", at, own, "--count=200000", "--name=backlog")
	file := copyPipeline(t, "stopped", "sensor_data_tx", "stopped_out")
	for _, c := range []struct {
		name string
		want int
		args []string
	}{
		{"run", exitOK, []string{"run", file, at, own, "--instance=x", "--commit-interval=5ms", "-o=json"}},
		{"produce", exitInterrupted, []string{"produce", at, own, "--name=stopped", "--count=50000000", "--commit-interval=5ms", "-o=json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			committed, window := int64(0), 1200*time.Millisecond
			for round := 0; round < rounds; {
				p := start(t, c.args...)
				after := 200*time.Millisecond + time.Duration(rng.Int64N(int64(window)))
				time.Sleep(after) // random moment of the fault
				p.signal(syscall.SIGTERM)
				code := p.wait(time.Minute)
				open := openOn(t, b.Addr())
				if code == -1 {
					continue // the signal arrived before its handler was installed
				}
				if code != c.want {
					t.Fatalf("stopped after %s: exit %d, want %d\n%s", after, code, c.want, p.errOut.String())
				}
				if len(open) > 0 {
					t.Fatalf("stopped after %s: %d transactions are open, the first %+v", after, len(open), open[0])
				}
				var did struct {
					Transactions int64 `json:"transactions"`
				}
				if err := json.Unmarshal(p.out.Bytes(), &did); err != nil {
					t.Fatalf("report %q: %v", p.out.String(), err)
				}
				if committed += did.Transactions; committed == 0 {
					window = min(2*window, 20*time.Second) // a busy machine takes longer to commit anything
				}
				round++
			}
			if committed == 0 {
				t.Error("no run committed anything: the test tested nothing")
			}
		})
	}
}

// weir up ends the transactions of the main job and of all additional pipelines.
func TestUpStopsItsPipelinesCleanly(t *testing.T) {
	b, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	for range 2 {
		up := start(t, "up", "--brokers="+b.Addr(), "--data-dir="+t.TempDir(), "--rate=5000",
			"--pipeline="+copyPipeline(t, "one", "sensor_data_tx", "one_out"), "--pipeline="+copyPipeline(t, "two", "sensor_data_tx", "two_out"))
		for _, id := range []string{"weir-produce-", "weir-weir-one/", "weir-weir-two/"} {
			begun(t, b.Addr(), id)
		}
		up.signal(syscall.SIGTERM)
		if code := up.wait(30 * time.Second); code != exitOK {
			t.Errorf("exit %d\n%s", code, up.errOut.String())
		}
		if open := openOn(t, b.Addr()); len(open) > 0 {
			t.Errorf("%d transactions are open, the first %+v", len(open), open[0])
		}
	}
}

// Exit codes match the table in docs/reference/commands.md.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{errors.New("x"), exitFailed},
		{fmt.Errorf("run: %w", usage(errors.New("x"))), exitUsage},
		{fmt.Errorf("verify: %w", errCheck), exitCheck},
		{errors.Join(errInterrupted, errors.New("x")), exitInterrupted},
		{fmt.Errorf("read: %w", context.Canceled), exitInterrupted},
		{context.DeadlineExceeded, exitFailed},
	} {
		if code := exitCode(c.err); code != c.want {
			t.Errorf("%v: exit %d, want %d", c.err, code, c.want)
		}
	}
}

// A transaction that may have been left open is a failure, even if the cause was a timeout.
func TestOpenTransactionIsFailure(t *testing.T) {
	left := &broker.LeftOpenError{TransactionalID: "weir-weir-x/a", Timeout: time.Second, Err: context.Canceled}
	for _, err := range []error{left, fmt.Errorf("pipeline x: %w", left), errors.Join(context.Canceled, fmt.Errorf("pipeline x: %w", left))} {
		if code := exitCode(err); code != exitFailed {
			t.Errorf("%v: exit %d, want %d", err, code, exitFailed)
		}
	}
}
