//go:build unix

package files

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/secret"
)

// compactEnv makes the test's binary compact a directory until it kills itself: source, target,
// seed, and the number of steps of which it dies in one.
const compactEnv = "WEIR_TEST_COMPACT_CHILD"

func compactUntilKilled(args []string) error {
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	c := newCompact(CompactConfig{Source: args[0], Target: args[1], FileSize: 3000})
	steps, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	if left := 1 + rand.New(rand.NewPCG(seed, 3)).IntN(steps); seed != 0 { //nolint:gosec // a test
		c.failpoint = func(string) error {
			if left--; left == 0 {
				return syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
			return nil
		}
	}
	_, err = c.run(context.Background())
	return err
}

// While compactions are killed at random steps, readers of the target see complete files only, and
// no row twice. At the end each row is there once, and the source is as it was. Rows that the sink
// writes later are added by the next compaction.
func TestCompactKilled(t *testing.T) {
	for _, format := range []string{"parquet", "json", "csv"} {
		seed := uint64(time.Now().UnixNano()) //nolint:gosec // random
		t.Run(fmt.Sprintf("%s/%d", format, seed), func(t *testing.T) {
			dir, into := t.TempDir(), filepath.Join(t.TempDir(), "into", "it")
			s, _ := open(t, killTable(t, dir, format), 0) // so that there is a state
			s.Close()
			killed := 0
			for round := range longtest.Size(3, 6, 30) {
				steps := 40
				if round == 0 {
					steps = 3 // which even an empty compaction has
				}
				// The sink is killed as well, so it goes on in the next round.
				runChild(t, dir, format, seed+uint64(round)) //nolint:gosec // small
				before := visible(t, dir)
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d|%d", compactEnv, dir, into, seed+uint64(round), steps)) //nolint:gosec // small
				out, err := cmd.CombinedOutput()
				if wasKilled(t, cmd, out, err) {
					killed++
				}
				checkFiles(t, into, format)
				if diff := cmp.Diff(before, visible(t, dir)); diff != "" {
					t.Error(diff)
				}
			}
			if killed == 0 {
				t.Error("no process was killed")
			}
			runChild(t, dir, format, 0)
			for range 2 { // the rest of an interrupted one, and what was written since
				if err := compactUntilKilled([]string{dir, into, "0", "1"}); err != nil {
					t.Fatal(err)
				}
			}
			checkRows(t, checkFiles(t, into, format))
			if entries, err := os.ReadDir(filepath.Join(into, hidden, "t")); err != nil || len(entries) != 2 {
				t.Error(entries, err)
			}
		})
	}
}

// plainSource delivers rows of one partition, each in a file of its own.
func plainSource(t *testing.T, columns, format string, next int64, rows ...[]any) string {
	t.Helper()
	dir := t.TempDir()
	deliverTo(t, dir, columns, format, next, rows...)
	return dir
}

func deliverTo(t *testing.T, dir, columns, format string, next int64, rows ...[]any) {
	t.Helper()
	of := table(t, dir, columns, "", "'format' = '"+format+"'")
	s, _ := open(t, New("p", of, secret.Source{}), 0)
	defer s.Close()
	for i, row := range rows {
		if err := s.Deliver(t.Context(), batch(of, 0, next+int64(i), row), none); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCompactText(t *testing.T) {
	for format, want := range map[string]string{
		"json": `{"n":1,"s":"a, \"b\"\n"}` + "\n" + `{"n":2,"s":null}` + "\n" + `{"n":3,"s":""}` + "\n",
		"csv":  "1,\"a, \"\"b\"\"\n\"\n2,\n3,\"\"\n",
	} {
		dir := plainSource(t, "n BIGINT, s STRING", format, 0, []any{int64(1), "a, \"b\"\n"}, []any{int64(2), nil}, []any{int64(3), ""})
		into := filepath.Join(t.TempDir(), "into")
		r, err := Compact(t.Context(), CompactConfig{Source: dir, Target: into})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"t-0-00000000000000000000." + format: want}, visible(t, into)); diff != "" {
			t.Error(diff)
		}
		if r.Rows != 3 || r.Files != 1 || r.FilesRead != 3 || r.Next[0] != 3 || r.Bytes != int64(len(want)) || r.BytesRead != r.Bytes || r.Continued {
			t.Errorf("%+v", r)
		}
		// Later rows are added. The others are not touched.
		deliverTo(t, dir, "n BIGINT, s STRING", format, 3, []any{int64(4), "x"}, []any{int64(5), "y"})
		if r, err = Compact(t.Context(), CompactConfig{Source: dir, Target: into}); err != nil || r.Rows != 2 || r.FilesRead != 2 || r.Files != 1 {
			t.Errorf("%+v %v", r, err)
		}
		if got := slices.Sorted(maps.Keys(visible(t, into))); len(got) != 2 || got[1] != "t-0-00000000000000000003."+format {
			t.Error(got)
		}
		if r, err = Compact(t.Context(), CompactConfig{Source: dir, Target: into}); err != nil || r.Files != 0 {
			t.Errorf("%+v %v", r, err)
		}
		// The result can be compacted again, and a sink does not write to it.
		if r, err = Compact(t.Context(), CompactConfig{Source: into, Target: filepath.Join(t.TempDir(), "again")}); err != nil || r.Rows != 5 || r.Files != 1 {
			t.Errorf("%+v %v", r, err)
		}
		of := table(t, into, "n BIGINT, s STRING", "", "'format' = '"+format+"'")
		if _, err := New("p", of, secret.Source{}).Open(t.Context(), source); err == nil || !strings.Contains(err.Error(), "copies that weir sink compact has written from "+dir) {
			t.Error(err)
		}
	}
}

// New columns are NULL in older rows, also between others, and columns that are gone keep theirs.
func TestCompactVersions(t *testing.T) {
	dir := plainSource(t, "gone ARRAY<INT>, n BIGINT, r ROW<a INT>", "parquet", 0, []any{[]any{int64(7), int64(8)}, int64(1), []any{int64(3)}})
	deliverTo(t, dir, "n BIGINT, x ROW<y STRING, l ARRAY<INT>>, r ROW<a INT>", "parquet", 1, []any{int64(2), []any{"v", []any{int64(1), nil}}, []any{nil}})
	into := filepath.Join(t.TempDir(), "into")
	if _, err := Compact(t.Context(), CompactConfig{Source: dir, Target: into}); err != nil {
		t.Fatal(err)
	}
	type row struct {
		N *int64 `parquet:"n,optional"`
		X *struct {
			Y *string  `parquet:"y,optional"`
			L []*int32 `parquet:"l,optional,list"`
		} `parquet:"x,optional"`
		R *struct {
			A *int32 `parquet:"a,optional"`
		} `parquet:"r,optional"`
		Gone []*int32 `parquet:"gone,optional,list"`
	}
	file := filepath.Join(into, "t-0-00000000000000000000.parquet")
	rows, err := parquet.ReadFile[row](file)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, r := range rows {
		text += fmt.Sprintf("n=%d x=%t r=%t gone=%d;", *r.N, r.X != nil, r.R != nil, len(r.Gone))
	}
	if text != "n=1 x=false r=true gone=2;n=2 x=true r=true gone=0;" || *rows[0].R.A != 3 || *rows[1].X.Y != "v" || len(rows[1].X.L) != 2 || *rows[0].Gone[1] != 8 {
		t.Error(text)
	}
}

func TestCompactRefuses(t *testing.T) {
	one, two := []any{int64(1)}, []any{"two"}
	good := plainSource(t, "n BIGINT", "json", 0, one)
	both := plainSource(t, "n BIGINT", "json", 0, one)
	if err := os.Mkdir(filepath.Join(both, hidden, "u"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(both, hidden, "u", stateFile), "{}")
	mixed := func(format, columns string, row []any) string {
		dir := plainSource(t, "n BIGINT", format, 0, one)
		deliverTo(t, dir, columns, format, 1, row)
		return dir
	}
	damaged := plainSource(t, "n BIGINT", "parquet", 0, one, one)
	text, err := os.ReadFile(filepath.Join(damaged, "t-0-00000000000000000001.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(damaged, "t-0-00000000000000000001.parquet"), string(text[:len(text)/2]))
	cut := plainSource(t, "n BIGINT", "json", 0, one)
	write(t, filepath.Join(cut, "t-0-00000000000000000000.json"), `{"n":1}`)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	stray := t.TempDir()
	write(t, filepath.Join(stray, "t-0-00000000000000000009.json"), "{}\n")
	elsewhere := func() string { return filepath.Join(t.TempDir(), "into") }
	for _, c := range []struct{ source, target, table, want string }{
		{good, good, "", "is the directory of the files themselves"},
		{good, filepath.Join(good, "a", "b"), "", "is inside of"},
		{good, filepath.Join(link, "a"), "", "is inside of"},
		{good, filepath.Dir(good), "", "contains"},
		{t.TempDir(), elsewhere(), "", "is not a directory of a filesystem sink"},
		{filepath.Join(good, "nothing"), elsewhere(), "", "no such file"},
		{filepath.Join(good, "t-0-00000000000000000000.json"), elsewhere(), "", "is a file"},
		{good, elsewhere(), "u", "no files of a table u"},
		{both, elsewhere(), "", "choose one with --table: t, u"},
		{"s3://bucket/x", elsewhere(), "", "directories of this machine"},
		{good, both, "", "which the sink itself has written"},
		{good, stray, "", "but no"},
		{mixed("parquet", "n STRING", two), elsewhere(), "", "the column n is optional binary (STRING) in one and optional int64 (INT(64,true)) in the other"},
		{mixed("parquet", "n BIGINT, m INT NOT NULL", []any{int64(1), int64(2)}), elsewhere(), "", "only some have the column m"},
		{mixed("json", "n STRING", two), elsewhere(), "", "the field n is a number in one and a string in the other"},
		{mixed("csv", "n BIGINT, m INT", []any{int64(1), int64(2)}), elsewhere(), "", "the rows of one have 1 values, and those of the other 2"},
		{damaged, elsewhere(), "", "t-0-00000000000000000001.parquet is damaged"},
		{cut, elsewhere(), "", "its last row is not complete"},
	} {
		_, err := Compact(t.Context(), CompactConfig{Source: c.source, Target: c.target, Table: c.table})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s into %s: got %v, want %q", c.source, c.target, err, c.want)
		}
	}
	if got := visible(t, good); len(got) != 1 {
		t.Error(got)
	}
}

// A target that has rows of another sink, or more than the source, is not mixed with it.
func TestCompactOtherTarget(t *testing.T) {
	into := filepath.Join(t.TempDir(), "into")
	one := []any{int64(1)}
	long, short, other := plainSource(t, "n BIGINT", "json", 0, one, one), plainSource(t, "n BIGINT", "json", 0, one), plainSource(t, "n BIGINT", "csv", 0, one)
	if _, err := Compact(t.Context(), CompactConfig{Source: long, Target: into}); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{short: "was replaced by an older version", other: "do not belong together"} {
		if _, err := Compact(t.Context(), CompactConfig{Source: source, Target: into}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// What is not a file of the table is left out and said. A file whose delivery is not complete is
// left for the next run.
func TestCompactLeavesOut(t *testing.T) {
	dir := plainSource(t, "n BIGINT", "json", 0, []any{int64(1)})
	write(t, filepath.Join(dir, "notes.txt"), "x")
	write(t, filepath.Join(dir, "_SUCCESS"), "")
	write(t, filepath.Join(dir, "t-0-00000000000000000001.json"), `{"n":2}`+"\n")
	r, err := Compact(t.Context(), CompactConfig{Source: dir, Target: filepath.Join(t.TempDir(), "into")})
	if err != nil || r.Rows != 1 || len(r.LeftOut) != 1 || r.LeftOut[0] != "notes.txt" {
		t.Errorf("%+v %v", r, err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
