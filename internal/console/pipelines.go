package console

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/console/api"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/site"
)

// Pipeline is a pipeline that runs in this process.
type Pipeline struct {
	Program *plan.Program
	Status  func() engine.Snapshot
	Sinks   func() []sink.Snapshot // of its tables outside of Kafka; may be nil
}

// groupPrefix is the prefix of a pipeline's consumer group (engine.Group).
const groupPrefix = "weir-"

// plans caches the programs of pipelines whose SQL is in their topic NAME.plan.
type plans struct {
	mu    sync.Mutex
	known map[string]*plan.Program
	read  map[string]int64 // offset up to which a plan's topic was read
}

const planSuffix = ".plan"

// refreshPlans reads the plans that have changed.
func (c *Console) refreshPlans(ctx context.Context) {
	for _, t := range c.cluster.state().Topics {
		name, ok := strings.CutSuffix(t.Name, planSuffix)
		if !ok || len(t.Partitions) != 1 || c.plans.upToDate(name, t.Partitions[0].Stable) {
			continue
		}
		var last []byte
		p := t.Partitions[0]
		err := scan(ctx, c.cfg.Broker, t.Name, map[int32]offsetRange{0: {p.Start, p.Stable}}, func(r *kgo.Record) error {
			last = r.Value
			return nil
		})
		if err != nil {
			c.cfg.Logger.Debug("console: read a plan", "topic", t.Name, "err", err)
		}
		program, err := engine.RunningPlan(last, name)
		if err != nil {
			program = nil // written by a version that did not store the SQL
		}
		c.plans.put(name, program, p.Stable)
	}
}

func (p *plans) upToDate(name string, end int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read[name] >= end
}

func (p *plans) put(name string, program *plan.Program, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read[name] = end
	if program != nil {
		p.known[name] = program
	}
}

func (p *plans) get(name string) *plan.Program {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[name]
}

// here returns the pipelines of this process by name.
func (c *Console) here() map[string]Pipeline {
	all := make(map[string]Pipeline)
	if c.cfg.Pipelines != nil {
		for _, p := range c.cfg.Pipelines() {
			all[p.Program.Name] = p
		}
	}
	return all
}

// deliversAlerts reports whether the group weir-NAME delivers the alerts of a site, and is not that
// of a pipeline.
func (s *clusterState) deliversAlerts(name string) bool {
	readings, ok := strings.CutSuffix("."+name, ".alerts")
	return ok && (readings == "" || s.topic(strings.TrimPrefix(readings, ".")+"."+site.DefaultAlerts) != nil)
}

