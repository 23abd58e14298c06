// Package usage measures the CPU time and memory of processes, from /proc.
//
//	usage.go  of running processes
//	watch.go  of a child process, until it ends
package usage

import (
	"bytes"
	"fmt"
	"os"
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

func processCPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	// The second field is the name in parentheses, and may contain anything; utime and stime are
	// the 14th and 15th.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("CPU time of process %d: %q is cut short", pid, stat)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
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
