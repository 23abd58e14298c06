package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir.example/weir/internal/retry"
)

// starter starts processes. Detached ones outlive this process and its terminal. All others die
// with it, even if it is killed: the kernel sends a child its parent-death signal when the thread
// that started it exits, so a single permanent thread starts them all.
type starter struct{ work chan func() }

func newStarter() *starter {
	s := &starter{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for fn := range s.work {
			fn()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd, detached bool) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = detached
	if !detached {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	done := make(chan error)
	s.work <- func() { done <- cmd.Start() }
	return <-done
}

func (s *starter) close() { close(s.work) }

// process is one process of a cluster. Its folder has NAME.out, its output, and NAME.pid, by which
// another weir finds it.
type process struct {
	name   string
	dir    string
	pid    int    // 0: not started
	began  string // start time; with pid it identifies the process even if the pid is reused
	exited chan struct{}
}

func (p *process) output() string { return filepath.Join(p.dir, p.name+".out") }

func (p *process) pidFile() string { return filepath.Join(p.dir, p.name+".pid") }

// start starts cmd as the process.
func (p *process) start(s *starter, cmd *exec.Cmd, detached bool) error {
	if p.alive() {
		return fmt.Errorf("%s already runs with pid %d", p.name, p.pid)
	}
	log, err := os.Create(p.output())
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	cmd.Stdout, cmd.Stderr = log, log
	if err := s.start(cmd, detached); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	exited := make(chan struct{})
	p.pid, p.exited = cmd.Process.Pid, exited
	p.began, _ = startTime(p.pid) // if this fails, the process has exited, and counts as exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // most are killed
	}()
	return os.WriteFile(p.pidFile(), fmt.Appendf(nil, "%d %s\n", p.pid, p.began), 0o600)
}

// find finds the process that another weir has started.
func (p *process) find() error {
	text, err := os.ReadFile(p.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	fields := strings.Fields(string(text))
	if len(fields) != 2 {
		return fmt.Errorf("%s: expected a process id and its start time, got %q", p.pidFile(), text)
	}
	if p.pid, err = strconv.Atoi(fields[0]); err != nil {
		return fmt.Errorf("%s: %w", p.pidFile(), err)
	}
	p.began = fields[1]
	return nil
}

// alive reports whether the process runs or is paused.
func (p *process) alive() bool {
	if p.pid == 0 {
		return false
	}
	began, ok := startTime(p.pid)
	return ok && began == p.began
}

// startTime returns when a process started, in clock ticks since boot; ok is false if it has
// exited.
func startTime(pid int) (ticks string, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	// pid (name) state … : the name may have spaces and parentheses.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const state, start = 0, 19
	if len(fields) <= start || fields[state] == "Z" {
		return "", false
	}
	return fields[start], true
}

// signal sends a signal to the process if it runs.
func (p *process) signal(s syscall.Signal) error {
	if !p.alive() {
		return fmt.Errorf("signal %s: it does not run", p.name)
	}
	return syscall.Kill(p.pid, s)
}

// kill kills the process with SIGKILL and waits for its exit.
func (p *process) kill() error {
	if !p.alive() {
		return fmt.Errorf("kill %s: it does not run", p.name)
	}
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	p.join(context.Background())
	return nil
}

// join waits for the process to exit, and reports whether it has.
func (p *process) join(ctx context.Context) bool {
	if p.exited != nil {
		select {
		case <-p.exited:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for p.alive() {
		if retry.Sleep(ctx, 20*time.Millisecond) != nil {
			return false
		}
	}
	return true
}

// end terminates the process, and kills it if it does not exit in time.
func (p *process) end(ctx context.Context, patience time.Duration) error {
	if p.alive() {
		if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end %s: %w", p.name, err)
		}
		_ = syscall.Kill(p.pid, syscall.SIGCONT) // a paused process would not receive it
		waiting, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if !p.join(waiting) {
			if err := p.kill(); err != nil && p.alive() {
				return err
			}
		}
	}
	if err := os.Remove(p.pidFile()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// lastWords returns the end of the process's output.
func (p *process) lastWords() string {
	out, err := os.ReadFile(p.output())
	if err != nil {
		return err.Error()
	}
	return lastLines(out)
}
