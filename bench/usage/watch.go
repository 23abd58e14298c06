package usage

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Process has the resource usage and output of a child process.
type Process struct {
	Began  time.Time
	Took   time.Duration
	CPU    time.Duration // user and system
	PeakKB int64         // resident
	Out    []byte        // standard output
}

// Watch runs a command to completion and measures it.
func Watch(cmd *exec.Cmd) (Process, error) {
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	p := Process{Began: time.Now()}
	if err := cmd.Start(); err != nil {
		return p, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// Maxrss is no use: a child shares this process's memory until its exec, and inherits its peak.
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return p, fmt.Errorf("%w: %s", err, Tail(log.Bytes()))
			}
			p.Took, p.CPU, p.Out = time.Since(p.Began), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), out.Bytes()
			return p, nil
		case <-ticker.C:
			p.PeakKB = max(p.PeakKB, PeakKB(cmd.Process.Pid))
		}
	}
}

// Tail returns the end of a process's output, where errors usually are.
func Tail(out []byte) string {
	const n = 20
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
