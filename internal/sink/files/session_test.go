package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
)

func TestPartitionedCSV(t *testing.T) {
	dir := t.TempDir()
	of := table(t, dir, "n BIGINT, s STRING, b BOOLEAN, v DOUBLE, c DECIMAL(20, 2), dt DATE, y BYTES, site STRING", "dt, site", "'format' = 'csv'")
	target := New("p", of, secret.Source{})
	s, next := open(t, target, 0, 1)
	defer s.Close()
	if next[0] != 0 || next[1] != 0 {
		t.Fatal(next)
	}
	b := batch(of, 1, 0,
		[]any{int64(1), "a,\"b\"", true, 1.5, nil, int64(0), "x", "a/b"},
		[]any{int64(2), "", false, nil, nil, int64(0), "", "a/b"},
		[]any{nil, nil, nil, nil, nil, nil, nil, nil},
		[]any{int64(4), "x", nil, nil, nil, int64(0), nil, ""},
		[]any{int64(5), "x", nil, nil, nil, int64(0), nil, "__DEFAULT_PARTITION__"},
		[]any{int64(6), "x", nil, nil, nil, int64(0), nil, strings.Repeat("é", 200)},
		[]any{int64(7), "two\nlines", nil, nil, nil, int64(0), nil, ".."},
	)
	var refused []string
	err := s.Deliver(t.Context(), b, func(all []sink.Refusal) error {
		for _, r := range all {
			refused = append(refused, r.Err.Error())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "dt=1970-01-01/site=../t-1-00000000000000000006.csv\n7,\"two\nlines\",,,,\n" +
		"dt=1970-01-01/site=a%2Fb/t-1-00000000000000000000.csv\n1,\"a,\"\"b\"\"\",true,1.5,,eA==\n2,\"\",false,,,\"\"\n" +
		"dt=__DEFAULT_PARTITION__/site=__DEFAULT_PARTITION__/t-1-00000000000000000002.csv\n,,,,,\n"
	if diff := cmp.Diff(want, show(visible(t, dir))); diff != "" {
		t.Error(diff)
	}
	if len(refused) != 3 {
		t.Error(refused)
	}
	at, err := target.Positions(t.Context(), source)
	if err != nil || at[1] != 7 {
		t.Error(at, err)
	}
}

// Each step of a delivery fails once, with a full disk; the next session delivers the same rows.
func TestEachStepFails(t *testing.T) {
	row := func(n int64) []any { return []any{n, []string{"a", "b"}[n%2]} }
	for fails := 1; ; fails++ {
		dir := t.TempDir()
		of := table(t, dir, "n BIGINT, site STRING", "site", "'format' = 'json'")
		target, steps, failed := New("p", of, secret.Source{}), 0, ""
		target.failpoint = func(step string) error {
			if steps++; steps == fails {
				failed = step
				return syscall.ENOSPC
			}
			return nil
		}
		deliver := func() error {
			s, err := target.Open(t.Context(), source)
			if err != nil {
				return err
			}
			defer s.Close()
			next, err := s.Claim(t.Context(), []int32{0})
			if err != nil {
				return err
			}
			for from := next[0]; from < 8; from += 4 {
				if err := s.Deliver(t.Context(), batch(of, 0, from, row(from), row(from+1), row(from+2), row(from+3)), none); err != nil {
					return err
				}
			}
			return nil
		}
		err := deliver()
		if failed == "" {
			if fails < 20 {
				t.Errorf("a delivery has only %d steps", fails)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) || errors.As(err, new(*sink.RefusedError)) {
			t.Errorf("step %d (%s): %v", fails, failed, err)
		}
		if err := deliver(); err != nil {
			t.Fatalf("after step %d (%s): %v", fails, failed, err)
		}
		want := ""
		for _, name := range []string{"a/t-0-00000000000000000000", "a/t-0-00000000000000000004", "b/t-0-00000000000000000001", "b/t-0-00000000000000000005"} {
			n := name[len(name)-1:]
			want += "site=" + name + ".json\n{\"n\":" + n + "}\n{\"n\":" + string(n[0]+2) + "}\n"
		}
		if diff := cmp.Diff(want, show(visible(t, dir))); diff != "" {
			t.Errorf("after step %d (%s): %s", fails, failed, diff)
		}
		left, err := filepath.Glob(filepath.Join(dir, hidden, "t", "*"+temporary))
		if err != nil || len(left) > 0 {
			t.Errorf("after step %d (%s): %v %v are left", fails, failed, left, err)
		}
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	of := table(t, dir, "n BIGINT, site STRING", "", "'format' = 'json'")
	target := New("p", of, secret.Source{})
	s, _ := open(t, target, 0)
	if err := s.Deliver(t.Context(), batch(of, 0, 0, []any{int64(1), "a"}), none); err != nil {
		t.Fatal(err)
	}
	if _, err := target.Open(t.Context(), source); err == nil || !strings.Contains(err.Error(), "another process writes the files of table t") || errors.As(err, new(*sink.RefusedError)) {
		t.Errorf("a second session: %v", err)
	}
	// Somebody removes the lock.
	if err := os.Remove(own(target, "lock")); err != nil {
		t.Fatal(err)
	}
	second, next := open(t, target, 0)
	if next[0] != 1 {
		t.Error(next)
	}
	if err := s.Deliver(t.Context(), batch(of, 0, 1, []any{int64(2), "a"}), none); !errors.As(err, new(*sink.FencedError)) {
		t.Errorf("a fenced session: %v", err)
	}
	if err := second.Deliver(t.Context(), batch(of, 0, 2, []any{int64(2), "a"}), none); !errors.As(err, new(*sink.FencedError)) {
		t.Errorf("rows after a gap: %v", err)
	}
	// A file with the name of the next one.
	foreign := filepath.Join(dir, target.fileName(0, 1))
	if err := os.WriteFile(foreign, []byte("{}"), fileMode); err != nil {
		t.Fatal(err)
	}
	refusedBy := func(err error, text string) {
		t.Helper()
		if !errors.As(err, new(*sink.RefusedError)) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %s", err, text)
		}
	}
	refusedBy(second.Deliver(t.Context(), batch(of, 0, 1, []any{int64(2), "a"}), none), "is there already")
	s.Close()
	second.Close()
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	_, err := New("other", of, secret.Source{}).Open(t.Context(), source)
	refusedBy(err, "two pipelines can't write the same files")
	_, err = target.Open(t.Context(), sink.Topic{Name: source.Name, ID: "id-2"})
	refusedBy(err, "rows of another topic")
	if at, err := target.Positions(t.Context(), sink.Topic{Name: source.Name, ID: "id-2"}); err != nil || len(at) > 0 {
		t.Error(at, err)
	}
	_, err = New("p", table(t, dir, "n BIGINT, site STRING", "site", "'format' = 'json'"), secret.Source{}).Open(t.Context(), source)
	refusedBy(err, "would now be json files partitioned by (site)")
	_, err = New("p", table(t, dir, "n BIGINT, site STRING", "", "'format' = 'csv'"), secret.Source{}).Open(t.Context(), source)
	refusedBy(err, "would now be csv files")
	if err := os.WriteFile(own(target, stateFile), []byte("{"), fileMode); err != nil {
		t.Fatal(err)
	}
	_, err = target.Open(t.Context(), source)
	refusedBy(err, "is damaged")
	if err := os.Remove(own(target, stateFile)); err != nil {
		t.Fatal(err)
	}
	_, err = target.Open(t.Context(), source)
	refusedBy(err, "restore it, or move the files elsewhere")
}

// A committed file that disappears before it is in place is not forgotten.
func TestCommittedFileIsMissing(t *testing.T) {
	dir := t.TempDir()
	of := table(t, dir, "n BIGINT", "", "'format' = 'json'")
	target := New("p", of, secret.Source{})
	s, _ := open(t, target, 0)
	broken := errors.New("broken")
	target.failpoint = func(step string) error {
		if step == "rename" {
			return broken
		}
		return nil
	}
	if err := s.Deliver(t.Context(), batch(of, 0, 0, []any{int64(1)}), none); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	s.Close()
	target.failpoint = nil
	if at, err := target.Positions(t.Context(), source); err != nil || at[0] != 0 {
		t.Errorf("the rows of a file that nobody sees count as delivered: %v %v", at, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, hidden, "t", "*"+temporary))
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	if err := os.Remove(left[0]); err != nil {
		t.Fatal(err)
	}
	s, err = target.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Claim(t.Context(), []int32{0}); !errors.As(err, new(*sink.RefusedError)) || !strings.Contains(err.Error(), "is missing") {
		t.Error(err)
	}
}

// Files without a state are found behind a link too: their rows would be written again.
func TestPathIsLink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	of := table(t, link, "n BIGINT", "", "'format' = 'json'")
	target := New("p", of, secret.Source{})
	s, _ := open(t, target, 0)
	if err := s.Deliver(t.Context(), batch(of, 0, 0, []any{int64(1)}), none); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.RemoveAll(filepath.Join(dir, hidden)); err != nil {
		t.Fatal(err)
	}
	if _, err := target.Open(t.Context(), source); !errors.As(err, new(*sink.RefusedError)) {
		t.Errorf("files without a state: %v", err)
	}
}
