package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir.example/weir/internal/console"
	"weir.example/weir/internal/syncbuf"
)

// With this variable set, the test binary runs as weir, so that tests can start, stop and kill it.
const mainEnv = "WEIR_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(console.SandboxVariable) != "" {
		os.Exit(console.Sandbox(os.Stdin, os.Stdout))
	}
	if os.Getenv(mainEnv) != "" {
		os.Exit(run(context.Background()))
	}
	code := m.Run()
	_ = os.RemoveAll(built.dir)
	os.Exit(code)
}

// weir is a running weir process.
type weir struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    bytes.Buffer
	errOut syncbuf.Buffer // read while the process is running
	exited chan struct{}

	environment []string // in addition
	once        sync.Once
}

// start starts weir with arguments. It is killed when the test ends.
func start(t *testing.T, args ...string) *weir {
	t.Helper()
	return startBinary(t, os.Args[0], args...)
}

// startIn is like start, but sets the working directory.
func startIn(t *testing.T, dir string, args ...string) *weir {
	t.Helper()
	p := &weir{t: t, exited: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...) //nolint:gosec // binary of this test
	p.cmd.Dir = dir
	return p.start()
}

func startBinary(t *testing.T, binary string, args ...string) *weir {
	t.Helper()
	return startWith(t, nil, binary, args...)
}

// buildWeir builds weir as users have it, without the race detector, which takes a multiple of its
// time and memory.
func buildWeir(t *testing.T) (binary string) {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "weir-test"); built.err != nil {
			return
		}
		if out, err := exec.Command("go", "build", "-o", filepath.Join(built.dir, "weir"), ".").CombinedOutput(); err != nil { //nolint:gosec // name generated here
			built.err = fmt.Errorf("build weir: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "weir")
}

// built is the directory of the binary that the tests share.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// startWith is like startBinary, with more environment variables.
func startWith(t *testing.T, environment []string, binary string, args ...string) *weir {
	t.Helper()
	p := &weir{t: t, exited: make(chan struct{}), environment: environment}
	p.cmd = exec.Command(binary, args...) //nolint:gosec // built or run by this test
	return p.start()
}

func (p *weir) start() *weir {
	t := p.t
	t.Helper()
	p.cmd.Env = append(os.Environ(), mainEnv+"=1", "XDG_RUNTIME_DIR=", "WEIR_CONSOLE_LISTEN=none", "WEIR_REGISTRY_LISTEN=127.0.0.1:0", "TMPDIR="+slotDir(t), "GOMEMLIMIT=512MiB")
	p.cmd.Env = append(p.cmd.Env, p.environment...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errOut
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the parent-death signal is sent when the starting thread ends
		started <- p.cmd.Start()
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

var slots sync.Map // test → directory

// slotDir returns the directory in which the processes of a test allocate their slots, separate
// from other tests. A subtest shares the directory of the test around it, whose processes may still
// run.
func slotDir(t *testing.T) string {
	for name := t.Name(); name != "."; name = path.Dir(name) {
		if dir, ok := slots.Load(name); ok {
			return dir.(string)
		}
	}
	dir, loaded := slots.LoadOrStore(t.Name(), t.TempDir())
	if !loaded {
		t.Cleanup(func() { slots.Delete(t.Name()) })
	}
	return dir.(string)
}

// kill kills the process with kill -9 and waits until it has exited.
func (p *weir) kill() {
	p.once.Do(func() { _ = p.cmd.Process.Kill() }) // it may have exited already
	<-p.exited
}

func (p *weir) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal weir %s: %v\n%s", strings.Join(p.cmd.Args[1:], " "), err, p.errOut.String())
	}
}

// wait waits until the process has exited and returns its exit code.
func (p *weir) wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // makes it dump its goroutine stacks
		select {
		case <-p.exited:
		case <-time.After(10 * time.Second):
		}
		p.t.Fatalf("weir %s still runs after %s\n%s", strings.Join(p.cmd.Args[1:], " "), limit, p.errOut.String())
		return -1
	}
}

// do runs weir to completion and returns its exit code and output. The checker runs without the
// race detector, with which it takes a multiple of the time: the tests of its package have it.
func do(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	binary := os.Args[0]
	if raceDetector && len(args) > 0 && args[0] == "verify" {
		binary = buildWeir(t)
	}
	p := startBinary(t, binary, args...)
	code = p.wait(2 * time.Minute)
	return code, p.out.String(), p.errOut.String()
}

// must runs weir to completion, requires success, and returns its output.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := do(t, args...)
	if code != exitOK {
		t.Fatalf("weir %s: exit %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// report has the fields of weir verify's report that tests use.
type report struct {
	Records          int64 `json:"records"`
	Devices          int64 `json:"devices"`
	Lost             int64 `json:"lost"`
	Duplicated       int64 `json:"duplicated"`
	Reordered        int64 `json:"reordered"`
	Torn             int64 `json:"torn"`
	DeadLetters      int64 `json:"dead_letters"`
	StatsMismatch    int64 `json:"stats_mismatch"`
	OpenTransactions int64 `json:"open_transactions"`
	Repeats          int64 `json:"repeats"`
	LocalCopies      struct {
		Checked int `json:"checked"`
	} `json:"local_copies"`
}

// verified runs weir verify, requires a clean report, and returns it.
func verified(t *testing.T, args ...string) report {
	t.Helper()
	code, stdout, stderr := do(t, append([]string{"verify", "-o", "json"}, args...)...)
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("verify: exit %d: %v\n%s%s", code, err, stdout, stderr)
	}
	if code != exitOK {
		t.Fatalf("verify: exit %d: %s", code, stdout)
	}
	t.Logf("verify: %s", stdout)
	return r
}
