package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Weir configures how weir processes are started.
type Weir struct {
	Binary string   // weir, or a program that behaves like it
	Env    []string // name=value, in addition to the environment of this process
}

// process is a weir process started by a run. It dies with its parent.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // file with its stderr, including that of earlier processes of this name
	from int64  // where the output of this process begins in log
	out  bytes.Buffer

	exited chan struct{}
	once   sync.Once
}

// start starts weir with arguments. Its stderr is appended to NAME.log in dir.
func (w Weir) start(dir, name string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // in the directory of the run
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	defer log.Close() // the child has its own descriptor
	if info, err := log.Stat(); err == nil {
		p.from = info.Size()
	}
	// Not bound to a context: faults or the run itself end it.
	p.cmd = exec.Command(w.Binary, args...) //nolint:gosec,noctx // the weir binary
	p.cmd.Env = append(append(os.Environ(), "WEIR_CONSOLE_LISTEN=none", "WEIR_REGISTRY_LISTEN=none", "GOMEMLIMIT=768MiB"), w.Env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the parent-death signal is sent when the starting thread ends
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = p.cmd.Wait() // the exit code is in ProcessState
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// alive reports whether the process exists, even if it is paused.
func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill kills the process with kill -9 and waits until it has exited.
func (p *process) kill() {
	p.once.Do(func() { _ = p.cmd.Process.Kill() }) // it may have exited already
	<-p.exited
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// errStillRuns means that a process did not exit in time.
var errStillRuns = errors.New("still runs")

// wait waits until the process has exited and returns its exit code.
func (p *process) wait(ctx context.Context, limit time.Duration) (code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		_ = p.signal(syscall.SIGQUIT) // makes it dump its goroutine stacks
		select {
		case <-p.exited:
		case <-time.After(2 * time.Second):
			p.kill()
		}
		return -1, fmt.Errorf("%s %w after %s: see %s", p.name, errStillRuns, limit, p.log)
	}
}

// stop sends SIGTERM and waits until the process has exited.
func (p *process) stop(ctx context.Context, limit time.Duration) (code int, err error) {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return -1, err
	}
	return p.wait(ctx, limit)
}

// output returns what this process has written to stderr.
func (p *process) output() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[min(p.from, int64(len(text))):])
}

// lastWords returns the last error that the process printed, or else the end of its output.
func (p *process) lastWords() string {
	lines := strings.Split(strings.TrimSpace(p.output()), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.HasPrefix(lines[i], "weir: ") {
			return strings.Join(lines[i:], "\n")
		}
	}
	return strings.Join(lines[max(0, len(lines)-3):], "\n")
}
