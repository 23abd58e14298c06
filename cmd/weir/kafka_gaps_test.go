package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// gapTable is a pipeline that copies rows and counts them by key, with a source of four partitions
// from which records are deleted.
type gapTable struct {
	*testing.T
	b    *realBroker
	name string
	sent []*kgo.Record
	age  time.Duration // of the rows to send
}

// gap is a range of offsets that were deleted unread.
type gap struct{ from, to int64 }

const gapPartitions = 4

func (b *realBroker) gapTable(t *testing.T, name string) *gapTable {
	t.Helper()
	g := &gapTable{T: t, b: b, name: name}
	b.makeTopic(t, name+".in", gapPartitions)
	return g
}

// file writes the pipeline, with an additional option for its source.
func (g *gapTable) file(option string) string {
	g.Helper()
	text := strings.NewReplacer("$NAME", g.name, "$OPTION", option).Replace(`SET 'pipeline.name' = '$NAME';
CREATE TABLE rows_in (k STRING, n BIGINT) WITH ('connector' = 'kafka', 'topic' = '$NAME.in', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset'$OPTION);
CREATE TABLE copies (n BIGINT) WITH ('connector' = 'kafka', 'topic' = '$NAME.copies', 'value.format' = 'json');
CREATE TABLE totals (k STRING, c BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = '$NAME.totals', 'key.format' = 'raw', 'value.format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO copies SELECT n FROM rows_in;
INSERT INTO totals SELECT k, COUNT(*) FROM rows_in GROUP BY k;
END;
`)
	file := filepath.Join(g.TempDir(), g.name+".sql")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		g.Fatal(err)
	}
	return file
}

func (g *gapTable) args(file string, more ...string) []string {
	return append([]string{"run", file, g.b.flag, "--instance=x", "--state-dir=none", "--commit-interval=20ms", "--session-timeout=6s", "-o=json"}, more...)
}

// send writes the same number of rows to each partition.
func (g *gapTable) send(each int) {
	g.Helper()
	hash := kgo.StickyKeyPartitioner(nil).ForTopic("")
	var records []*kgo.Record
	for count, i := make(map[int32]int), 0; len(records) < gapPartitions*each; i++ {
		r := &kgo.Record{Topic: g.name + ".in", Key: fmt.Appendf(nil, "k%d", i)}
		r.Partition = int32(hash.Partition(r, gapPartitions))
		if count[r.Partition]++; count[r.Partition] > each {
			continue
		}
		r.Timestamp = time.Now().Add(-g.age)
		r.Value = fmt.Appendf(nil, `{"k":%q,"n":%d}`, r.Key, len(g.sent)+len(records))
		records = append(records, r)
	}
	g.b.send(g.T, records...)
	g.sent = append(g.sent, records...)
}

// delete deletes the records of partitions below gap.to, and removes the unread ones, from gap.from
// on, from the expectation.
func (g *gapTable) delete(gaps map[int32]gap) (offsets int64) {
	g.Helper()
	var upTo kadm.Offsets
	for partition, at := range gaps {
		upTo.AddOffset(g.name+".in", partition, at.to, -1)
		offsets += at.to - at.from
	}
	deleted, err := g.b.admin.DeleteRecords(g.Context(), upTo)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		g.Fatal(err)
	}
	g.forget(gaps)
	return offsets
}

func (g *gapTable) forget(gaps map[int32]gap) {
	g.sent = slices.DeleteFunc(g.sent, func(r *kgo.Record) bool {
		at, ok := gaps[r.Partition]
		return ok && r.Offset >= at.from && r.Offset < at.to
	})
}

// wantRows compares the pipeline's output with the rows that it could read.
func (g *gapTable) wantRows() {
	g.Helper()
	want, totals := make(map[string]int), make(map[string]int)
	for _, r := range g.sent {
		var row struct{ N int }
		if err := json.Unmarshal(r.Value, &row); err != nil {
			g.Fatal(err)
		}
		want[fmt.Sprintf(`{"n":%d}`, row.N)]++
		totals[string(r.Key)]++
	}
	copies, counted := make(map[string]int), make(map[string]int)
	g.read("copies", func(r *kgo.Record) { copies[string(r.Value)]++ })
	g.read("totals", func(r *kgo.Record) {
		var row struct{ C int }
		if err := json.Unmarshal(r.Value, &row); err != nil {
			g.Error(err)
		}
		counted[string(r.Key)] = row.C
	})
	if !maps.Equal(copies, want) || !maps.Equal(counted, totals) {
		g.Errorf("%d copies and %d totals, want %d and %d: %v, want %v", len(copies), len(counted), len(want), len(totals), counted, totals)
	}
}

