package files

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/sinktest"
	"weir.example/weir/internal/syncbuf"
)

// inBucket returns the options of a table in a bucket of a server.
func inBucket(o *sinktest.Objects) string {
	return "'s3.endpoint' = '" + o.URL + "', 's3.path.style.access' = 'true', 's3.region' = 'us-east-1', 's3.access-key' = 'weir', 's3.secret-key' = '${env:WEIR_TEST_S3_KEY}'"
}

// bucketTarget returns the target of a table in a bucket.
func bucketTarget(t testing.TB, o *sinktest.Objects, columns, partitioned, with string) *Target {
	t.Helper()
	t.Setenv("WEIR_TEST_S3_KEY", "secret key")
	minio.DefaultRetryUnit, minio.DefaultRetryCap = time.Millisecond, time.Millisecond
	return New("p", table(t, "s3://bucket/results/t", columns, partitioned, with+", "+inBucket(o)), secret.Source{})
}

// objects returns the files that readers of a bucket see, and how many uploads are not completed.
func objects(t testing.TB, target *Target) (files map[string]string, uploads int) {
	t.Helper()
	at, err := Connect(target.table, target.secrets)
	if err != nil {
		t.Fatal(err)
	}
	files = make(map[string]string)
	if err := at.Names(t.Context(), func(name string) bool {
		if strings.HasPrefix(name, ".") {
			return true
		}
		r, _, _, err := at.GetObject(t.Context(), "bucket", at.Key(name), minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	page, err := at.ListMultipartUploads(t.Context(), "bucket", "", "", "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range page.Uploads {
		if !strings.HasSuffix(u.Key, "/probe") {
			uploads++
		}
	}
	return files, uploads
}

// Each request of two deliveries fails once, in each way; the next session delivers the same rows,
// and no row is there twice.
func TestEachRequestFails(t *testing.T) {
	row := func(n int64) []any { return []any{n, []string{"a", "b"}[n%2]} }
	for _, fault := range []sinktest.Fault{sinktest.DropBefore, sinktest.DropAfter, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusForbidden} {
		for fails := 1; ; fails++ {
			o := sinktest.NewObjects(t, "bucket")
			target := bucketTarget(t, o, "n BIGINT, site STRING", "site", "'format' = 'json'")
			requests, failed := 0, ""
			o.SetFault(func(r *http.Request) sinktest.Fault {
				if requests++; requests == fails {
					failed = r.Method + " " + r.URL.RawQuery
					return fault
				}
				return sinktest.None
			})
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
					if err := s.Deliver(t.Context(), batch(target.table, 0, from, row(from), row(from+1), row(from+2), row(from+3)), none); err != nil {
						return err
					}
				}
				return nil
			}
			err := deliver()
			if failed == "" {
				if err != nil || fails < 20 {
					t.Errorf("two deliveries have only %d requests: %v", fails, err)
				}
				break
			}
			if fault != http.StatusForbidden && err != nil { // such requests are repeated at once
				t.Errorf("request %d (%s), fault %d: %v", fails, failed, fault, err)
			}
			if err := deliver(); err != nil {
				t.Fatalf("after request %d (%s), fault %d: %v", fails, failed, fault, err)
			}
			want := ""
			for _, name := range []string{"a/t-0-00000000000000000000", "a/t-0-00000000000000000004", "b/t-0-00000000000000000001", "b/t-0-00000000000000000005"} {
				n := name[len(name)-1:]
				want += "site=" + name + ".json\n{\"n\":" + n + "}\n{\"n\":" + string(n[0]+2) + "}\n"
			}
			files, uploads := objects(t, target)
			if diff := cmp.Diff(want, show(files)); diff != "" {
				t.Errorf("after request %d (%s), fault %d: %s", fails, failed, fault, diff)
			}
			if uploads > 0 {
				t.Errorf("after request %d (%s), fault %d: %d uploads are left", fails, failed, fault, uploads)
			}
		}
	}
}

// A server that ignores a condition is refused by name, and so is one without the bucket.
func TestUnusableBucket(t *testing.T) {
	for _, c := range []struct {
		fault func(r *http.Request) sinktest.Fault
		want  string
	}{
		{func(r *http.Request) sinktest.Fault {
			if r.Header.Get("If-None-Match") != "" && r.Method == http.MethodPut {
				return sinktest.Unconditional
			}
			return sinktest.None
		}, "ignores If-None-Match: * of PutObject"},
		{func(r *http.Request) sinktest.Fault {
			if r.Header.Get("If-Match") != "" {
				return sinktest.Unconditional
			}
			return sinktest.None
		}, "ignores If-Match of PutObject"},
		{func(r *http.Request) sinktest.Fault {
			if r.Method == http.MethodPost {
				return sinktest.Unconditional
			}
			return sinktest.None
		}, "ignores If-None-Match: * of CompleteMultipartUpload"},
		{func(*http.Request) sinktest.Fault { return http.StatusForbidden }, "the user needs s3:GetObject"},
		{func(r *http.Request) sinktest.Fault {
			if r.Header.Get("If-Match") != "" {
				return http.StatusNotImplemented
			}
			return sinktest.None
		}, "If-Match of PutObject"},
	} {
		o := sinktest.NewObjects(t, "bucket")
		target := bucketTarget(t, o, "n BIGINT", "", "'format' = 'json'")
		o.SetFault(c.fault)
		_, err := target.Open(t.Context(), source)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret key") {
			t.Errorf("want %s, got %v", c.want, err)
		}
	}
	o := sinktest.NewObjects(t, "other")
	_, err := bucketTarget(t, o, "n BIGINT", "", "'format' = 'json'").Open(t.Context(), source)
	if !errors.As(err, new(*sink.RefusedError)) || !strings.Contains(err.Error(), "the bucket bucket does not exist") {
		t.Error(err)
	}
}