func (c *Console) pipelineRows() []api.Pipeline {
	s := c.cluster.state()
	here := c.here()
	rows := []api.Pipeline{}
	for i := range s.Groups {
		g := &s.Groups[i]
		name, ok := strings.CutPrefix(g.Name, groupPrefix)
		if !ok || s.deliversAlerts(name) {
			continue
		}
		local, mine := here[name]
		delete(here, name)
		rows = append(rows, c.pipelineRow(name, g, local, mine, s.Err))
	}
	for name, local := range here { // its group does not exist yet
		rows = append(rows, c.pipelineRow(name, nil, local, true, s.Err))
	}
	slices.SortFunc(rows, func(a, b api.Pipeline) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

// unknown is the state of pipelines in other processes while the broker does not respond.
const unknown = "unknown"

// pipelineRow returns the row of a pipeline. brokerErr is the broker's error, or "".
func (c *Console) pipelineRow(name string, g *api.Group, local Pipeline, mine bool, brokerErr string) api.Pipeline {
	row := api.Pipeline{Name: name, Here: mine, Planned: mine || c.plans.get(name) != nil, State: "starting"}
	if g != nil {
		row.State, row.Members, row.Lag = stateOf(g.State), g.Members, g.Lag
		if brokerErr != "" {
			row.State, row.Reason = unknown, brokerErr
		}
		for _, t := range g.Topics {
			if !strings.HasPrefix(t.Topic, name+".") { // its own topics contain rows that it has already read once
				row.Rate += t.Rate
			}
		}
	}
	if mine && local.Status != nil {
		status := local.Status()
		addStatus(&row, &status, c.cfg.Now())
		if local.Sinks != nil {
			addSinks(&row, local.Sinks())
		}
		if rates := c.flows.of(name); allHere(g, &status) && rates != nil {
			row.Rate = rates.read(name)
		}
	}
	return row
}

// stateOf translates the state of a group.
func stateOf(group string) string {
	switch group {
	case "Stable":
		return "running"
	case "Empty", "Dead":
		return "stopped"
	}
	return "rebalancing" // PreparingRebalance, CompletingRebalance, Assigning, Reconciling
}

// addSinks adds the sinks of a pipeline. One that does not deliver is the row's reason, unless
// there is another.
func addSinks(row *api.Pipeline, all []sink.Snapshot) {
	for _, s := range all {
		to := api.Sink{
			Table: s.Table, Target: s.Target, State: string(s.Phase), Reason: s.Reason, Lag: s.Lag, Rows: s.Rows, Deletes: s.Deletes,
			DeadLetters: s.DeadLetters, Retries: s.Retries,
		}
		if !s.LastErrorAt.IsZero() {
			to.LastError = s.LastErrorAt.UnixMilli()
		}
		row.Sinks = append(row.Sinks, to)
		if row.Reason == "" && s.Reason != "" && (s.Phase == sink.Waiting || s.Phase == sink.Refused) {
			first, _, _ := strings.Cut(s.Reason, "\n") // statements to run may follow
			row.Reason = "table " + s.Table + ": " + first
		}
	}
}

// addStatus adds what is known only in the process that runs the pipeline.
func addStatus(row *api.Pipeline, s *engine.Snapshot, now time.Time) {
	for _, w := range s.Workers {
		if w.Phase != engine.Running {
			row.State, row.Reason = string(w.Phase), w.Reason
		}
	}
	for i := range s.Hanging {
		row.Reason = s.Hanging[i].Describe()
	}
	if s.NoCopies != "" && row.Reason == "" {
		row.Reason = "state in memory only: " + s.NoCopies
	}
	row.Dropped += s.Dropped.Total()
	for _, n := range s.Skipped {
		row.Skipped += n
	}
	var watermark *time.Time // the lowest
	for _, t := range s.Tasks {
		row.Late += t.Late
		row.DeadLetters += t.DeadLetters
		for _, in := range t.Inputs {
			if in.Watermark != nil && !in.Idle && (watermark == nil || in.Watermark.Before(*watermark)) {
				watermark = in.Watermark
			}
		}
	}
	if watermark != nil && watermark.Year() < 9999 {
		delay := max(0, now.Sub(*watermark).Seconds())
		row.Delay = &delay
	}
	row.P99 = milliseconds(time.Duration(s.P99))
}

func (c *Console) pipelines(*http.Request) (any, error) {
	return map[string]any{"pipelines": c.pipelineRows()}, nil
}

// pipelineView is a pipeline with its graph.
type pipelineView struct {
	api.Pipeline
	Graph  *graph           `json:"graph"`
	SQL    string           `json:"sql,omitempty"`
	Status *engine.Snapshot `json:"status,omitempty"`
	Topics []string         `json:"topics"` // topics that it reads and writes
	Partly bool             `json:"partly"` // some workers run in other processes; their rows between operators are not known here
}

// view returns the current state of a pipeline; nil if there is none with this name.
func (c *Console) view(name string) *pipelineView {
	s := c.cluster.state()
	g := s.group(groupPrefix + name)
	local, mine := c.here()[name]
	if g == nil && !mine {
		return nil
	}
	v := &pipelineView{Pipeline: c.pipelineRow(name, g, local, mine, s.Err)}
	program := local.Program
	if running := c.plans.get(name); program == nil || running != nil && secret.Redact(running.SQL) == secret.Redact(program.SQL) {
		program = running // with the names of its stages and topics
	}
	if mine && local.Status != nil {
		status := local.Status()
		v.Status = &status
	}
	if program != nil {
		v.SQL = secret.Redact(program.SQL)
		v.Graph = graphOf(program, figures{&s, g, v.Status, c.flows.of(name)})
		v.Partly = v.Status != nil && !allHere(g, v.Status)
	} else {
		v.Graph = roughGraph(name, &s, g)
	}
	for _, n := range v.Graph.Nodes {
		if n.Kind == "topic" && s.topic(n.Label) != nil {
			v.Topics = append(v.Topics, n.Label)
		}
	}
	return v
}

// pipeline serves GET /api/pipeline?name=.
func (c *Console) pipeline(r *http.Request) (any, error) {
	name := r.FormValue("name")
	v := c.view(name)
	if v == nil {
		return nil, notFound("pipeline %q not found", name)
	}
	return v, nil
}

type pipelineFeed struct {
	c    *Console
	name string
}

func (f pipelineFeed) frame() any {
	if f.name == "" {
		return map[string]any{"pipelines": f.c.pipelineRows()}
	}
	if v := f.c.view(f.name); v != nil {
		v.SQL = "" // it never changes
		return v
	}
	return nil
}
func (f pipelineFeed) period() time.Duration { return time.Second }
func (f pipelineFeed) close()                {}
