package printer

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is what is printed. It fails as often as failures says, after it has taken the rows.
type output struct {
	mu       sync.Mutex
	text     bytes.Buffer
	failures int
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if o.failures > 0 {
		o.failures--
		return len(b), errors.New("the process dies before the positions are committed")
	}
	return len(b), nil
}

// take returns the sorted lines since the last call.
func (o *output) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := strings.Split(strings.TrimSuffix(o.text.String(), "\n"), "\n")
	o.text.Reset()
	slices.Sort(lines)
	return lines
}

func printTable(t *testing.T, options string) (*plan.Program, *plan.Table) {
	t.Helper()
	p, err := plan.Compile(`CREATE TABLE t (d STRING, n BIGINT) WITH ('connector' = 'print'`+options+`);
		CREATE TABLE r (d STRING) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json'); INSERT INTO t SELECT d, COUNT(*) FROM r GROUP BY d;`, "test")
	if err != nil {
		t.Fatal(err)
	}
	return p, p.Deliveries()[0]
}

func deliver(t *testing.T, at broker.Config, options string, out *output) sink.Snapshot {
	t.Helper()
	p, table := printTable(t, options)
	c := sinktest.Config(at, p, table, nil)
	c.Target = New(at, p.Name, table, out, discard)
	return sinktest.Deliver(t, c)
}

// Rows are printed as they are in the topic, once if nothing fails, with Flink's prefix.
func TestPrint(t *testing.T) {
	for _, test := range []struct {
		partitions int32
		options    string
		want       []string
	}{
		{1, "", []string{"+I[a, 1]", "+U[a, 2]", "-U[a, 1]"}},
		{1, ", 'print-identifier' = 'totals'", []string{"totals> +I[a, 1]", "totals> +U[a, 2]", "totals> -U[a, 1]"}},
		{2, "", []string{"1> +I[a, 1]", "2> +U[a, 2]", "2> -U[a, 1]"}},
		{2, ", 'print-identifier' = 'totals'", []string{"totals:1> +I[a, 1]", "totals:2> +U[a, 2]", "totals:2> -U[a, 1]"}},
	} {
		t.Run(fmt.Sprint(test.partitions, test.options), func(t *testing.T) {
			at := sinktest.Cluster(t, test.partitions)
			last := test.partitions - 1
			sinktest.Write(t, at, sinktest.Record(0, "", "+I[a, 1]"), sinktest.Record(last, "", "-U[a, 1]"), sinktest.Record(last, "", "+U[a, 2]"))
			out := &output{}
			if s := deliver(t, at, test.options, out); s.Rows != 3 {
				t.Errorf("%d rows delivered, want 3", s.Rows)
			}
			if got := out.take(); !slices.Equal(got, test.want) {
				t.Errorf("printed %q, want %q", got, test.want)
			}
			sinktest.Write(t, at, sinktest.Record(0, "", "-D[a, 2]"))
			deliver(t, at, test.options, out)
			if got := out.take(); len(got) != 1 || !strings.HasSuffix(got[0], "-D[a, 2]") {
				t.Errorf("the next process printed %q, want the new row alone", got)
			}
		})
	}
}

// A process that dies after it has printed rows leaves them to the next one: at least once, never
// less.
func TestPrintAgain(t *testing.T) {
	at := sinktest.Cluster(t, 1)
	sinktest.Write(t, at, sinktest.Record(0, "", "+I[a, 1]"))
	out := &output{failures: 1}
	deliver(t, at, "", out)
	if got := out.take(); !slices.Equal(got, []string{"+I[a, 1]", "+I[a, 1]"}) {
		t.Errorf("printed %q, want the row twice", got)
	}
}

// discard takes log lines that a test does not look at.
var discard = slog.New(slog.DiscardHandler)