func (g *gapTable) read(table string, fn func(*kgo.Record)) {
	g.Helper()
	if err := broker.ReadAll(g.Context(), g.b.at, g.name+"."+table, nil, func(r *kgo.Record) error { fn(r); return nil }); err != nil {
		g.Fatal(err)
	}
}

// wantLogged checks that there is one warning for each gap, and no other.
func (g *gapTable) wantLogged(log string, gaps map[int32]gap) {
	g.Helper()
	if n := strings.Count(log, "records were skipped"); n != len(gaps) {
		g.Errorf("%d warnings, want %d:\n%s", n, len(gaps), log)
	}
	for partition, at := range gaps {
		line := regexp.MustCompile(fmt.Sprintf(`records were skipped.*topic"?[=:]"?%s\.in"?.*partition"?[=:]%d.*from"?[=:]%d,?.*to"?[=:]%d\b`, g.name, partition, at.from, at.to))
		if !line.MatchString(log) {
			g.Errorf("no warning of %s.in-%d from %d to %d:\n%s", g.name, partition, at.from, at.to, log)
		}
	}
}

var adminAddress = regexp.MustCompile(`metrics and health at (\S+)`)

// page fetches a page from a process's admin port.
func (p *weir) page(path string) string {
	p.t.Helper()
	waitFor(p.t, "admin port", func() bool { return adminAddress.MatchString(p.errOut.String()) })
	answer, err := http.Get(adminAddress.FindStringSubmatch(p.errOut.String())[1] + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// wantReported checks that a running pipeline reports the gaps in its status and metric, stops it,
// and checks its log and report.
func (g *gapTable) wantReported(p *weir, gaps map[int32]gap, offsets int64) {
	g.Helper()
	metric := fmt.Sprintf(`weir_engine_skipped_offsets_total{pipeline="%s",topic="%s.in"} %d`, g.name, g.name, offsets)
	waitFor(g.T, metric, func() bool { return strings.Contains(p.page("/metrics"), metric+"\n") })
	var status struct {
		Pipelines []struct {
			SkippedRanges []struct {
				Topic     string
				Partition int32
				From, To  int64
			} `json:"skipped_ranges"`
		}
	}
	if err := json.Unmarshal([]byte(p.page("/status")), &status); err != nil {
		g.Fatal(err)
	}
	reported := make(map[int32]gap)
	for _, s := range status.Pipelines[0].SkippedRanges {
		if s.Topic == g.name+".in" {
			reported[s.Partition] = gap{s.From, s.To}
		}
	}
	if !maps.Equal(reported, gaps) {
		g.Errorf("the status reports %v, want %v", reported, gaps)
	}
	waitFor(g.T, "offset of the group at the end", func() bool {
		lag, err := g.b.admin.Lag(g.Context(), "weir-"+g.name)
		l := lag["weir-"+g.name]
		return err == nil && l.Lag.TotalByTopic()[g.name+".in"].Lag <= gapPartitions // at most a marker per partition
	})
	p.signal(syscall.SIGTERM)
	if code := p.wait(time.Minute); code != exitOK {
		g.Errorf("exit %d\n%s", code, p.errOut.String())
	}
	var report struct{ Skipped int64 }
	if err := json.Unmarshal(p.out.Bytes(), &report); err != nil || report.Skipped != offsets {
		g.Errorf("the report has %d skipped offsets (%v), want %d: %s", report.Skipped, err, offsets, p.out.String())
	}
	g.wantLogged(p.errOut.String(), gaps)
}

// Some or all unread records of a partition are deleted while the pipeline is not running.
func (b *realBroker) testGapAtRestart(t *testing.T) {
	g := b.gapTable(t, "gap-restart")
	file := g.file("")
	g.send(30)
	must(t, g.args(file, "--until-end")...)
	g.send(40)
	gaps := map[int32]gap{0: {30, 50}, 2: {30, 70}, 3: {30, 31}}
	n := g.delete(gaps)
	p := start(t, g.args(file, "--admin-listen=127.0.0.1:0")...)
	g.wantReported(p, gaps, n)
	g.wantRows()
	code, _, log := do(t, g.args(file, "--until-end")...)
	if code != exitOK {
		t.Errorf("exit %d\n%s", code, log)
	}
	g.wantLogged(log, nil) // gaps are reported only once
	g.send(10)
	must(t, g.args(file, "--until-end")...)
	g.wantRows()
}

// Likewise with retention, which deletes whole segments.
func (b *realBroker) testGapByRetention(t *testing.T) {
	g := b.gapTable(t, "gap-retention")
	file := g.file("")
	g.age = time.Hour
	g.send(30)
	must(t, g.args(file, "--until-end")...)
	g.send(40)
	minute := "60000"
	set, err := b.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &minute}}, g.name+".in")
	if err != nil || set[0].Err != nil {
		t.Fatal(err, set)
	}
	waitFor(t, "start of the log that retention has moved", func() bool {
		starts, err := b.admin.ListStartOffsets(t.Context(), g.name+".in")
		moved := 0
		starts.Each(func(o kadm.ListedOffset) {
			if o.Offset == 70 {
				moved++
			}
		})
		return err == nil && moved == gapPartitions
	})
	gaps := make(map[int32]gap)
	for partition := range int32(gapPartitions) {
		gaps[partition] = gap{30, 70}
	}
	g.forget(gaps)
	g.age = 0
	g.send(10)
	p := start(t, g.args(file, "--admin-listen=127.0.0.1:0")...)
	g.wantReported(p, gaps, 40*gapPartitions)
	g.wantRows()
}

