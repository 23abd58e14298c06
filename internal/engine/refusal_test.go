package engine

import (
	"log/slog"
	"strings"
	"testing"
)

// A range of --accept-loss is parsed in the form in which the error of the loss prints it; for any
// other text, the error describes what is expected.
func TestParseGap(t *testing.T) {
	for text, want := range map[string]Gap{
		"readings/0:100-250":       {"readings", 0, 100, 250},
		"a.b-c_d/17:0-1":           {"a.b-c_d", 17, 0, 1},
		"p.stage1.changelog/3:5-9": {"p.stage1.changelog", 3, 5, 9},
	} {
		if got, err := ParseGap(text); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "readings", "readings/0", "readings:1-2", "/0:1-2", "readings/:1-2", "readings/x:1-2", "readings/-1:1-2", "readings/0:1", "readings/0:-2", "readings/0:1-",
		"readings/0:2-2", "readings/0:3-2", "readings/0:-1-2", "readings/0:1-2-3", "readings/0:1–2", "readings/0:1-2,readings/1:1-2", "readings/4294967296:1-2",
	} {
		if _, err := ParseGap(text); err == nil || !strings.Contains(err.Error(), "expected TOPIC/PARTITION:FROM-TO, such as readings/0:100-250") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A loss is accepted if a given range covers it, and only then.
func TestAcceptedLoss(t *testing.T) {
	p := &pipeline{cfg: Config{Logger: slog.New(slog.DiscardHandler), AcceptLoss: []Gap{{"readings", 1, 10, 20}, {"readings", 2, 5, 6}}}}
	for _, c := range []struct {
		topic     string
		partition int32
		from, to  int64
		want      bool
	}{
		{"readings", 1, 10, 20, true}, {"readings", 1, 12, 15, true}, {"readings", 2, 5, 6, true},
		{"readings", 1, 9, 20, false}, {"readings", 1, 10, 21, false}, {"readings", 2, 10, 20, false}, {"readings", 0, 10, 20, false}, {"others", 1, 10, 20, false},
	} {
		if got := p.accepted(topicPartition{c.topic, c.partition}, c.from, c.to); got != c.want {
			t.Errorf("%s-%d %d to %d: accepted %t, want %t", c.topic, c.partition, c.from, c.to, got, c.want)
		}
	}
}

// A range in a topic or partition that the pipeline does not read is an error, and not ignored.
func TestAcceptedLossElsewhere(t *testing.T) {
	everywhere(t, func(s *site) {
		for gap, want := range map[Gap]string{
			{"reading", 0, 0, 1}:   "does not read topic reading; it reads ",
			{"p.plan", 0, 0, 1}:    "does not read topic p.plan",
			{"readings", 99, 0, 1}: "topic readings has no partition 99",
		} {
			s.cfg.AcceptLoss = []Gap{gap}
			s.refused("invalid --accept-loss", want)
		}
		s.cfg.AcceptLoss = []Gap{{"readings", 0, 0, 1}} // nothing is lost there
		s.send(10)
		s.run()
		s.want()
	})
}
