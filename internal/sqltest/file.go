package sqltest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// file is a test: steps in order. Lines that are no command are rows; those that begin with # are
// comments.
//
//	send TOPIC [timestamp=2026-01-01T00:00:00Z] [key=K] [partition=0]   rows, as JSON, that come
//	                                                                    in
//	clock 30s                                             time passes without a record
//	end                                                   all inputs have ended
//	expect TOPIC                                          rows that have come out at the end of
//	                                                      the file, in any order; .late, .dlq, and
//	                                                      .dropped are what was set aside, and
//	                                                      what options left out
type file struct{ steps []step }

type step struct {
	line    int
	comment []string // lines in front, with empty ones
	command string
	topic   string
	at      time.Time
	key     *string
	place   int32 // partition; -1 is that of the key
	wait    time.Duration
	rows    []string
	head    string
}

// maxPartitions is how many partitions a test may have.
const maxPartitions = 64

// partitions is how many partitions the topics have at least, by what rows are sent to.
func (f *file) partitions() int32 {
	n := int32(1)
	for _, st := range f.steps {
		n = max(n, st.place+1)
	}
	return n
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
			if len(f.steps) == 0 || f.steps[len(f.steps)-1].command == "clock" || f.steps[len(f.steps)-1].command == "end" {
				return nil, fmt.Errorf("line %d: a row before send or expect", n+1)
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
	return slices.Contains([]string{"send", "clock", "end", "expect"}, word)
}

func parseStep(line string) (step, error) {
	words := strings.Fields(line)
	s := step{command: words[0], head: line, place: -1}
	switch {
	case s.command == "end":
		return s, nil
	case len(words) < 2:
		return s, fmt.Errorf("%s wants %s", s.command, map[bool]string{true: "a duration", false: "a topic"}[s.command == "clock"])
	case s.command == "clock":
		d, err := time.ParseDuration(strings.TrimPrefix(words[1], "+"))
		s.wait = d
		return s, err
	}
	s.topic = words[1]
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
				return s, fmt.Errorf("%s: a partition is a number from 0 to %d", w, maxPartitions-1)
			}
			s.place = int32(n)
		default:
			return s, fmt.Errorf("%s is none of timestamp=…, key=… and partition=…", w)
		}
	}
	return s, nil
}

// run returns what came out of the topics that the file expects rows of, and what options have
// dropped.
func (f *file) run(p *plan.Program, o Options) (map[string][]string, operator.Dropped, error) {
	o.Partitions = max(o.Partitions, f.partitions())
	s, err := newSim(p, o, nil)
	if err != nil {
		return nil, nil, err
	}
	got, err := f.play(s)
	return got, s.dropped, err
}

// play takes the steps of the file.
func (f *file) play(s *sim) (map[string][]string, error) {
	var err error
	for _, st := range f.steps {
		switch st.command {
		case "send":
			for i, row := range st.rows {
				if err := s.send(st, row); err != nil {
					return nil, fmt.Errorf("line %d, row %d: %w", st.line, i+1, err)
				}
			}
			err = s.work()
		case "clock":
			err = s.wait(st.wait)
		case "end":
			err = s.end()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", st.line, err)
		}
	}
	if err := s.finish(); err != nil {
		return nil, err
	}
	got := make(map[string][]string)
	for _, st := range f.steps {
		if st.command == "expect" {
			if got[st.topic], err = s.output(st.topic); err != nil {
				return nil, fmt.Errorf("line %d: %w", st.line, err)
			}
		}
	}
	return got, s.check()
}

// diff compares as sets that may have equal rows, with the JSON brought to one form.
func (f *file) diff(got map[string][]string) string {
	var b strings.Builder
	for _, st := range f.steps {
		if st.command != "expect" {
			continue
		}
		missing := slices.Clone(st.rows)
		var other []string
		for _, row := range got[st.topic] {
			i := slices.IndexFunc(missing, func(m string) bool { return canonical(m) == canonical(row) })
			if i < 0 {
				other = append(other, row)
				continue
			}
			missing = slices.Delete(missing, i, i+1)
		}
		if len(missing)+len(other) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s: %d of %d expected rows came, and %d others\n", st.topic, len(st.rows)-len(missing), len(st.rows), len(other))
		slices.Sort(missing)
		slices.Sort(other)
		for len(missing)+len(other) > 0 { // rows that are alike beside each other
			if len(other) == 0 || len(missing) > 0 && missing[0] <= other[0] {
				fmt.Fprintf(&b, "  - %s\n", missing[0])
				missing = missing[1:]
				continue
			}
			fmt.Fprintf(&b, "  + %s\n", other[0])
			other = other[1:]
		}
	}
	return b.String()
}

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

// updated is the file with what came out in the place of what was expected.
func (f *file) updated(got map[string][]string) []byte {
	var b strings.Builder
	for _, st := range f.steps {
		for _, c := range st.comment {
			b.WriteString(c + "\n")
		}
		b.WriteString(st.head + "\n")
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
