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

// Weir says how to start a weir process.
type Weir struct {
	Binary string   // of weir, or of a program that behaves like it
	Env    []string // name=value, in addition to the environment of this process
}

// process is one weir process that a run has started. It dies with the process that started it.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // file with all that it has written to stderr, over all its lives
	from int64  // where this life begins in log
	out  bytes.Buffer

	exited chan struct{}
	once   sync.Once
}

// start starts weir with arguments; what it writes to stderr is appended to NAME.log in dir.
func (w Weir) start(dir, name string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // in the run's folder
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	defer log.Close() // the child has it
	if info, err := log.Stat(); err == nil {
		p.from = info.Size()
	}
	// Not bound to a context: faults end it, and so does the run.
	p.cmd = exec.Command(w.Binary, args...) //nolint:gosec,noctx // weir itself
	p.cmd.Env = append(append(os.Environ(), "WEIR_CONSOLE_LISTEN=none", "WEIR_REGISTRY_LISTEN=none", "GOMEMLIMIT=768MiB"), w.Env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the parent-death signal comes when the starting thread ends
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = p.cmd.Wait() // the code is in ProcessState
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// alive reports whether the process runs; one that is paused does.
func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill ends the process with kill -9 and waits for its end.
func (p *process) kill() {
	p.once.Do(func() { _ = p.cmd.Process.Kill() }) // it may have ended
	<-p.exited
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// errStillRuns says that a process has not ended within the time that it has for it.
var errStillRuns = errors.New("still runs")

// wait waits for the end of the process and returns its exit code.
func (p *process) wait(ctx context.Context, limit time.Duration) (code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		_ = p.signal(syscall.SIGQUIT) // it writes the stacks of its goroutines
		select {
		case <-p.exited:
		case <-time.After(2 * time.Second):
			p.kill()
		}
		return -1, fmt.Errorf("%s %w after %s: see %s", p.name, errStillRuns, limit, p.log)
	}
}

// stop asks the process to end with SIGTERM.
func (p *process) stop(ctx context.Context, limit time.Duration) (code int, err error) {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return -1, err
	}
	return p.wait(ctx, limit)
}

// said is what this life of the process has written to stderr.
func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[min(p.from, int64(len(text))):])
}

// lastWords is the last error that the process has printed, or the end of what it has written.
func (p *process) lastWords() string {
	lines := strings.Split(strings.TrimSpace(p.said()), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.HasPrefix(lines[i], "weir: ") {
			return strings.Join(lines[i:], "\n")
		}
	}
	return strings.Join(lines[max(0, len(lines)-3):], "\n")
}
