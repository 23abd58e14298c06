package plan

import (
	"fmt"
	"strings"
	"testing"
)

const continued = `
CREATE TABLE readings (device STRING, room STRING, x DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = 'raw', 'key.fields' = 'device', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE others (device STRING, room STRING, x DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'kafka', 'topic' = 'others', 'key.format' = 'raw', 'key.fields' = 'device', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE sums (device STRING, x DOUBLE, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'sums', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE maxima (device STRING, x DOUBLE, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'maxima', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE rooms (room STRING, x DOUBLE, PRIMARY KEY (room) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'rooms', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE copies (device STRING, x DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'copies', 'format' = 'json');
`

// Parts of the pipelines.
const (
	toSums     = "INSERT INTO sums SELECT device, SUM(x) FROM readings GROUP BY device;"
	toMaxima   = "INSERT INTO maxima SELECT device, MAX(x) FROM readings GROUP BY device;"
	toRooms    = "INSERT INTO rooms SELECT room, SUM(x) FROM readings GROUP BY room;"
	toCopies   = "INSERT INTO copies SELECT device, x FROM readings;"
	fromFirst  = "SELECT *, ROW_NUMBER() OVER (PARTITION BY device, x ORDER BY ts) AS n FROM readings"
	dedupSums  = "INSERT INTO sums SELECT device, SUM(x) FROM (" + fromFirst + ") WHERE n = 1 GROUP BY device;"
	dedupRooms = "INSERT INTO rooms SELECT room, SUM(x) FROM (" + fromFirst + ") WHERE n = 1 GROUP BY room;"
	lowSums    = "INSERT INTO sums SELECT device, SUM(x) FROM readings WHERE x < 3 GROUP BY device;"
	highMaxima = "INSERT INTO maxima SELECT device, SUM(x) FROM readings WHERE x > 5 GROUP BY device;"
)

func compileContinued(t *testing.T, query string) *Program {
	t.Helper()
	p, err := Compile(continued+"EXECUTE STATEMENT SET BEGIN "+query+" END;", "p")
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return p
}

