package console

import (
	"fmt"
	"strings"
	"time"

	"weir.example/weir/internal/console/api"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
)

// graph is a plan as topics and operators, with the rows that flow between them.
type graph struct {
	Nodes []graphNode `json:"nodes"`
	Edges []graphEdge `json:"edges"`
}

type graphNode struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"` // topic or operator
	Role  string `json:"role"` // topic: source, exchange or sink; operator: its kind, such as Filter
	Label string `json:"label"`
	Does  string `json:"does,omitempty"`
	Stage string `json:"stage,omitempty"`
	State bool   `json:"state,omitempty"` // it is stateful
}

// graphEdge has the known figures: those between operators are known only in the process that runs
// them.
type graphEdge struct {
	From      string   `json:"from"`
	To        string   `json:"to"`
	Rate      *float64 `json:"rate,omitempty"`      // rows per second
	Lag       *int64   `json:"lag,omitempty"`       // records not yet read, after a topic; rows do not wait between operators
	Delay     *float64 `json:"delay,omitempty"`     // seconds from the watermark to now
	Watermark int64    `json:"watermark,omitempty"` // milliseconds since 1970
}

// figures holds the sources of the figures on edges. All may be nil.
type figures struct {
	cluster *clusterState
	group   *api.Group
	status  *engine.Snapshot
	rates   rates
}

// drawing is the state of graphOf.
type drawing struct {
	graph
	figures
	topics map[string]bool
	folded map[*plan.Relation]bool // projections that are merged into the next one
}

// graphOf draws a program.
func graphOf(p *plan.Program, known figures) *graph {
	d := &drawing{figures: known, topics: make(map[string]bool), folded: make(map[*plan.Relation]bool)}
	d.Nodes, d.Edges = []graphNode{}, []graphEdge{}
	users := make(map[*plan.Relation]int)
	for _, stage := range p.Stages {
		for _, r := range stage.Relations {
			for _, in := range r.Inputs {
				users[in]++
			}
		}
	}
	for _, stage := range p.Stages {
		for _, r := range stage.Relations {
			if isProject(r) && isProject(r.Inputs[0]) && users[r.Inputs[0]] == 1 {
				d.folded[r.Inputs[0]] = true
			}
		}
	}
	for _, stage := range p.Stages {
		for _, r := range stage.Relations {
			d.relation(stage, r)
		}
	}
	return &d.graph
}

func (d *drawing) relation(stage *plan.Stage, r *plan.Relation) {
	switch op := r.Op.(type) {
	case *plan.Insert:
		d.topic(op.Table.Kafka.Topic, "sink")
		d.Edges = append(d.Edges, d.after(graphEdge{From: nodeID(r.Inputs[0]), To: topicID(op.Table.Kafka.Topic)}, stage.Name, r))
		return
	case *plan.Exchange:
		d.topic(op.Topic, "exchange")
		d.Edges = append(d.Edges, d.after(graphEdge{From: nodeID(r.Inputs[0]), To: topicID(op.Topic)}, r.Inputs[0].Stage.Name, r))
		return
	case *plan.Scan:
		d.topic(op.Table.Kafka.Topic, "source")
		d.Edges = append(d.Edges, d.outOf(op.Table.Kafka.Topic, stage.Name, nodeID(r)))
	}
	if d.folded[r] {
		return
	}
	does := r.Describe()
	role, _, _ := strings.Cut(does, " ")
	d.Nodes = append(d.Nodes, graphNode{ID: nodeID(r), Kind: "operator", Role: role, Label: r.Brief(), Does: does, Stage: stage.Name, State: r.State > 0})
	for _, in := range r.Inputs {
		for d.folded[in] {
			in = in.Inputs[0]
		}
		if x, ok := in.Op.(*plan.Exchange); ok {
			d.Edges = append(d.Edges, d.outOf(x.Topic, stage.Name, nodeID(r)))
			continue
		}
		d.Edges = append(d.Edges, d.after(graphEdge{From: nodeID(in), To: nodeID(r)}, stage.Name, in))
	}
}