// Records deleted before a pipeline's first start don't count as skipped.
func (b *realBroker) testGapBeforeFirstStart(t *testing.T) {
	for _, option := range []string{"", ", 'properties.auto.offset.reset' = 'none'"} {
		g := b.gapTable(t, fmt.Sprint("gap-first-", len(option)))
		file := g.file(option)
		g.send(40)
		g.delete(map[int32]gap{0: {0, 10}, 1: {0, 40}})
		code, out, log := do(t, g.args(file, "--until-end")...)
		if code != exitOK || !strings.Contains(out, `"skipped":0`) {
			t.Errorf("exit %d: %s\n%s", code, out, log)
		}
		g.wantLogged(log, nil)
		g.wantRows()
	}
}

// deleteUnderReader deletes rows that a running pipeline has not read because they follow an open
// transaction, and then ends that transaction.
func (g *gapTable) deleteUnderReader() (gaps map[int32]gap, offsets int64) {
	g.Helper()
	waitFor(g.T, "the group at the end", func() bool {
		lag, err := g.b.admin.Lag(g.Context(), "weir-"+g.name)
		l := lag["weir-"+g.name]
		return err == nil && l.Lag.TotalByTopic()[g.name+".in"].Lag == 0 && len(l.Lag[g.name+".in"]) == gapPartitions
	})
	holder, err := broker.Connect(g.Context(), g.b.at, kgo.TransactionalID("holder-of-"+g.name), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		g.Fatal(err)
	}
	defer holder.Close()
	if err := holder.BeginTransaction(); err != nil {
		g.Fatal(err)
	}
	gaps = make(map[int32]gap)
	for partition := range int32(gapPartitions) {
		r := &kgo.Record{Topic: g.name + ".in", Partition: partition, Key: []byte("k0"), Value: []byte(`{"k":"k0","n":-1}`)}
		if err := holder.ProduceSync(g.Context(), r).FirstErr(); err != nil {
			g.Fatal(err)
		}
		gaps[partition] = gap{r.Offset, r.Offset + 31}
	}
	g.send(30)
	offsets = g.delete(gaps)
	if err := holder.EndTransaction(g.Context(), kgo.TryAbort); err != nil {
		g.Fatal(err)
	}
	return gaps, offsets
}

// Records are deleted while the pipeline is running.
func (b *realBroker) testGapWhileRunning(t *testing.T) {
	g := b.gapTable(t, "gap-running")
	g.send(30)
	p := start(t, g.args(g.file(""), "--admin-listen=127.0.0.1:0")...)
	gaps, n := g.deleteUnderReader()
	g.send(20)
	g.wantReported(p, gaps, n)
	g.wantRows()
}

