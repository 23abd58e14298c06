package plan

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/sql"
)

// Matches are the topics that tables with the option 'topic-pattern' read, by pattern. The text of
// a pipeline does not say which topics a cluster has, so the engine finds them, and compiles the
// text again with them.
type Matches map[string][]string

// topicPattern is the option with a regular expression for the names of topics, and
// discoveryInterval the one that says how often new ones are looked for.
const (
	topicPattern      = "topic-pattern"
	discoveryInterval = "scan.topic-partition-discovery.interval"
)

// CompileMatched plans a pipeline whose tables with a 'topic-pattern' read these topics, like a
// table that lists them. A pattern without topics stands for a single topic, whose name no topic of
// Kafka has: see Table.Unmatched.
func CompileMatched(text, name string, matches Matches) (*Program, error) {
	script, err := sql.Parse(text)
	if err != nil {
		return nil, err
	}
	p := newPlanner(name, text)
	p.program.Matches = make(Matches)
	maps.Copy(p.program.Matches, matches)
	if err := p.statements(script); err != nil {
		return nil, err
	}
	return p.finish()
}

// Patterns returns the patterns of the tables that are read, sorted.
func (p *Program) Patterns() (all []string) {
	for _, t := range p.read() {
		if t.Pattern != "" && !slices.Contains(all, t.Pattern) {
			all = append(all, t.Pattern)
		}
	}
	slices.Sort(all)
	return all
}

// Discovery returns how often new topics of the patterns are looked for; 0 is never.
func (p *Program) Discovery() (every time.Duration) {
	for _, t := range p.read() {
		if d := t.Kafka.Discovery; t.Pattern != "" && d > 0 && (every == 0 || d < every) {
			every = d
		}
	}
	return every
}

// Match returns the topics among those of a cluster that a pattern of the pipeline matches, as a
// whole and sorted. Topics that hold the state of pipelines never match, nor do those in which this
// pipeline keeps its dead letters and late rows.
func (p *Program) Match(pattern string, topics []string) (all []string, err error) {
	re, err := wholeName(pattern)
	if err != nil {
		return nil, err
	}
	exists := make(map[string]bool)
	for _, topic := range topics {
		exists[topic] = true
	}
	for _, topic := range topics {
		own := topic == p.Settings.DeadLetterTopic || topic == p.Settings.LateTopic || p.reserved(topic)
		if !own && re.MatchString(topic) && !keepsState(topic, exists) {
			all = append(all, topic)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// Matched returns the plan with those of the topics that its patterns match; the plan itself if it
// has no patterns.
func (p *Program) Matched(topics []string) (*Program, error) {
	patterns := p.Patterns()
	if len(patterns) == 0 {
		return p, nil
	}
	matches := make(Matches)
	for _, pattern := range patterns {
		all, err := p.Match(pattern, topics)
		if err != nil {
			return nil, err
		}
		matches[pattern] = all
	}
	return CompileMatched(p.SQL, p.Name, matches)
}

// stateTopic matches the names of topics that belong to the state of the pipeline in front of the
// dot.
var stateTopic = regexp.MustCompile(`^(.+)\.(plan|positions|repartition\d+|stage\d+\.changelog)$`)

// keepsState reports whether a topic belongs to the state of a pipeline, which has a plan.
func keepsState(topic string, exists map[string]bool) bool {
	m := stateTopic.FindStringSubmatch(topic)
	return m != nil && exists[m[1]+".plan"]
}

// wholeName compiles a pattern of Java for whole names, where a ^ at its beginning and a $ at its
// end have no effect.
func wholeName(pattern string) (*expr.Regexp, error) {
	pattern = strings.TrimPrefix(pattern, "^")
	if rest, ok := strings.CutSuffix(pattern, "$"); ok && (len(rest)-len(strings.TrimRight(rest, `\`)))%2 == 0 {
		pattern = rest
	}
	if _, err := expr.CompileRegexp(pattern); err != nil {
		return nil, err
	}
	return expr.CompileRegexp("^(?:" + pattern + ")$")
}

// Unmatched reports whether a table stands for topics that are not known: see CompileMatched.
func (t *Table) Unmatched() bool { return t.Pattern != "" && t.Kafka.Topic == unmatched(t.Pattern) }

// unmatched stands for the topics of a pattern. A slash can't be in the name of a topic.
func unmatched(pattern string) string { return "/" + pattern + "/" }

// matchedTopics returns the option 'topic' for each topic of a pattern.
func (p *planner) matchedTopics(o sql.Option, table string) (all []sql.Option, err error) {
	if _, err := wholeName(o.Value); err != nil {
		return nil, sql.Errorf(o.ValuePos, "table %s: '%s' is no valid pattern: %s", table, topicPattern, err).WithHint("write a regular expression for whole names, such as 'site-.*'")
	}
	for _, topic := range p.program.Matches[o.Value] {
		all = append(all, sql.Option{Pos: o.Pos, Key: "topic", Value: topic, ValuePos: o.ValuePos})
	}
	if len(all) == 0 {
		all = append(all, sql.Option{Pos: o.Pos, Key: "topic", Value: unmatched(o.Value), ValuePos: o.ValuePos})
	}
	return all, nil
}

// checkPatterns refuses a pattern that matches a topic which the pipeline writes.
func (p *planner) checkPatterns() error {
	for _, t := range p.program.read() {
		if t.Pattern == "" {
			continue
		}
		re, err := wholeName(t.Pattern)
		if err != nil {
			return err
		}
		for _, written := range p.program.written() {
			if !written.Discards() && re.MatchString(written.Kafka.Topic) {
				return sql.Errorf(t, "the pattern '%s' of table %s matches topic %s, which table %s writes", t.Pattern, t.Name, written.Kafka.Topic, written.Name).
					WithHint("write a pattern that does not match it, or give %s another topic", written.Name)
			}
		}
	}
	return nil
}

// topicText names the topic of a table, or the pattern of those that are not known.
func (t *Table) topicText() string {
	if t.Unmatched() {
		return fmt.Sprintf("the topics that match '%s'", t.Pattern)
	}
	return "topic " + t.Kafka.Topic
}
