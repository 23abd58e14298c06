package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir.example/weir/internal/disktest"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/sinktest"
	"weir.example/weir/internal/stack"
)

// While the disk of the server is full, rows wait: the table can't grow, or the server dies because
// it can't write its log. With room again, each row is there once.
func TestDiskFull(t *testing.T) {
	t.Run("table", func(t *testing.T) { testDiskFull(t, "", "No space left on device") })
	t.Run("log", func(t *testing.T) { testDiskFull(t, "k", "the database") })
}

func testDiskFull(t *testing.T, key, want string) {
	server, dir := serverOnSmallDisk(t)
	p, of := table(t, server, "postgres", kv, key)
	target := newTarget(p, of)
	conn := connect(t, server, "postgres")
	run(t, conn, CreateTable(of, target.jdbc))
	at := sinktest.Embedded(t, 5)
	seed := rand.Uint64()
	t.Log("seed", seed)

	config := sinktest.Config(at, p, of, target)
	config.MaxRows = 500
	running, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { sink.Run(running, config) })
	defer done.Wait()
	defer stop()
	writeSome(t, at, 2000, key != "", seed) // so that the sink runs
	delivered(t, config)

	filler := filepath.Join(dir, "filler")
	disktest.Fill(t, filler)
	if key != "" { // the log has to begin a file
		_, _ = conn.Exec(t.Context(), "SELECT pg_switch_wal()") // it may fail
	}
	writeSome(t, at, 20_000, key != "", seed+1)
	await(t, func() bool {
		now := config.Status.Snapshot()
		return now.LastError != "" && strings.Contains(now.LastError, want)
	}, func() string { return fmt.Sprintf("%+v\n%s", config.Status.Snapshot(), server.Log()) })
	if key != "" {
		await(t, func() bool { return !server.Alive() }, server.Log)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	delivered(t, config)
	checkDatabase(t, at, p, of)
}

func delivered(t *testing.T, config sink.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := sink.AwaitDelivered(ctx, config); err != nil {
		t.Fatalf("%v; %+v", err, config.Status.Snapshot())
	}
}

func await(t *testing.T, done func() bool, state func() string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(state())
		}
	}
}

// serverOnSmallDisk starts a server with all of its files on a file system of its own.
func serverOnSmallDisk(t *testing.T) (*stack.Postgres, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	disktest.Mount(t, dir, 128<<20)
	was := os.TempDir()
	t.Setenv("TMPDIR", dir)
	server := stack.NewPostgres(t)
	t.Setenv("TMPDIR", was)
	return server, dir
}
