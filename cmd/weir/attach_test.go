package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Commands that only read never create a broker. In another directory they find the running Weir,
// and report if there is none or more than one.
func TestReadersFindTheRunningBroker(t *testing.T) {
	readers := [][]string{
		{"tail", "device_stats", "--from-start", "--until-end"}, {"verify"}, {"dlq", "list"}, {"transactions", "list"},
		{"topics", "plan"}, {"alerts", "list"}, {"run", "device_stats", "--until-end"}, {"consume", "--until-end"},
	}
	elsewhere := t.TempDir()
	in := func(dir string, args ...string) (code int, stdout, stderr string) {
		t.Helper()
		p := startIn(t, dir, args...)
		code = p.wait(time.Minute)
		if _, err := os.Stat(filepath.Join(dir, ".weir")); err == nil {
			t.Errorf("weir %s made a data directory", strings.Join(args, " "))
		}
		return code, p.out.String(), p.errOut.String()
	}
	for _, args := range readers {
		if code, _, stderr := in(elsewhere, args...); code != exitFailed || !strings.Contains(stderr, "no weir is running") {
			t.Errorf("weir %s without a broker: exit %d, %s", strings.Join(args, " "), code, stderr)
		}
	}

	home := t.TempDir()
	up := startIn(t, home, "up", "--listen=127.0.0.1:0", "--rate=500")
	waitFor(t, "readings", func() bool { return served(filepath.Join(home, ".weir")) > 0 })
	code, stdout, stderr := in(elsewhere, "tail", "sensor_data_tx", "--from-start", "--until-end")
	if code != exitOK || !strings.Contains(stdout, "device-") || !strings.Contains(stderr, home) {
		t.Errorf("tail with a running Weir: exit %d, %d bytes, %s", code, len(stdout), stderr)
	}
	if code, _, stderr := in(elsewhere, "tail", "sensor_data_tx", "--data-dir=other"); code != exitFailed || !strings.Contains(stderr, "other has no data") {
		t.Errorf("tail of a directory that was named: exit %d, %s", code, stderr)
	}
	second := t.TempDir()
	other := startIn(t, second, "up", "--listen=127.0.0.1:0", "--console-listen=none", "--admin-listen=127.0.0.1:0", "--rate=500")
	waitFor(t, "readings of the second", func() bool { return served(filepath.Join(second, ".weir")) > 0 })
	if code, _, stderr := in(elsewhere, "tail", "sensor_data_tx"); code != exitFailed || !strings.Contains(stderr, home) || !strings.Contains(stderr, second) {
		t.Errorf("tail with two running Weirs: exit %d, %s", code, stderr)
	}
	up.kill()
	if code, _, stderr := in(elsewhere, "tail", "sensor_data_tx", "--from-start", "--until-end"); code != exitOK || !strings.Contains(stderr, second) {
		t.Errorf("tail after one of two was killed: exit %d, %s", code, stderr)
	}
	other.kill()
	if code, _, stderr := in(elsewhere, "tail", "sensor_data_tx", "--from-start", "--until-end"); code != exitFailed || !strings.Contains(stderr, "no weir is running") {
		t.Errorf("tail after both were killed: exit %d, %s", code, stderr)
	}
	left := startIn(t, home, "tail", "sensor_data_tx", "--from-start", "--until-end")
	if code := left.wait(time.Minute); code != exitOK || left.out.Len() == 0 {
		t.Errorf("tail of the data that a killed Weir left: exit %d, %s", code, left.errOut.String())
	}
}
