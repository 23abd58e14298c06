package sqltest

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// file is a test: commands in order, each followed by its rows. Lines that are not commands are
// rows; lines that start with # are comments.
//
//	send TOPIC [timestamp=2026-01-01T00:00:00Z] [key=K] [partition=0]   input rows, as JSON
//	table NAME     the rows of a table that lookup joins read, as JSON, from here on
//	clock 30s      time passes without records
//	end            all inputs end
//	expect TOPIC   output rows at the end of the file, in any order; besides topics, .late and
//	               .dlq are late rows and dead letters, and .dropped counts dropped rows
type file struct{ steps []step }

type step struct {
	line      int
	comment   []string // comments and empty lines before it
	text      string   // the command line
	command   string
	topic     string
	at        time.Time
	key       *string
	partition int32 // -1: the partition of the key
	wait      time.Duration
	rows      []string
}

// maxPartitions is the number of partitions that a test may use.
const maxPartitions = 64

// partitions returns the number of partitions that the file's send steps need.
func (f *file) partitions() int32 {
	n := int32(1)
	for _, st := range f.steps {
		n = max(n, st.partition+1)
	}
	return n
}

// readFile reads and parses a test file.
func readFile(name string) (*file, error) {
	text, err := os.ReadFile(name) //nolint:gosec // path given by the user
	if err != nil {
		return nil, err
	}
	f, err := parseFile(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func parseFile(text string) (*file, error) {
	f := &file{}
	var comment []string
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			comment = append(comment, line)
			continue
		}
		if line[0] == '{' || line[0] == '[' || line == "null" || line[0] == '"' || !isCommand(line) {
			if len(f.steps) == 0 || !f.steps[len(f.steps)-1].takesRows() {
				return nil, fmt.Errorf("line %d: row without a send, table or expect before it", n+1)
			}
			last := &f.steps[len(f.steps)-1]
			last.rows = append(last.rows, line)
			continue
		}
		s, err := parseStep(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		s.line, s.comment = n+1, comment
		comment = nil
		f.steps = append(f.steps, s)
	}
	return f, nil
}

func isCommand(line string) bool {
	word, _, _ := strings.Cut(line, " ")
	return slices.Contains([]string{"send", "table", "clock", "end", "expect"}, word)
}

func (st *step) takesRows() bool {
	return st.command == "send" || st.command == "table" || st.command == "expect"
}

func parseStep(line string) (step, error) {
	words := strings.Fields(line)
	s := step{command: words[0], text: line, partition: -1}
	switch {
	case s.command == "end":
		return s, nil
	case len(words) < 2 && s.command == "clock":
		return s, fmt.Errorf("%s needs a duration", s.command)
	case len(words) < 2:
		return s, fmt.Errorf("%s needs a %s", s.command, map[bool]string{true: "name", false: "topic"}[s.command == "table"])
	case s.command == "clock":
		d, err := time.ParseDuration(strings.TrimPrefix(words[1], "+"))
		s.wait = d
		return s, err
	}
	s.topic = words[1]
	if s.command == "table" && len(words) > 2 {
		return s, fmt.Errorf("unknown argument %s: table takes a name only", words[2])
	}
	for _, w := range words[2:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "timestamp":
			at, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				return s, err
			}
			s.at = at
		case "key":
			s.key = &value
		case "partition":
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil || n < 0 || n >= maxPartitions {
				return s, fmt.Errorf("invalid %s: a partition is a number from 0 to %d", w, maxPartitions-1)
			}
			s.partition = int32(n)
		default:
			return s, fmt.Errorf("unknown argument %s: use timestamp=…, key=… or partition=…", w)
		}
	}
	return s, nil
}

// row returns a row of a send step.
func (st *step) row(value string) dryrun.Row {
	return dryrun.Row{Table: st.topic, Value: value, At: st.at, Key: st.key, Partition: st.partition}
}

