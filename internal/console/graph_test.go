package console

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.example/weir/internal/console/api"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
	"weir.example/weir/pipelines"
)

// Each edge of a pipeline that runs in this process has a rate and a watermark, and each edge from
// a topic also has a lag.
func TestEdgesHaveFigures(t *testing.T) {
	text, _ := pipelines.Source("hottest")
	program, err := plan.Compile(text, "hottest")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	// status is the state of two partitions after a number of seconds: operator n has emitted n + 1
	// rows per second on each.
	status := func(seconds int) *engine.Snapshot {
		s := &engine.Snapshot{At: start.Add(time.Duration(seconds) * time.Second), Workers: []engine.WorkerStatus{{Instance: "a"}}}
		for _, stage := range program.Stages {
			for partition := range int32(2) {
				mark := s.At.Add(-time.Duration(3+partition) * time.Second)
				task := engine.TaskStatus{Stage: stage.Name, Partition: partition}
				for _, topic := range stage.Topics() {
					task.Inputs = append(task.Inputs, engine.InputStatus{Topic: topic, Records: int64(100 * seconds), Watermark: &mark})
				}
				for _, all := range [][]*plan.Relation{stage.Relations, stage.Outputs} {
					for _, r := range all {
						task.Operators = append(task.Operators, engine.OperatorStatus{Relation: r.ID, Rows: int64((r.ID + 1) * seconds), Watermark: &mark})
					}
				}
				s.Tasks = append(s.Tasks, task)
			}
		}
		return s
	}
	f := &flows{seen: make(map[string]flowSample)}
	f.sample("hottest", status(10))
	if got := f.of("hottest"); len(got) != 0 {
		t.Errorf("rates after one sample: %v", got)
	}
	now := status(14)
	f.sample("hottest", now)
	group := &api.Group{Name: "weir-hottest", Members: 1, Topics: []api.TopicLag{{Topic: "hottest.repartition1", Lag: 5}, {Topic: "sensor_data_tx", Lag: 7}}}
	g := graphOf(program, figures{cluster: &clusterState{}, group: group, status: now, rates: f.of("hottest")})
	if len(g.Edges) < 7 {
		t.Fatalf("%d edges", len(g.Edges))
	}
	lags := make(map[string]int64)
	for _, e := range g.Edges {
		if e.Rate == nil || *e.Rate <= 0 || e.Delay == nil || *e.Delay != 4 {
			t.Errorf("edge from %s to %s lacks rate or watermark: %+v", e.From, e.To, e)
		}
		if e.Lag != nil {
			lags[e.From] = *e.Lag
		}
	}
	if diff := cmp.Diff(map[string]int64{"t:sensor_data_tx": 7, "t:hottest.repartition1": 5}, lags); diff != "" {
		t.Error(diff)
	}
	if got := f.of("hottest").read("hottest"); got != 200 {
		t.Errorf("got %v records/s, want 200", got)
	}
	group.Members = 2 // one worker is in another process: the rate from a topic is then the broker's
	g = graphOf(program, figures{cluster: &clusterState{}, group: group, status: now, rates: f.of("hottest")})
	for _, e := range g.Edges {
		if e.From == "t:sensor_data_tx" && *e.Rate != 0 {
			t.Errorf("the %v rows/s of this process are shown as the total", *e.Rate)
		}
	}
}
