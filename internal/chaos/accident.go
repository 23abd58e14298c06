package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"weir.example/weir/internal/broker"
)

// Accident is a kind of thing that operators do to a stateful pipeline, and what must come of it:
// right rows, or a pipeline that refuses by name.
type Accident struct {
	Kind  string
	About string

	do      func(context.Context, *scene) error
	right   bool           // the rows may be right
	refusal *regexp.Regexp // what a pipeline says that refuses; nil where it must not
	final   []string       // flags of the last start: the way forward that the refusal names

	copies bool // a process whose local copies are complete carries on where another one refuses

	last bool // it happens when the source has all rows, and not in the middle of the load
}

// AccidentResult is what came of one accident.
type AccidentResult struct {
	Kind    string        `json:"kind"`
	Seed    uint64        `json:"seed"`
	Variant string        `json:"variant"`           // how its processes ended, and what they kept
	Outcome string        `json:"outcome"`           // right, refused, wrong
	Message string        `json:"message,omitempty"` // of a refusal
	Wrong   []string      `json:"wrong,omitempty"`   // rows, and whatever else does not hold
	Rows    int           `json:"rows"`
	Took    time.Duration `json:"took_ns"`
	Logs    string        `json:"logs,omitempty"` // folder with the processes' logs, of accidents that went wrong
}

// Outcomes of an accident.
const (
	Right   = "right"
	Refused = "refused"
	Wrong   = "wrong"
)

// Stage is where accidents happen.
type Stage struct {
	Weir   Weir
	Broker broker.Config
	Dir    string // for logs and state; what went right is removed from it
	Logger *slog.Logger
}

// Run lets one accident of a kind happen to a pipeline. The seed decides its moment and its
// variant: the same seed does the same again, as far as processes repeat themselves.
func (st Stage) Run(ctx context.Context, kind Accident, seed uint64) AccidentResult {
	began := time.Now()
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // faults need no secrets
	name := fmt.Sprintf("acc-%s-%x", kind.Kind, seed)
	s := &scene{
		weir: st.Weir, broker: st.Broker, rng: rng, log: st.Logger, kind: kind,
		name: name, dir: filepath.Join(st.Dir, name),
		kill9: rng.IntN(2) == 0, state: rng.IntN(3) > 0, both: rng.IntN(2) == 0,
	}
	r := AccidentResult{Kind: kind.Kind, Seed: seed, Variant: s.variant()}
	r.Outcome, r.Wrong = s.judge(ctx)
	r.Message, r.Rows, r.Took = s.refused, len(s.rows), time.Since(began)
	if r.Outcome == Wrong {
		r.Logs = s.dir
	} else if err := os.RemoveAll(s.dir); err != nil {
		st.Logger.Warn("remove the files of an accident", "err", err)
	}
	return r
}

func (s *scene) variant() string {
	words := []string{"stopped"}
	if s.kill9 {
		words[0] = "killed"
	}
	if s.both {
		words = append(words, "two processes")
	}
	if !s.state {
		words = append(words, "no local state")
	}
	return strings.Join(words, ", ")
}

// judge plays the accident and says what came of it.
func (s *scene) judge(ctx context.Context) (outcome string, wrong []string) {
	if err := s.open(ctx); err != nil {
		return Wrong, []string{err.Error()}
	}
	defer s.close()
	if err := s.playOut(ctx); err != nil {
		return Wrong, []string{err.Error()}
	}
	if err := s.conclude(ctx); err != nil {
		return Wrong, []string{err.Error()}
	}
	held, err := s.openTransactions(ctx) // at once: who reads after the end must see it all
	if err != nil {
		return Wrong, []string{err.Error()}
	}
	came, err := readOutcome(ctx, s.broker, s.name)
	if err != nil {
		return Wrong, []string{err.Error()}
	}
	wrong = expect(s.rows, s.bounded).compare(came, s.refused != "")
	outcome = Refused
	if s.refused == "" {
		outcome = Right
		wrong = append(wrong, held...)
		if !s.kind.right {
			wrong = append(wrong, "the pipeline went on, and must refuse")
		}
	} else if s.kind.refusal == nil || !s.kind.refusal.MatchString(s.refused) {
		wrong = append(wrong, fmt.Sprintf("it ended with a message that does not name the cause: %q", s.refused))
	}
	if len(wrong) > 0 {
		return Wrong, wrong
	}
	return outcome, nil
}