// send sends the rows of a send step.
func (st *step) send(s *dryrun.Simulation) error {
	for i, value := range st.rows {
		if err := s.Send(st.row(value)); err != nil {
			return fmt.Errorf("line %d, row %d: %w", st.line, i+1, err)
		}
	}
	if err := s.Work(); err != nil {
		return fmt.Errorf("line %d: %w", st.line, err)
	}
	return nil
}

// run runs the test and returns the rows of the expected topics, and the counters of rows dropped
// by table options.
func (f *file) run(p *plan.Program, o dryrun.Options) (map[string][]string, operator.Dropped, error) {
	o.Partitions = max(o.Partitions, f.partitions())
	var sent []string
	for _, st := range f.steps {
		if st.command == "send" {
			sent = append(sent, st.topic)
		}
	}
	p, err := p.Matched(sent)
	if err != nil {
		return nil, nil, err
	}
	s, err := dryrun.New(p, o, nil)
	if err != nil {
		return nil, nil, err
	}
	got, err := f.play(s)
	return got, s.Dropped(), err
}

// play runs the steps in order and returns the rows of the expected topics.
func (f *file) play(s *dryrun.Simulation) (map[string][]string, error) {
	for _, st := range f.steps {
		var err error
		switch st.command {
		case "send":
			if err := st.send(s); err != nil {
				return nil, err
			}
		case "table":
			err = s.SetTable(st.topic, st.rows)
		case "clock":
			err = s.Wait(st.wait)
		case "end":
			err = s.End()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", st.line, err)
		}
	}
	if err := s.EndBounded(); err != nil {
		return nil, err
	}
	got := make(map[string][]string)
	for _, st := range f.steps {
		if st.command != "expect" {
			continue
		}
		rows, err := s.Output(st.topic)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", st.line, err)
		}
		got[st.topic] = rows
	}
	return got, s.Check()
}

// diff compares expected and actual rows as multisets of normalized JSON. It returns "" if they are
// equal.
func (f *file) diff(got map[string][]string) string {
	var b strings.Builder
	for _, st := range f.steps {
		if st.command != "expect" {
			continue
		}
		missing := slices.Clone(st.rows)
		var unexpected []string
		for _, row := range got[st.topic] {
			i := slices.IndexFunc(missing, func(m string) bool { return canonical(m) == canonical(row) })
			if i < 0 {
				unexpected = append(unexpected, row)
				continue
			}
			missing = slices.Delete(missing, i, i+1)
		}
		if len(missing)+len(unexpected) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s: %d of %d expected rows found, %d unexpected\n", st.topic, len(st.rows)-len(missing), len(st.rows), len(unexpected))
		slices.Sort(missing)
		slices.Sort(unexpected)
		for len(missing)+len(unexpected) > 0 { // merged, so that similar rows are adjacent
			if len(unexpected) == 0 || len(missing) > 0 && missing[0] <= unexpected[0] {
				fmt.Fprintf(&b, "  - %s\n", missing[0])
				missing = missing[1:]
				continue
			}
			fmt.Fprintf(&b, "  + %s\n", unexpected[0])
			unexpected = unexpected[1:]
		}
	}
	return b.String()
}

// canonical normalizes JSON; other text is returned unchanged.
func canonical(row string) string {
	var v any
	if json.Unmarshal([]byte(row), &v) != nil {
		return row
	}
	out, err := json.Marshal(v)
	if err != nil {
		return row
	}
	return string(out)
}

// updated returns the text of the file with actual rows in place of expected ones.
func (f *file) updated(got map[string][]string) []byte {
	var b strings.Builder
	for _, st := range f.steps {
		for _, c := range st.comment {
			b.WriteString(c + "\n")
		}
		b.WriteString(st.text + "\n")
		rows := st.rows
		if st.command == "expect" {
			rows = got[st.topic]
		}
		for _, r := range rows {
			b.WriteString(r + "\n")
		}
	}
	return []byte(b.String())
}
