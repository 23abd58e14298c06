package plan

import (
	"slices"
	"strings"

	"weir.example/weir/internal/sql"
)

// ManifestTopic is the topic of the pipeline's manifest: its plan when it last started.
func (p *Program) ManifestTopic() string { return p.Name + ".plan" }

// PositionsTopic is the topic of the read positions of stateless stages.
func (p *Program) PositionsTopic() string { return p.Name + ".positions" }

// ResultTopic is the topic in which the rows of a table wait for their delivery to a target outside
// of Kafka.
func (p *Program) ResultTopic(table string) string { return p.Name + "." + table + ".out" }

// GeneratedTopic is the topic into which the rows of a table are generated. With the hint OPTIONS,
// a table has a number sign in its name.
func (p *Program) GeneratedTopic(table string) string {
	return p.Name + "." + strings.ReplaceAll(table, "#", "-") + ".generated"
}

// PositionTopic is the topic in which the position of a table's generator is kept.
func (p *Program) PositionTopic(t *Table) string { return t.Kafka.Topic + ".position" }

// Generated returns the tables with a generator that are read, each once.
func (p *Program) Generated() (all []*Table) {
	for _, t := range p.read() {
		if t.Generator != nil && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return all
}

// OnlyGenerated reports whether the pipeline reads generated tables alone, so that it needs no
// topic that exists.
func (p *Program) OnlyGenerated() bool {
	return !slices.ContainsFunc(p.read(), func(t *Table) bool { return t.Generator == nil })
}

// Deliveries returns the written tables whose rows are delivered to a target outside of Kafka, each
// once.
func (p *Program) Deliveries() (all []*Table) {
	for _, t := range p.written() {
		if t.Delivery != nil && !t.Discards() && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return all
}

// nameResults names the topics of results. It runs at the end, because the pipeline's name can be
// set anywhere.
func (p *planner) nameResults() error {
	owners := make(map[string]*Table)
	for _, t := range p.program.Tables {
		if t.Delivery != nil {
			t.Kafka.Topic = p.program.ResultTopic(t.Name)
		}
		if t.Generator != nil {
			t.Kafka.Topic = p.program.GeneratedTopic(t.Name)
		}
	}
	for _, t := range p.program.Generated() {
		topic := t.Kafka.Topic
		if len(p.program.PositionTopic(t)) > maxTopicName {
			return sql.Errorf(t, "the topic %s of the rows of table %s would have a name of more than %d characters", topic, t.Name, maxTopicName).
				WithHint("give the table or the pipeline a shorter name")
		}
		if owners[topic] != nil {
			return sql.Errorf(t, "table %s is read with different options", t.Name).WithHint("declare a table for each of them: CREATE TABLE … LIKE %s", sql.Quote(t.Name))
		}
		owners[topic] = t
	}
	for _, t := range p.program.Deliveries() {
		topic := t.Kafka.Topic
		if len(topic) > maxTopicName {
			return sql.Errorf(t, "the topic %s of the rows of table %s would have a name of more than %d characters", topic, t.Name, maxTopicName).
				WithHint("give the table or the pipeline a shorter name; other options have the name in the target")
		}
		if owners[topic] != nil {
			return sql.Errorf(t, "table %s is written with different options", t.Name).WithHint("write the hint OPTIONS in every INSERT, or put the options into the CREATE TABLE")
		}
		owners[topic] = t
	}
	for _, t := range append(p.program.written(), p.program.read()...) {
		if owner := owners[t.Kafka.Topic]; owner != nil && owner != t {
			if owner.Generator != nil {
				return sql.Errorf(t, "topic %s holds the generated rows of table %s, and can't be that of table %s", t.Kafka.Topic, owner.Name, t.Name).
					WithHint("give the table another topic")
			}
			return sql.Errorf(t, "topic %s holds the rows of table %s until they are delivered, and can't be that of table %s", t.Kafka.Topic, owner.Name, t.Name).
				WithHint("give the table another topic")
		}
	}
	return nil
}

// maxTopicName is Kafka's limit.
const maxTopicName = 249

// changelog returns the changelog topic of a stage.
func (p *Program) changelog(stage string) string { return p.Name + "." + stage + ".changelog" }

// reserved reports whether a topic is internal to the pipeline, or would be with more stages: its
// state, positions, manifest, and rows between stages.
func (p *Program) reserved(topic string) bool {
	rest, ok := strings.CutPrefix(topic, p.Name+".")
	if !ok {
		return false
	}
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	if n, ok := strings.CutPrefix(rest, "repartition"); ok {
		return digits(n)
	}
	if n, ok := strings.CutPrefix(rest, "stage"); ok {
		n, ok = strings.CutSuffix(n, ".changelog")
		return ok && digits(n)
	}
	return topic == p.ManifestTopic() || topic == p.PositionsTopic()
}

// checkTopics rejects conflicting topics of tables and settings: the run would overwrite its own
// state, read its own dead letters, or feed itself forever.
func (p *planner) checkTopics() error {
	for _, t := range p.program.written() {
		switch {
		case p.program.reserved(t.Kafka.Topic):
			return p.ownTopicError(t, "writes")
		case t.Kafka.Topic == p.program.Settings.DeadLetterTopic:
			return sql.Errorf(t, "table %s writes topic %s, which holds the pipeline's dead letters", t.Name, t.Kafka.Topic).
				WithHint("write to another topic, or set another one for dead letters: SET '%s' = '…'", deadLetterTopic)
		case t.Kafka.Topic == p.program.Settings.LateTopic:
			return sql.Errorf(t, "table %s writes topic %s, which holds the pipeline's late rows", t.Name, t.Kafka.Topic).
				WithHint("write to another topic, or set another one for late rows: SET '%s' = '…'", lateTopic)
		}
	}
	for _, t := range p.program.read() {
		if p.program.reserved(t.Kafka.Topic) {
			return p.ownTopicError(t, "reads")
		}
		for _, own := range []struct{ setting, topic, what string }{
			{deadLetterTopic, p.program.Settings.DeadLetterTopic, "dead letters"}, {lateTopic, p.program.Settings.LateTopic, "late rows"},
		} {
			if own.topic == t.Kafka.Topic {
				return sql.Errorf(p.settingOr(own.setting, t), "topic %s would hold the pipeline's %s, but table %s reads it: each of them would be read and written again, forever", own.topic, own.what, t.Name).
					WithHint("set another topic: SET '%s' = '…'; a pipeline with another name may read it", own.setting)
			}
		}
	}
	for _, key := range []string{deadLetterTopic, lateTopic} {
		if set, ok := p.sets[key]; ok && p.program.reserved(set.Value) {
			return sql.Errorf(set, "topic %s is reserved for the state and plan of pipeline %s", set.Value, p.program.Name).WithHint("choose another topic")
		}
	}
	return p.checkLoops()
}

func (p *planner) ownTopicError(t *Table, does string) error {
	return sql.Errorf(t, "table %s %s topic %s, which is reserved for the state and plan of pipeline %s", t.Name, does, t.Kafka.Topic, p.program.Name).
		WithHint("give the table another topic, or the pipeline another name (SET 'pipeline.name' = '…')")
}

// settingOr returns the position of the SET of a key, or other if there is none.
func (p *planner) settingOr(key string, other sql.Node) sql.Node {
	if set, ok := p.sets[key]; ok {
		return set
	}
	return other
}

// Uses reports whether the pipeline reads a topic, writes to it, or keeps state in it.
func (p *Program) Uses(topic string) bool {
	if p.reserved(topic) || topic == p.Settings.DeadLetterTopic || topic == p.Settings.LateTopic {
		return true
	}
	for _, t := range append(p.read(), p.written()...) {
		if t.Kafka.Topic == topic {
			return true
		}
	}
	return slices.ContainsFunc(p.Patterns(), func(pattern string) bool {
		matched, err := p.Match(pattern, []string{topic})
		return err == nil && len(matched) > 0
	})
}

// written returns the tables of the INSERTs.
func (p *Program) written() (all []*Table) {
	for _, sink := range p.Sinks {
		all = append(all, sink.Op.(*Insert).Table) //nolint:forcetypeassert // a sink is an INSERT
	}
	return all
}

// read returns the tables that are scanned.
func (p *Program) read() (all []*Table) {
	p.visit(func(r *Relation) {
		if scan, ok := r.Op.(*Scan); ok {
			all = append(all, scan.Table)
		}
	})
	return all
}

// checkLoops rejects an INSERT whose rows are fed back to it, directly or through other INSERTs of
// the pipeline, with each row producing another one. A loop with a condition or a group may
// terminate, and is how sums of sums are computed.
func (p *planner) checkLoops() error {
	feeds := make(map[string][]string) // topic -> topics that get a row for each of its rows
	for _, sink := range p.program.Sinks {
		to := sink.Op.(*Insert).Table.Kafka.Topic //nolint:forcetypeassert // a sink is an INSERT
		for _, from := range p.program.copied(sink.Inputs[0]) {
			feeds[from] = append(feeds[from], to)
		}
	}
	for _, t := range p.program.written() {
		seen := make(map[string]bool)
		todo := slices.Clone(feeds[t.Kafka.Topic])
		for len(todo) > 0 {
			at := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if at == t.Kafka.Topic {
				return sql.Errorf(t, "rows written to %s are read again: the same pipeline reads topic %s, and each of its rows yields another, forever", t.Name, t.Kafka.Topic).
					WithHint("write to another topic, or break the loop with a WHERE; for a single pass over the existing rows, 'scan.bounded.mode' = 'latest-offset'")
			}
			if !seen[at] {
				seen[at] = true
				todo = append(todo, feeds[at]...)
			}
		}
	}
	return nil
}

// copied returns the topics of which every row yields a row of r, for as long as rows arrive. It
// must be called before filters are pushed into scans.
func (p *Program) copied(r *Relation) (topics []string) {
	type path struct {
		to   *Relation
		late bool // late rows are dropped after it
	}
	seen := make(map[path]bool)
	var down func(path)
	down = func(at path) {
		if seen[at] {
			return
		}
		seen[at] = true
		op := at.to.Op
		if scan, ok := op.(*Scan); ok && !scan.Table.Bounded && (!at.late || p.renewsTime(scan.Table)) {
			topics = append(topics, scan.Table.Kafka.Topic)
		}
		for i, in := range at.to.Inputs {
			if op.copies(i) {
				down(path{in, at.late || op.dropsLate()})
			}
		}
	}
	down(path{to: r})
	return topics
}

// renewsTime reports whether rows that the pipeline writes to a table's topic get a new time: that
// of the record, which no INSERT sets. With the time of the row they come from, or an earlier one,
// they would be late.
func (p *Program) renewsTime(t *Table) bool {
	const ofRecord = "timestamp"
	if t.Rowtime < 0 || t.Columns[t.Rowtime].Metadata != ofRecord {
		return false
	}
	for _, sink := range p.Sinks {
		insert := sink.Op.(*Insert) //nolint:forcetypeassert // sinks are inserts
		for i, c := range insert.Table.Columns {
			if insert.Table.Kafka.Topic == t.Kafka.Topic && c.Metadata == ofRecord && insert.Columns[i] >= 0 {
				return false
			}
		}
	}
	return true
}