// show formats the names and numbers of a plan.
func show(p *Program) string {
	var all []string
	for i, s := range p.names().Stages {
		text := s.Stage
		if len(s.Exchanges) > 0 {
			text += " reads " + strings.ReplaceAll(strings.Join(s.Exchanges, ","), "p.", "")
		}
		if !p.Stages[i].Stateful {
			text += " stateless"
		}
		if len(s.States) > 0 {
			text += fmt.Sprint(" ", s.States)
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// A changed plan stores what it keeps under the names and numbers of the running one.
func TestContinue(t *testing.T) {
	for name, c := range map[string]struct {
		steps     []string // the first one runs by position
		names     string   // after the last step
		kept, new int
	}{
		"unchanged":                                       {[]string{toSums, toSums}, "stage1 [16]", 1, 0},
		"deduplication added upstream":                    {[]string{toSums, dedupSums}, "stage1 [20 16]", 1, 1},
		"and then an INSERT before":                       {[]string{toSums, dedupSums, toMaxima + dedupSums}, "stage1 [24 20 16]", 2, 1},
		"INSERT added after":                              {[]string{toSums, toSums + toMaxima}, "stage1 [16 20]", 1, 1},
		"INSERT added before":                             {[]string{toSums, toMaxima + toSums}, "stage1 [20 16]", 1, 1},
		"stateless INSERT added before":                   {[]string{toSums, toCopies + toSums}, "stage1 [16]", 1, 0},
		"INSERTs swapped":                                 {[]string{toSums + toMaxima, toMaxima + toSums}, "stage1 [20 16]", 2, 0},
		"swapped twice":                                   {[]string{toSums + toMaxima, toMaxima + toSums, toSums + toMaxima}, "stage1 [16 20]", 2, 0},
		"INSERTs with equal signatures swapped":           {[]string{lowSums + highMaxima, highMaxima + lowSums}, "stage1 [20 16]", 2, 0},
		"equal signatures, one of them filters otherwise": {[]string{lowSums + highMaxima, strings.ReplaceAll(highMaxima, "> 5", "> 7") + lowSums}, "stage1 [20 16]", 2, 0},
		"equal signatures, both filter otherwise":         {[]string{lowSums + highMaxima, strings.ReplaceAll(highMaxima, "> 5", "> 7") + strings.ReplaceAll(lowSums, "< 3", "< 2")}, "stage1 [20 16]", 2, 0},
		"equal signature added before":                    {[]string{lowSums, highMaxima + lowSums}, "stage1 [20 16]", 1, 1},
		"filter removed":                                  {[]string{lowSums, "INSERT INTO sums SELECT device, SUM(x) FROM readings GROUP BY device;"}, "stage1 [16]", 1, 0},
		"exchange added before":                           {[]string{toSums, toRooms + toSums}, "stage1 [16]; stage2 reads repartition1 [16]", 1, 1},
		"exchange added to one with an exchange":          {[]string{toRooms, "INSERT INTO copies SELECT room, x FROM (SELECT x, room, ROW_NUMBER() OVER (PARTITION BY x ORDER BY ts) AS n FROM readings) WHERE n = 1;" + toRooms}, "stage1; stage3 reads repartition2 [16]; stage2 reads repartition1 [16]", 1, 1},
		"state added where rows are only sent":            {[]string{toRooms, toSums + toRooms}, "stage1 [16]; stage2 reads repartition1 [16]", 1, 1},
		"deduplication before an exchange":                {[]string{toRooms, dedupRooms}, "stage1 [16]; stage2 reads repartition1 [16]", 1, 1},
		"another source before":                           {[]string{toSums, "INSERT INTO maxima SELECT device, MAX(x) FROM others GROUP BY device;" + toSums}, "stage2 [16]; stage1 [16]", 1, 1},
		"a stateless stage before":                        {[]string{toSums, "INSERT INTO copies SELECT device, x FROM others;" + toSums}, "stage2 stateless; stage1 [16]", 1, 0},
		"state after a stateless stage":                   {[]string{toCopies, toCopies + toSums}, "stage1 [16]", 0, 1},
		"source added to the stage of another INSERT":     {[]string{toSums, toSums + "INSERT INTO copies SELECT device, x FROM readings UNION ALL SELECT device, x FROM others;"}, "stage1 [16]", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			running := compileContinued(t, c.steps[0])
			var last *Continuation
			for _, step := range c.steps[1:] {
				last = compileContinued(t, step).Continue(running)
				if len(last.Lost) > 0 {
					t.Fatalf("lost: %+v", last.Lost)
				}
				running = last.Program
			}
			if got := show(running); got != c.names {
				t.Errorf("got  %s\nwant %s", got, c.names)
			}
			if len(last.Kept) != c.kept || len(last.New) != c.new {
				t.Errorf("%d kept and %d new, want %d and %d", len(last.Kept), len(last.New), c.kept, c.new)
			}
			again := compileContinued(t, c.steps[len(c.steps)-1]).Continue(running)
			if len(again.Lost) > 0 || len(again.New) > 0 || show(again.Program) != show(running) {
				t.Errorf("a restart with the same SQL: %+v", again)
			}
		})
	}
}

// State that a changed plan does not read is listed with the reason.
func TestContinueLoses(t *testing.T) {
	for name, c := range map[string]struct {
		was, is string
		lost    []string // parts of stage, description and reason
	}{
		"INSERT removed":                     {toSums + toMaxima, toSums, []string{"stage1 Aggregate by device: MAX(x)", "no relation keeps the same state"}},
		"one of two equal INSERTs removed":   {lowSums + highMaxima, highMaxima, []string{"stage1 Aggregate by device: SUM(x)"}},
		"another aggregate":                  {toSums, toMaxima, []string{"stage1 Aggregate by device: SUM(x)"}},
		"another source":                     {toSums, strings.ReplaceAll(toSums, "readings", "others"), []string{"from readings", "from others"}},
		"a second source":                    {toSums, strings.ReplaceAll(toSums, "FROM readings", "FROM (SELECT * FROM readings UNION ALL SELECT * FROM others)"), []string{"from others, readings"}},
		"behind an exchange":                 {strings.ReplaceAll(toSums, "FROM readings", "FROM (SELECT device, x FROM readings)"), "INSERT INTO sums SELECT device, SUM(x) FROM (SELECT UPPER(device) AS device, x FROM readings) GROUP BY device;", []string{"pass an exchange first"}},
		"no longer behind one":               {"INSERT INTO sums SELECT device, SUM(x) FROM (SELECT UPPER(device) AS device, x FROM readings) GROUP BY device;", toSums, []string{"repartition1"}},
		"another exchange before the sender": {toRooms, "INSERT INTO rooms SELECT room, SUM(x) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY ts) AS n FROM readings) WHERE n = 1 GROUP BY room;", []string{"repartition1"}},
		"one input of a stage":               {toSums + "INSERT INTO copies SELECT device, x FROM readings UNION ALL SELECT device, x FROM others;", toSums, []string{"others is no longer read"}},
		"updating rows":                      {toSums, "INSERT INTO sums SELECT device, SUM(x) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device, room ORDER BY ts DESC) AS n FROM readings) WHERE n = 1 GROUP BY device;", []string{"other kinds of changes"}},
		"a stage that only sends rows":       {toRooms, toCopies, []string{"Aggregate by room", "positions and watermarks of readings"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := compileContinued(t, c.is).Continue(compileContinued(t, c.was))
			if got.Program != nil {
				t.Fatalf("nothing is lost: %s", show(got.Program))
			}
			text := fmt.Sprint(got.Lost)
			for _, part := range c.lost {
				if !strings.Contains(text, part) {
					t.Errorf("%s does not have %q", text, part)
				}
			}
		})
	}
	got := compileContinued(t, highMaxima).Continue(compileContinued(t, lowSums+highMaxima))
	if len(got.Lost) != 1 || len(got.Kept) != 1 {
		t.Errorf("one of two equal INSERTs removed: %+v", got)
	}
}

// A copy with other names leaves the original unchanged.
func TestNamed(t *testing.T) {
	p := compileContinued(t, toRooms)
	before := show(p)
	q, ok := p.Named(Names{Stages: []StageNames{{Stage: "stage4"}, {Stage: "stage7", Exchanges: []string{"p.repartition9"}, States: []uint16{32}}}})
	if !ok || show(q) != "stage4; stage7 reads repartition9 [32]" || show(p) != before {
		t.Errorf("got %v %s, and the original is %s", ok, show(q), show(p))
	}
	if x := q.Stages[0].Outputs[0]; x.Topic() != "p.repartition9" || x.Stage != q.Stages[1] || q.Stages[1].Changelog != "p.stage7.changelog" || q.Sinks[0].Stage != q.Stages[1] {
		t.Errorf("the copy refers to the original: %+v", q)
	}
	if _, ok := p.Named(Names{Stages: []StageNames{{Stage: "stage4"}}}); ok {
		t.Error("names for another plan are accepted")
	}
}