func isProject(r *plan.Relation) bool {
	_, ok := r.Op.(*plan.Project)
	return ok
}

func nodeID(r *plan.Relation) string { return fmt.Sprintf("r%d", r.ID) }

func topicID(name string) string { return "t:" + name }

func (d *drawing) topic(name, role string) {
	if !d.topics[name] {
		d.topics[name] = true
		d.Nodes = append(d.Nodes, graphNode{ID: topicID(name), Kind: "topic", Role: role, Label: name})
	}
}

// into returns an edge to a topic with the broker's figures.
func (d *drawing) into(from, topic string) graphEdge {
	e := graphEdge{From: from, To: topicID(topic)}
	if t := d.cluster.topic(topic); t != nil {
		e.Rate = &t.Rate
	}
	return e
}

// after adds the output of a relation of a stage to an edge: the rows it emits, or the records it
// writes.
func (d *drawing) after(e graphEdge, stage string, r *plan.Relation) graphEdge {
	if n, ok := d.rates[flowKey{stage: stage, relation: r.ID}]; ok {
		e.Rate = &n
	} else if topic, ok := strings.CutPrefix(e.To, topicID("")); ok && d.cluster != nil {
		e.Rate = d.into("", topic).Rate
	}
	if d.status == nil {
		return e
	}
	var low lowest
	for _, task := range d.status.Tasks {
		for _, o := range task.Operators {
			if task.Stage == stage && o.Relation == r.ID {
				low.add(o.Watermark, o.Idle)
			}
		}
	}
	return low.on(e, d.status.At)
}

// outOf returns an edge from a topic to the operator that reads it.
func (d *drawing) outOf(topic, stage, to string) graphEdge {
	e := graphEdge{From: topicID(topic), To: to}
	if l := d.group.Topic(topic); l != nil {
		e.Rate, e.Lag = &l.Rate, &l.Lag
	}
	if n, ok := d.rates[flowKey{stage: stage, topic: topic}]; ok && allHere(d.group, d.status) {
		e.Rate = &n
	}
	if d.status == nil {
		return e
	}
	var low lowest
	for _, task := range d.status.Tasks {
		for _, in := range task.Inputs {
			if task.Stage == stage && in.Topic == topic {
				low.add(in.Watermark, in.Idle)
			}
		}
	}
	return low.on(e, d.status.At)
}

// lowest is the watermark over several tasks: the lowest of those that are not idle.
type lowest struct{ watermark *time.Time }

func (l *lowest) add(watermark *time.Time, idle bool) {
	if watermark != nil && !idle && (l.watermark == nil || watermark.Before(*l.watermark)) {
		l.watermark = watermark
	}
}

func (l *lowest) on(e graphEdge, now time.Time) graphEdge {
	if l.watermark != nil && l.watermark.Year() < 9999 { // it has the maximum value after the end of a bounded source
		delay := max(0, now.Sub(*l.watermark).Seconds())
		e.Delay, e.Watermark = &delay, l.watermark.UnixMilli()
	}
	return e
}

// roughGraph draws a pipeline whose plan is unknown, from the topics that its group reads and those
// named after it.
func roughGraph(name string, s *clusterState, g *api.Group) *graph {
	d := &drawing{figures: figures{cluster: s, group: g}, topics: make(map[string]bool)}
	d.Edges = []graphEdge{}
	d.Nodes = []graphNode{{ID: "p", Kind: "operator", Role: "Pipeline", Label: name, Does: "plan not known"}}
	for _, l := range g.Topics {
		d.topic(l.Topic, "source")
		d.Edges = append(d.Edges, d.outOf(l.Topic, "", "p"))
	}
	for _, t := range s.Topics {
		if strings.HasPrefix(t.Name, name+".") && !strings.HasSuffix(t.Name, planSuffix) && !d.topics[t.Name] {
			d.topic(t.Name, "sink")
			d.Edges = append(d.Edges, d.into("p", t.Name))
		}
	}
	return &d.graph
}
