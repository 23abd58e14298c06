package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Report is the result of a run. Paths in its texts are relative to the folder of the run.
type Report struct {
	Folder   string            `json:"folder,omitempty"` // of the run, in chaos/ of the data directory
	Seed     uint64            `json:"seed"`
	Versions map[string]string `json:"versions"`
	Cluster  string            `json:"cluster"`
	Pipeline string            `json:"pipeline,omitempty"` // PipelineJoins; otherwise that of groups
	Began    time.Time         `json:"began"`
	Took     time.Duration     `json:"took_ns"` // duration of the faults, without start and shutdown
	Rate     float64           `json:"rate"`    // requested readings per second

	Faults       []FaultRecord     `json:"faults"`
	Accidents    []AccidentResult  `json:"accidents"`
	NotAvailable map[string]string `json:"not_available,omitempty"` // kinds that could not be injected, and why

	Final        *Verdict      `json:"final"`
	ChecksDone   int           `json:"checks_while_it_ran"`
	ChecksBroken int           `json:"checks_not_completed"` // interrupted by a fault
	LongestStall time.Duration `json:"longest_stall_ns"`     // of readers on any partition

	Failures []string       `json:"failures"` // violations of any kind
	Exits    map[string]int `json:"exits"`    // unexpected exits of processes

	Explanation string `json:"-"` // of the failures, from NAME.md next to NAME.json
}

// FaultRecord is one fault.
type FaultRecord struct {
	Kind     string        `json:"kind"`
	Detail   string        `json:"detail"`
	At       time.Time     `json:"at"`
	Lasted   time.Duration `json:"lasted_ns"`
	Recovery time.Duration `json:"recovery_ns,omitempty"` // from the start of the fault to the next commit on every partition
	Failure  string        `json:"failure,omitempty"`
}

func newReport(c Config) *Report {
	r := &Report{
		Seed: c.Seed, Began: time.Now().UTC(), Rate: c.Rate, NotAvailable: make(map[string]string), Failures: []string{},
		Versions: map[string]string{"go": runtime.Version(), "weir": "(devel)"},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			r.Versions["weir"] = info.Main.Version
		}
		for _, m := range info.Deps {
			if m.Path == "github.com/twmb/franz-go" || m.Path == "github.com/Shopify/toxiproxy/v2" {
				r.Versions[m.Path] = m.Version
			}
		}
	}
	return r
}

// relativeTo makes the paths in the report relative to a directory, so that a report that is
// published does not name those of the machine.
func (r *Report) relativeTo(dir string) {
	r.Folder = filepath.Base(dir)
	inside := strings.NewReplacer(dir+string(filepath.Separator), "")
	for i := range r.Faults {
		f := &r.Faults[i]
		f.Detail, f.Failure = inside.Replace(f.Detail), inside.Replace(f.Failure)
	}
	for i := range r.Accidents {
		a := &r.Accidents[i]
		a.Message, a.Logs = inside.Replace(a.Message), inside.Replace(a.Logs)
		replaceAll(a.Wrong, inside)
	}
	for kind, why := range r.NotAvailable {
		r.NotAvailable[kind] = inside.Replace(why)
	}
	replaceAll(r.Failures, inside)
	if r.Final != nil {
		replaceAll(r.Final.Wrong, inside)
	}
}

func replaceAll(texts []string, by *strings.Replacer) {
	for i, text := range texts {
		texts[i] = by.Replace(text)
	}
}

// Clean reports whether there were no failures and the final verdict is clean.
func (r *Report) Clean() bool { return len(r.Failures) == 0 && r.Final != nil && r.Final.Clean() }

// ByKind counts the faults of each kind.
func (r *Report) ByKind() map[string]int {
	n := make(map[string]int)
	for _, f := range r.Faults {
		n[f.Kind]++
	}
	return n
}

// Recovery returns a percentile, 0 to 1, of the time from a fault to the next commit on every
// partition.
func (r *Report) Recovery(percentile float64) time.Duration {
	var all []time.Duration
	for _, f := range r.Faults {
		if f.Recovery > 0 {
			all = append(all, f.Recovery)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(percentile*float64(len(all))))]
}

// WriteText writes the report as text.
func (r *Report) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "seed %d, %s, %s\n", r.Seed, r.Cluster, r.Took.Round(time.Second))
	byKind := r.ByKind()
	fmt.Fprintf(w, "faults: %d\n", len(r.Faults))
	for _, k := range slices.Sorted(maps.Keys(byKind)) {
		fmt.Fprintf(w, "  %-18s %d\n", k, byKind[k])
	}
	for _, k := range slices.Sorted(maps.Keys(r.NotAvailable)) {
		fmt.Fprintf(w, "  %-18s not available: %s\n", k, r.NotAvailable[k])
	}
	if v := r.Final; v != nil {
		a := v.Audit
		fmt.Fprintf(w, "readings: %d verified, %d lost, %d duplicated, %d out of order; %d transactions, %d torn\n", a.Records, a.Lost, a.Duplicated, a.Reordered, a.Transactions, a.Torn)
		if p := v.Planned; p != nil {
			fmt.Fprintf(w, "second source: %d verified, %d lost, %d duplicated, %d out of order; %d transactions, %d torn\n", p.Records, p.Lost, p.Duplicated, p.Reordered, p.Transactions, p.Torn)
			fmt.Fprintf(w, "rows of joins: %d checked, %d wrong\n", v.Joined, v.JoinedWrong)
		}
		if a.Windows != nil {
			fmt.Fprintf(w, "windows: %d checked; groups: %d checked, %d wrong\n", a.Windows.Results, v.Groups, len(v.Wrong))
		}
		fmt.Fprintf(w, "open transactions: %d\n", a.OpenTransactions)
	}
	fmt.Fprintf(w, "recovery: p50 %s, p99 %s; longest reader stall %s\n", round(r.Recovery(0.5)), round(r.Recovery(0.99)), round(r.LongestStall))
	for _, f := range r.Failures {
		fmt.Fprintf(w, "FAILED: %s\n", f)
	}
	verdict := "passed"
	if !r.Clean() {
		verdict = "failed"
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// Save writes the report to a file as JSON.
func (r *Report) Save(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // results may be world-readable
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // see above
}

// LoadReport reads a report written by Save, and the explanation of its failures next to it, if
// any.
func LoadReport(path string) (*Report, error) {
	text, err := os.ReadFile(path) //nolint:gosec // path given by the user
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read report %s: %w", path, err)
	}
	explanation, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".md") //nolint:gosec // in the directory of the user's file
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	r.Explanation = string(explanation)
	return r, nil
}
