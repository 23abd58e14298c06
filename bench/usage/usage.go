// Package usage measures the CPU time and memory of processes, from /proc.
//
//	usage.go  of running processes
//	watch.go  of a child process, until it ends
package usage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of CPU times in /proc (USER_HZ), the same on all platforms that Go
// supports.
const ticksPerSecond = 100

// CPU returns the user and system time that running processes have used so far.
func CPU(pids ...int) (sum time.Duration, err error) {
	for _, pid := range pids {
		used, err := processCPU(pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

func processCPU(pid int) (time.Duration, error) { return stat(pid, 2) }

// stat returns the sum of the first n of a process's CPU times: user and system, and those of the
// children that it has waited for.
func stat(pid, n int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	fields := fieldsOf(text)
	if len(fields) < 15 {
		return 0, fmt.Errorf("CPU time of process %d: %q is cut short", pid, text)
	}
	var ticks int64
	for _, f := range fields[11 : 11+n] { // utime is the 14th field of the file
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// fieldsOf returns the fields of a stat file from the third one on. The second is the name in
// parentheses, and may contain anything.
func fieldsOf(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// PeakKB returns the peak resident memory of a process so far, 0 if it has exited.
func PeakKB(pid int) int64 { return statusKB(pid, "VmHWM:") }

// ResidentKB returns the resident memory of processes, without those that have exited.
func ResidentKB(pids ...int) (sum int64) {
	for _, pid := range pids {
		sum += statusKB(pid, "VmRSS:")
	}
	return sum
}

// statusKB returns a value of a process's /proc status, 0 if it has exited.
func statusKB(pid int, name string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return kb
		}
	}
	return 0
}

// Tree returns the time that a process, its children, and those that it has waited for have used so
// far. Children of children count once their parent has waited for them.
func Tree(pid int) (time.Duration, error) {
	sum, err := stat(pid, 4) // with those that it has waited for
	if err != nil {
		return 0, err
	}
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, path := range all {
		text, err := os.ReadFile(path) //nolint:gosec // of the kernel
		if err != nil {
			continue // it has exited
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if fields := fieldsOf(text); err != nil || len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		if used, err := stat(child, 2); err == nil {
			sum += used
		}
	}
	return sum, nil
}
