package files

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
)

var source = sink.Topic{Name: "test.t.out", ID: "id-1"}

// table plans a pipeline that writes a table with these columns to files.
func table(t testing.TB, dir, columns, partitioned, with string) *plan.Table {
	t.Helper()
	if partitioned != "" {
		partitioned = "PARTITIONED BY (" + partitioned + ")"
	}
	text := fmt.Sprintf("CREATE TABLE t (%s) %s WITH ('connector' = 'filesystem', 'path' = '%s', %s);\n", columns, partitioned, dir, with) +
		"CREATE TABLE r WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json') LIKE t (EXCLUDING ALL);\nINSERT INTO t SELECT * FROM r;"
	p, err := plan.Compile(text, "test")
	if err != nil {
		t.Fatal(err)
	}
	return p.Deliveries()[0]
}

// open opens a session of a target and claims partitions.
func open(t testing.TB, target *Target, partitions ...int32) (sink.Session, map[int32]int64) {
	t.Helper()
	s, err := target.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	next, err := s.Claim(t.Context(), partitions)
	if err != nil {
		t.Fatal(err)
	}
	return s, next
}

// batch returns a batch of rows of one partition, with consecutive offsets.
func batch(t *plan.Table, partition int32, from int64, rows ...[]any) *sink.Batch {
	types := make([]column.Type, len(t.Kafka.Value.Fields))
	for i, f := range t.Kafka.Value.Fields {
		types[i] = f.Type
	}
	b := &sink.Batch{Rows: column.NewBatch(types), Deleted: column.NewBatch(nil), From: map[int32]int64{partition: from}, Next: map[int32]int64{partition: from + int64(len(rows))}}
	for i, r := range rows {
		b.Rows.AddRow(r)
		b.Origins = append(b.Origins, &kgo.Record{Topic: source.Name, Partition: partition, Offset: from + int64(i)})
	}
	return b
}

// own returns a file that is not for readers.
func own(t *Target, name string) string {
	return filepath.Join(t.files.Path, hidden, t.table.Name, name)
}

func none([]sink.Refusal) error { return nil }

// visible returns the files that readers see, by their names relative to dir.
func visible(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return err
		}
		text, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir+"/")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func show(files map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "%s\n%s", name, files[name])
	}
	return b.String()
}
