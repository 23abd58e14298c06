//go:build unix

package files

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/sinktest"
	"weir.example/weir/internal/syncbuf"
)

// childEnv makes the test's binary deliver rows until it kills itself: directory, format, seed.
const childEnv = "WEIR_TEST_FILES_CHILD"

const (
	killPartitions = 3
	killRows       = 400 // of each partition
)

func TestMain(m *testing.M) {
	if args := os.Getenv(compactEnv); args != "" {
		if err := compactUntilKilled(strings.Split(args, "|")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if args := os.Getenv(childEnv); args != "" {
		if err := deliverUntilKilled(strings.Split(args, "|")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// rowAt is the row at an offset. Every 17th offset is that of a control record.
func rowAt(partition int32, offset int64) ([]any, bool) {
	n := int64(partition)*1_000_000 + offset
	return []any{n, fmt.Sprintf("site %d", n%5)}, offset%17 != 16
}

// killTable plans the table of a child, in a directory or on an object store.
func killTable(t testing.TB, dir, format string) *Target {
	if strings.HasPrefix(dir, "http:") {
		return New("p", table(t, "s3://bucket/results/t", "n BIGINT, site STRING", "site", "'format' = '"+format+"', "+inBucket(&sinktest.Objects{URL: dir})), secret.Source{})
	}
	return New("p", table(t, dir, "n BIGINT, site STRING", "site", "'format' = '"+format+"'"), secret.Source{})
}

// deliverUntilKilled delivers batches of random sizes from random partitions, and kills its own
// process at a random step; with seed 0 it does not, and delivers the rest.
func deliverUntilKilled(args []string) error {
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
	target := killTable(&testing.B{}, args[0], args[1])
	if left := 1 + random.IntN(120); seed != 0 {
		target.failpoint = func(string) error {
			if left--; left == 0 {
				return syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
			return nil
		}
	}
	ctx := context.Background()
	s, err := target.Open(ctx, source)
	if err != nil {
		return err
	}
	next, err := s.Claim(ctx, []int32{0, 1, 2})
	if err != nil {
		return err
	}
	for {
		b := emptyBatch()
		for _, p := range random.Perm(killPartitions) {
			to := min(killRows, next[int32(p)]+random.Int64N(60)) //nolint:gosec // small
			addRows(b, int32(p), next[int32(p)], to)              //nolint:gosec // small
		}
		if len(b.Next) == 0 {
			if done(next) {
				s.Close()
				return nil
			}
			continue
		}
		if err := s.Deliver(ctx, b, none); err != nil {
			return err
		}
		maps.Copy(next, b.Next)
	}
}

// emptyBatch returns a batch to which rows of rowAt can be added.
func emptyBatch() *sink.Batch {
	types := []column.Type{column.Of(column.BigInt), column.Of(column.String)}
	return &sink.Batch{Rows: column.NewBatch(types), From: make(map[int32]int64), Next: make(map[int32]int64)}
}

func done(next map[int32]int64) bool {
	for p := range int32(killPartitions) {
		if next[p] < killRows {
			return false
		}
	}
	return true
}

func addRows(b *sink.Batch, partition int32, from, to int64) {
	if from == to {
		return
	}
	b.From[partition], b.Next[partition] = from, to
	for offset := from; offset < to; offset++ {
		if values, ok := rowAt(partition, offset); ok {
			b.Rows.AddRow(values)
			b.Origins = append(b.Origins, &kgo.Record{Partition: partition, Offset: offset})
		}
	}
}

// Processes are killed (kill -9) at random steps, one after another. What readers see meanwhile is
// complete, and at the end each row is there once.
func TestKill(t *testing.T) {
	kills := longtest.Size(5, 10, 30)
	for _, format := range []string{"parquet", "json", "csv"} {
		seed := uint64(time.Now().UnixNano()) //nolint:gosec // random
		t.Run(fmt.Sprintf("%s/%d", format, seed), func(t *testing.T) {
			dir := t.TempDir()
			killed := 0
			for round := range kills {
				if runChild(t, dir, format, seed+uint64(round)) { //nolint:gosec // small
					killed++
				}
				checkFiles(t, dir, format)
			}
			if killed == 0 {
				t.Error("no process was killed")
			}
			runChild(t, dir, format, 0)
			rows := checkFiles(t, dir, format)
			checkRows(t, rows)
		})
	}
}

// checkRows makes sure that each row of rowAt is there once.
func checkRows(t *testing.T, rows map[string]int) {
	t.Helper()
	for p := range int32(killPartitions) {
		for offset := range int64(killRows) {
			values, ok := rowAt(p, offset)
			if key := fmt.Sprint(values...); ok != (rows[key] == 1) {
				t.Errorf("partition %d, offset %d (%s): %d times", p, offset, key, rows[key])
			}
			delete(rows, fmt.Sprint(values...))
		}
	}
	if len(rows) > 0 {
		t.Errorf("surplus rows %v", rows)
	}
}

// runChild reports whether the process was killed.
func runChild(t *testing.T, dir, format string, seed uint64) bool {
	t.Helper()
	cmd := childCommand(t, dir, format, seed)
	out, err := cmd.CombinedOutput()
	return wasKilled(t, cmd, out, err)
}

func childCommand(t *testing.T, dir, format string, seed uint64) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d", childEnv, dir, format, seed))
	return cmd
}

func wasKilled(t *testing.T, cmd *exec.Cmd, out []byte, err error) bool {
	t.Helper()
	if err == nil {
		return false
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("%v: %s", err, out)
	}
	return true
}

// checkFiles reads everything that a reader of the directory sees, and counts rows. It shares no
// code with the writer.
func checkFiles(t *testing.T, dir, format string) map[string]int {
	t.Helper()
	rows := make(map[string]int)
	files, err := filepath.Glob(filepath.Join(dir, "site=*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		site := strings.TrimPrefix(filepath.Base(filepath.Dir(file)), "site=")
		numbers := readNumbers(t, file, format)
		if len(numbers) == 0 {
			t.Errorf("%s has no rows", file)
		}
		if !slices.IsSorted(numbers) {
			t.Errorf("the rows of %s are not in the order of their offsets", file)
		}
		for _, n := range numbers {
			rows[fmt.Sprint(n, site)]++
		}
	}
	for row, n := range rows {
		if n > 1 {
			t.Errorf("row %s is there %d times", row, n)
		}
	}
	return rows
}

// Processes that write to an object store are killed when one of their requests arrives, before or
// after it takes effect.
func TestKillBucket(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // random
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // a test
	o := sinktest.NewObjects(t, "bucket")
	target := bucketTarget(t, o, "n BIGINT, site STRING", "site", "'format' = 'json'")
	kills := longtest.Size(5, 10, 30)
	killed := 0
	for round := range kills + 1 {
		cmd := childCommand(t, o.URL, "json", seed+uint64(round)) //nolint:gosec // small
		var out syncbuf.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		started := make(chan int, 1)
		left := 1 + random.IntN(100)
		fault := []sinktest.Fault{sinktest.DropBefore, sinktest.DropAfter}[random.IntN(2)]
		o.SetFault(func(*http.Request) sinktest.Fault {
			if left--; left != 0 || round == kills {
				return sinktest.None
			}
			if err := syscall.Kill(<-started, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			return fault
		})
		if round == kills {
			cmd = childCommand(t, o.URL, "json", 0)
			cmd.Stdout, cmd.Stderr = &out, &out
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		started <- cmd.Process.Pid
		if err := cmd.Wait(); wasKilled(t, cmd, []byte(out.String()), err) {
			killed++
		}
		o.SetFault(nil)
		checkObjects(t, target)
	}
	if killed < kills/2 {
		t.Errorf("only %d processes were killed", killed)
	}
	rows, uploads := checkObjects(t, target)
	checkRows(t, rows)
	if uploads > 0 {
		t.Errorf("%d uploads are left", uploads)
	}
}

// checkObjects counts the rows of the files that readers see. None is there twice.
func checkObjects(t *testing.T, target *Target) (rows map[string]int, uploads int) {
	t.Helper()
	rows = make(map[string]int)
	files, uploads := objects(t, target)
	for name, text := range files {
		site := strings.TrimPrefix(strings.Split(name, "/")[0], "site=")
		for line := range strings.Lines(text) {
			var r struct{ N int64 }
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			rows[fmt.Sprint(r.N, site)]++
		}
	}
	for row, n := range rows {
		if n > 1 {
			t.Errorf("row %s is there %d times", row, n)
		}
	}
	return rows, uploads
}

func readNumbers(t *testing.T, file, format string) (all []int64) {
	t.Helper()
	type row struct {
		N int64 `json:"n" parquet:"n,optional"`
	}
	if format == "parquet" {
		rows, err := parquet.ReadFile[row](file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, r := range rows {
			all = append(all, r.N)
		}
		return all
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		var r row
		if format == "json" {
			err = json.Unmarshal(scanner.Bytes(), &r)
		} else {
			r.N, err = strconv.ParseInt(scanner.Text(), 10, 64)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, r.N)
	}
	return all
}