// With auto.offset.reset = none, a pipeline stops at a gap, both at a restart and while it is
// running, until the user accepts exactly this loss.
func (b *realBroker) testGapStops(t *testing.T) {
	g := b.gapTable(t, "gap-none")
	file := g.file(", 'properties.auto.offset.reset' = 'none'")
	g.send(30)
	p := start(t, g.args(file)...)
	gaps, _ := g.deleteUnderReader()
	if code := p.wait(time.Minute); code != exitFailed {
		t.Fatalf("exit %d, want %d\n%s", code, exitFailed, p.errOut.String())
	}
	g.send(20)
	output := p.errOut.String()
	var accepted []string
	for round := range gapPartitions {
		named := regexp.MustCompile(`--accept-loss (gap-none\.in/(\d):(\d+)-(\d+))`).FindStringSubmatch(output)
		if named == nil || !strings.Contains(output, "'properties.auto.offset.reset' is 'none'") {
			t.Fatalf("round %d: no way forward in\n%s", round, output)
		}
		for partition, at := range gaps {
			if named[2] == fmt.Sprint(partition) && (named[3] != fmt.Sprint(at.from) || named[4] != fmt.Sprint(at.to)) {
				t.Errorf("it names %s, want %d to %d", named[1], at.from, at.to)
			}
		}
		if round == 0 { // accepting a loss applies to one partition and range
			for _, wrong := range []string{
				fmt.Sprintf("%s.in/%s:%s-%d", g.name, named[2], named[3], atoi(t, named[4])-1),
				fmt.Sprintf("%s.in/%s:%d-%s", g.name, named[2], atoi(t, named[3])+1, named[4]),
			} {
				if code, _, log := do(t, g.args(file, "--until-end", "--accept-loss="+wrong)...); code != exitFailed || !strings.Contains(log, "--accept-loss "+g.name) {
					t.Errorf("with %s: exit %d\n%s", wrong, code, log)
				}
			}
		}
		accepted = append(accepted, "--accept-loss="+named[1])
		code, _, log := do(t, g.args(file, append([]string{"--until-end"}, accepted...)...)...)
		if code == exitOK {
			if len(accepted) != len(gaps) {
				t.Errorf("it runs with %v, and the gaps are %v", accepted, gaps)
			}
			break
		}
		output = log
	}
	g.wantRows()
	must(t, g.args(file, "--until-end")...) // accepting once is enough
	g.wantRows()
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// weir verify names the records that were deleted before the group read them. Once the group has
// moved on, it reports that this can't be determined any more.
func (b *realBroker) testVerifyNamesGap(t *testing.T) {
	consume := []string{"consume", b.flag, "--instance=x", "--state-dir=none", "--until-end"}
	must(t, "produce", b.flag, "--count=2000", "--name=gap", "--device-prefix=gap-", "--devices=40")
	must(t, consume...)
	group, err := b.admin.FetchOffsets(t.Context(), "weir-device-stats")
	if err != nil {
		t.Fatal(err)
	}
	must(t, "produce", b.flag, "--count=2000", "--name=gap-later", "--device-prefix=later-", "--devices=40")
	var upTo kadm.Offsets
	var want []string
	for _, o := range group.Sorted() {
		if o.Topic == "sensor_data_tx" && o.Partition < 2 {
			upTo.AddOffset(o.Topic, o.Partition, o.At+10, -1)
			want = append(want, fmt.Sprintf("sensor_data_tx-%d: group weir-device-stats is at offset %d, but the log starts at %d", o.Partition, o.At, o.At+10))
		}
	}
	deleted, err := b.admin.DeleteRecords(t.Context(), upTo)
	if err != nil || deleted.Error() != nil || len(want) != 2 {
		t.Fatal(err, deleted.Error(), want)
	}
	code, out, log := do(t, "verify", b.flag)
	if code != exitCheck {
		t.Errorf("exit %d, want %d\n%s", code, exitCheck, log)
	}
	for _, w := range append(want, "20 offsets were deleted before the group read them") {
		if !strings.Contains(out, w) {
			t.Errorf("verify does not say %q:\n%s", w, out)
		}
	}
	must(t, consume...)
	if _, out, log := do(t, "verify", b.flag); !strings.Contains(out, "can't be determined") {
		t.Errorf("verify does not report that older gaps can't be determined:\n%s%s", out, log)
	}
}