// Sessions share the partitions of a table; one that loses a partition can't write its rows, and
// another object is never overwritten.
func TestBucketSessions(t *testing.T) {
	o := sinktest.NewObjects(t, "bucket")
	target := bucketTarget(t, o, "n BIGINT", "", "'format' = 'csv'")
	first, _ := open(t, target, 0)
	second, _ := open(t, target, 1)
	for from := range int64(3) {
		for p, s := range []sink.Session{first, second} {
			if err := s.Deliver(t.Context(), batch(target.table, int32(p), from, []any{from}), none); err != nil { //nolint:gosec // small
				t.Fatal(err)
			}
		}
	}
	next, err := second.Claim(t.Context(), []int32{0})
	if err != nil || next[0] != 3 {
		t.Error(next, err)
	}
	if err := first.Deliver(t.Context(), batch(target.table, 0, 3, []any{int64(3)}), none); !errors.As(err, new(*sink.FencedError)) {
		t.Errorf("a fenced session: %v", err)
	}
	at, err := Connect(target.table, target.secrets)
	if err != nil {
		t.Fatal(err)
	}
	name := target.fileName(0, 3)
	put := func(text string) {
		t.Helper()
		if _, err := at.Client.PutObject(t.Context(), "bucket", at.Key(name), strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put("foreign")
	if err := second.Deliver(t.Context(), batch(target.table, 0, 3, []any{int64(3)}), none); !errors.As(err, new(*sink.RefusedError)) || !strings.Contains(err.Error(), "is there already") {
		t.Error(err)
	}
	if err := at.RemoveObject(t.Context(), "bucket", at.Key(name), minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	// The other object appears after the commit.
	o.SetFault(func(r *http.Request) sinktest.Fault {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
			return http.StatusForbidden
		}
		return sinktest.None
	})
	if err := second.Deliver(t.Context(), batch(target.table, 0, 3, []any{int64(3)}), none); err == nil {
		t.Error("delivered")
	}
	if at, err := target.Positions(t.Context(), source); err != nil || at[0] != 3 || at[1] != 3 {
		t.Errorf("rows of a file that nobody sees count as delivered: %v %v", at, err)
	}
	o.SetFault(nil)
	put("foreign")
	third, err := target.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := third.Claim(t.Context(), []int32{0}); !errors.As(err, new(*sink.RefusedError)) || !strings.Contains(err.Error(), "is there already") {
		t.Error(err)
	}
	if err := at.RemoveObject(t.Context(), "bucket", at.Key(name), minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if next, err := third.Claim(t.Context(), []int32{0}); err != nil || next[0] != 4 {
		t.Error(next, err)
	}
	files, uploads := objects(t, target)
	if uploads != 0 || len(files) != 7 || files[name] != "3\n" {
		t.Error(files, uploads)
	}
	if info, err := at.StatObject(t.Context(), "bucket", at.Key(name), minio.StatObjectOptions{}); err != nil || info.UserMetadata["Weir-From"] != "3" || info.UserMetadata["Weir-Next"] != "4" {
		t.Error(info.UserMetadata, err)
	}
	// Files without a state.
	if err := at.RemoveObject(t.Context(), "bucket", at.Key(".weir/t/"+stateFile), minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := target.Open(t.Context(), source); !errors.As(err, new(*sink.RefusedError)) || !strings.Contains(err.Error(), "restore it") {
		t.Error(err)
	}
}

// An upload that a rule of the bucket has removed after its commit is not forgotten, and its rows
// can be written again as the message says.
func TestCommittedUploadIsMissing(t *testing.T) {
	o := sinktest.NewObjects(t, "bucket")
	target := bucketTarget(t, o, "n BIGINT", "", "'format' = 'csv'")
	s, _ := open(t, target, 0)
	o.SetFault(func(r *http.Request) sinktest.Fault {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
			return http.StatusForbidden
		}
		return sinktest.None
	})
	rows := batch(target.table, 0, 0, []any{int64(1)})
	if err := s.Deliver(t.Context(), rows, none); err == nil {
		t.Fatal("delivered")
	}
	o.SetFault(nil)
	at, err := target.store()
	if err != nil {
		t.Fatal(err)
	}
	now, _, err := at.load(t.Context())
	if err != nil || len(now.Files) != 1 {
		t.Fatal(now, err)
	}
	at.discard(now.Files[0])
	again, err := target.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Claim(t.Context(), []int32{0}); !errors.As(err, new(*sink.RefusedError)) || !strings.Contains(err.Error(), "To write its rows again") {
		t.Error(err)
	}
	now, version, err := at.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now.Files, now.Next = nil, now.From
	if err := at.replace(t.Context(), version, now); err != nil {
		t.Fatal(err)
	}
	again, next := open(t, target, 0)
	if err := again.Deliver(t.Context(), rows, none); err != nil || next[0] != 0 {
		t.Fatal(next, err)
	}
	if files, uploads := objects(t, target); files[target.fileName(0, 0)] != "1\n" || uploads != 0 {
		t.Error(files, uploads)
	}
}

// A file that is larger than a part has the bytes that were written.
func TestLargeObject(t *testing.T) {
	o := sinktest.NewObjects(t, "bucket")
	target := bucketTarget(t, o, "s STRING", "", "'format' = 'csv'")
	s, _ := open(t, target, 0)
	big := strings.Repeat("0123456789abcdef", partBytes/16)
	if err := s.Deliver(t.Context(), batch(target.table, 0, 0, []any{big}, []any{"x"}, []any{big}), none); err != nil {
		t.Fatal(err)
	}
	files, _ := objects(t, target)
	if text := files[target.fileName(0, 0)]; text != big+"\nx\n"+big+"\n" {
		t.Errorf("%d bytes", len(text))
	}
}

// Two processes deliver, lose partitions to each other and hit faults at random; each row is there
// once.
func TestBucketRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // random
	t.Logf("seed %d", seed)
	o := sinktest.NewObjects(t, "bucket")
	target := bucketTarget(t, o, "n BIGINT, site STRING", "site", "'format' = 'json'")
	faults := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
	o.SetFault(func(*http.Request) sinktest.Fault {
		if faults.IntN(40) > 0 {
			return sinktest.None
		}
		return []sinktest.Fault{sinktest.DropBefore, sinktest.DropAfter, http.StatusServiceUnavailable, http.StatusForbidden, http.StatusForbidden}[faults.IntN(5)]
	})
	var running sync.WaitGroup
	for process := range uint64(2) {
		running.Go(func() {
			random := rand.New(rand.NewPCG(seed, process+1)) //nolint:gosec // a test
			target := New("p", target.table, target.secrets)
			for !deliverSome(t, target, random) {
				if t.Context().Err() != nil {
					return
				}
			}
		})
	}
	running.Wait()
	o.SetFault(nil)
	s, next := open(t, target, 0, 1, 2)
	s.Close()
	if !done(next) {
		t.Error(next)
	}
	rows, uploads := checkObjects(t, target)
	checkRows(t, rows)
	if uploads > 0 {
		t.Errorf("%d uploads are left", uploads)
	}
}

// deliverSome is a session that claims random partitions and delivers some of their rows. It
// reports whether all rows are delivered.
func deliverSome(t *testing.T, target *Target, random *rand.Rand) bool {
	s, err := target.Open(t.Context(), source)
	if err != nil {
		return false
	}
	defer s.Close()
	var claims []int32
	for p := range int32(killPartitions) {
		if random.IntN(2) == 0 {
			claims = append(claims, p)
		}
	}
	next, err := s.Claim(t.Context(), claims)
	if err != nil {
		return false
	}
	for range random.IntN(6) {
		b := emptyBatch()
		for _, p := range claims {
			addRows(b, p, next[p], min(killRows, next[p]+random.Int64N(60)))
		}
		if len(b.Next) == 0 {
			break
		}
		if err := s.Deliver(t.Context(), b, none); err != nil {
			return false
		}
		for p, at := range b.Next {
			next[p] = at
		}
	}
	at, err := target.Positions(t.Context(), source)
	return err == nil && done(at)
}

// Names of objects are bounded together; a row that would exceed them is refused alone.
func TestKeyIsTooLong(t *testing.T) {
	o := sinktest.NewObjects(t, "bucket")
	target := bucketTarget(t, o, "n BIGINT, a STRING, b STRING, c STRING, d STRING, e STRING", "a, b, c, d, e", "'format' = 'csv'")
	s, _ := open(t, target, 0)
	long := strings.Repeat("x", 200)
	var refused []string
	b := batch(target.table, 0, 0, []any{int64(1), long, long, long, long, long}, []any{int64(2), "a", "b", "c", "d", "e"})
	if err := s.Deliver(t.Context(), b, func(all []sink.Refusal) error {
		for _, r := range all {
			refused = append(refused, r.Err.Error())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(refused) != 1 || !strings.Contains(refused[0], "too long for the key of an object") {
		t.Error(refused)
	}
	if files, _ := objects(t, target); len(files) != 1 {
		t.Error(files)
	}
}

// A server of another origin, moto of PyPI, keeps the conditions too. WEIR_TEST_PYTHON can name an
// interpreter that has it.
func TestMoto(t *testing.T) {
	if !longtest.Enabled() {
		t.Skip("needs packages of PyPI: make long")
	}
	python := os.Getenv("WEIR_TEST_PYTHON")
	if python == "" {
		python = filepath.Join(t.TempDir(), "venv", "bin", "python")
		for _, args := range [][]string{{"python3", "-m", "venv", filepath.Dir(filepath.Dir(python))}, {python, "-m", "pip", "install", "-q", "moto[server,s3]"}} {
			if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil { //nolint:gosec // a fixed list
				t.Fatalf("%v: %v: %s (Debian's packages python3-venv and python3-pip)", args, err, out)
			}
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.CommandContext(t.Context(), python, "-c", "import sys; from moto.server import main; main(sys.argv[1:])", "-p", port) //nolint:gosec // our own script
	var out syncbuf.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	target := bucketTarget(t, &sinktest.Objects{URL: "http://" + address}, "n BIGINT, site STRING", "site", "'format' = 'json'")
	at, err := Connect(target.table, target.secrets)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if err = at.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}); err == nil {
			break
		}
		if t.Context().Err() != nil || cmd.ProcessState != nil {
			t.Fatal(err, out.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, p := range []int32{0, 1, 0, 1} {
		s, next := open(t, target, p)
		for range 2 {
			n := int64(p)*100 + next[p]
			if err := s.Deliver(t.Context(), batch(target.table, p, next[p], []any{n, "a/b"}, []any{n + 1, nil}), none); err != nil {
				t.Fatal(err, out.String())
			}
			next[p] += 2
		}
		s.Close()
	}
	files, uploads := objects(t, target)
	if len(files) != 16 || uploads != 0 || files["site=a%2Fb/t-1-00000000000000000006.json"] != "{\"n\":106}\n" {
		t.Error(files, uploads)
	}
}
