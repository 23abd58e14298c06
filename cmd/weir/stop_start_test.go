package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"weir.example/weir/internal/broker"
)

// A command that runs until it is stopped exits with 0 even if it is stopped while it starts; one
// that has not done its work does not.
func TestStopDuringStart(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := " --brokers " + strings.Join(c.ListenAddrs(), ",")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	const limit = " --stop-timeout 1h" // after which the process would exit
	up := "up --listen 127.0.0.1:0 --registry-listen none --admin-listen 127.0.0.1:0 --console-listen none" + limit
	for command, code := range map[string]int{
		up:                              exitOK,
		up + " --for 1ns":               exitOK, // over before it has begun
		"consume" + limit + at:          exitOK,
		"run device_stats" + limit + at: exitOK,
		"console --console-listen 127.0.0.1:0" + at: exitOK,
		"monitor --admin-listen 127.0.0.1:0" + at:   exitOK,
		"monitor" + at:                     exitInterrupted,
		"consume --until-end" + limit + at: exitInterrupted,
		"produce --count 10" + limit + at:  exitInterrupted,
	} {
		t.Run(command, func(t *testing.T) {
			ctx := stopped
			if strings.Contains(command, "--for") {
				ctx = t.Context()
			}
			root := newRoot()
			root.SilenceErrors = true
			root.SetOut(io.Discard)
			root.SetErr(io.Discard)
			root.SetArgs(append(strings.Fields(command), "--data-dir", filepath.Join(t.TempDir(), "data")))
			if err := root.ExecuteContext(ctx); exitCode(err) != code {
				t.Errorf("exit %d, want %d: %v", exitCode(err), code, err)
			}
		})
	}
}

// Only an error that consists of nothing but the stop is one.
func TestStoppedKeepsErrors(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	other := errors.New("disk full")
	for _, err := range []error{other, errors.Join(context.Canceled, other), &broker.LeftOpenError{Err: context.Canceled}} {
		if !errors.Is(untilStopped(ctx, err), err) {
			t.Errorf("%v is dropped", err)
		}
	}
	if err := untilStopped(t.Context(), context.Canceled); err == nil {
		t.Error("a cancellation without a stop is dropped")
	}
	if err := untilStopped(ctx, errors.Join(context.Canceled, errors.Join(context.Canceled))); err != nil {
		t.Error(err)
	}
}
