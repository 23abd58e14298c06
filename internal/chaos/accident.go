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

// Accident is a kind of operator accident that hits a stateful pipeline, with its acceptable
// outcomes: correct rows, or a pipeline that refuses and names the cause.
type Accident struct {
	Kind  string
	About string

	do      func(context.Context, *scene) error
	right   bool           // correct rows are an acceptable outcome
	refusal *regexp.Regexp // the message of a pipeline that refuses; nil if it must not refuse
	final   []string       // flags of the last start: the remedy that the refusal names

	copies bool // a process with complete local copies may continue where another one refuses

	last bool // happens once the source has all rows, not in the middle of the load
}

// AccidentResult is the outcome of one accident.
type AccidentResult struct {
	Kind    string        `json:"kind"`
	Seed    uint64        `json:"seed"`
	Variant string        `json:"variant"`           // how the processes were stopped, and what they kept
	Outcome string        `json:"outcome"`           // right, refused, wrong
	Message string        `json:"message,omitempty"` // refusal
	Wrong   []string      `json:"wrong,omitempty"`   // wrong rows and other failures
	Rows    int           `json:"rows"`
	Took    time.Duration `json:"took_ns"`
	Logs    string        `json:"logs,omitempty"` // folder with the logs of the processes, if the outcome is wrong
}

// Outcomes of an accident.
const (
	Right   = "right"
	Refused = "refused"
	Wrong   = "wrong"
)

// Stage is the environment of accidents.
type Stage struct {
	Weir   Weir
	Broker broker.Config
	Dir    string // for logs and state, which are removed unless the outcome is wrong
	Logger *slog.Logger
}

// Run runs one accident of a kind against a pipeline. The seed determines its moment and variant,
// so that a run can be repeated as far as processes are deterministic.
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
	parts := []string{"stopped"}
	if s.kill9 {
		parts[0] = "killed"
	}
	if s.both {
		parts = append(parts, "two processes")
	}
	if !s.state {
		parts = append(parts, "no local state")
	}
	return strings.Join(parts, ", ")
}

// judge runs the accident and returns its outcome.
func (s *scene) judge(ctx context.Context) (outcome string, wrong []string) {
	if err := s.open(ctx); err != nil {
		return Wrong, []string{err.Error()}
	}
	defer s.close()
	if err := s.play(ctx); err != nil {
		return Wrong, []string{err.Error()}
	}
	if err := s.conclude(ctx); err != nil {
		return Wrong, []string{err.Error()}
	}
	held, err := s.openTransactions(ctx) // immediately: a reader that starts after the end must see everything
	if err != nil {
		return Wrong, []string{err.Error()}
	}
	actual, err := readOutcome(ctx, s.broker, s.name)
	if err != nil {
		return Wrong, []string{err.Error()}
	}
	wrong = expect(s.rows, s.bounded).compare(actual, s.refused != "")
	outcome = Refused
	if s.refused == "" {
		outcome = Right
		wrong = append(wrong, held...)
		if !s.kind.right {
			wrong = append(wrong, "the pipeline continued; it must refuse")
		}
	} else if s.kind.refusal == nil || !s.kind.refusal.MatchString(s.refused) {
		wrong = append(wrong, fmt.Sprintf("the pipeline stopped with a message that does not name the cause: %q", s.refused))
	}
	if len(wrong) > 0 {
		return Wrong, wrong
	}
	return outcome, nil
}
