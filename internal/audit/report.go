package audit

import (
	"fmt"
	"io"
	"strings"
)

// Report is the result of Verify. Counters of faults are zero if there are none or nothing could be
// checked; Checks distinguishes the two.
type Report struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"` // of the topic
	Truncated  int    `json:"truncated"`  // partitions whose beginning has been deleted

	Records  int64 `json:"records"`  // committed records in the topic
	Devices  int64 `json:"devices"`  // with readings in the topic
	Repeats  int64 `json:"repeats"`  // readings marked as repeats by the device
	Replayed int64 `json:"replayed"` // replayed dead letters
	Invalid  int64 `json:"invalid"`  // records that are not valid readings

	Lost        int64 `json:"lost"`         // missing readings
	Duplicated  int64 `json:"duplicated"`   // records of a reading that already exists
	RefusedSeen int64 `json:"refused_seen"` // existing readings whose transaction was refused
	Reordered   int64 `json:"reordered"`    // readings out of order within their device
	Torn        int64 `json:"torn"`         // marked transactions with too few or too many records

	Transactions int64 `json:"transactions"` // marked transactions that were checked
	Acknowledged int64 `json:"acknowledged"` // readings in the acknowledgement logs
	Hidden       int64 `json:"hidden"`       // of these, those that an open transaction may hide

	HiddenTransactions int64 `json:"hidden_transactions"` // marked transactions that an open transaction may hide in part

	Consumed           int64 `json:"consumed"`             // records below the group's committed offsets
	StatsKeys          int64 `json:"stats_keys"`           // results, one per device and sensor
	StatsCount         int64 `json:"stats_count"`          // sum of their counts
	StatsMismatch      int64 `json:"stats_mismatch"`       // results that don't follow from the readings
	DeadLetters        int64 `json:"dead_letters"`         // of records of this topic
	DeadLetterMismatch int64 `json:"dead_letter_mismatch"` // missing, surplus or wrong dead letters

	Unread int64 `json:"unread"` // offsets that were deleted before the group had read them

	ReadersDisagree  int64 `json:"readers_disagree"`  // partitions where two readers saw different records
	OpenTransactions int64 `json:"open_transactions"` // that block readers for longer than Config.Wait

	Windows *WindowReport `json:"windows,omitempty"` // nil if not configured

	Copies *CopyReport `json:"local_copies,omitempty"` // nil if not configured

	Databases *DatabaseReport `json:"databases,omitempty"` // nil if not configured

	Checks   []Check   `json:"checks"`
	Findings []Finding `json:"findings"` // the first examples of faults

	uncertain int // partitions where one offset was deleted unread

	hasAcks, hasStats, hasDeadLetters, hasGroup bool
	kinds                                       map[string]int // findings by problem
}

// Verdict is the outcome of a check.
type Verdict string

// The verdicts. Partly means no fault in what could be checked.
const (
	OK         Verdict = "ok"
	Failed     Verdict = "failed"
	Partly     Verdict = "partly checked"
	NotChecked Verdict = "not checked"
)

// Check is one line of the report.
type Check struct {
	ID      string  `json:"id"` // C1 to C10
	What    string  `json:"what"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail"` // numbers, or why it was not checked
}

// Finding is one example of a fault.
type Finding struct {
	Check   string `json:"check"`
	Problem string `json:"problem"`
	Where   string `json:"where"` // device, boot, seq, partition, offset
}

const (
	maxFindings = 24
	maxPerKind  = 6 // so that one kind doesn't crowd out the others
)

// find adds an example, up to a limit.
func (r *Report) find(check, problem, format string, args ...any) {
	if len(r.Findings) == maxFindings || r.kinds[problem] == maxPerKind {
		return
	}
	if r.kinds == nil {
		r.kinds = make(map[string]int)
	}
	r.kinds[problem]++
	r.Findings = append(r.Findings, Finding{check, problem, fmt.Sprintf(format, args...)})
}

// Clean reports whether no fault was found.
func (r *Report) Clean() bool {
	return r.Lost == 0 && r.Duplicated == 0 && r.RefusedSeen == 0 && r.Reordered == 0 && r.Torn == 0 &&
		r.StatsMismatch == 0 && r.DeadLetterMismatch == 0 && r.ReadersDisagree == 0 && r.OpenTransactions == 0 && r.Unread == 0 &&
		(r.Windows == nil || r.Windows.clean()) && (r.Copies == nil || r.Copies.clean()) && (r.Databases == nil || r.Databases.clean())
}

// compareReaders counts the partitions where the two readers differ.
func (r *Report) compareReaders(first, second *digests, log *span) {
	for p := range log.to {
		x, y := first.of(p.id), second.of(p.id)
		after, same := x.parts(y)
		if same {
			continue
		}
		r.ReadersDisagree++
		r.find("C6", "readers disagree", "partition %d, after offset %d: %d records up to offset %d, and %d up to %d",
			p.id, after, x.count, x.last, y.count, y.last)
	}
}

// conclude fills in the checks.
func (r *Report) conclude(a *audit) {
	r.hasGroup = a.committed != nil
	if r.Findings == nil {
		r.Findings = []Finding{} // [] in JSON, not null
	}
	results, windows := r.results(a), Check{"C5", "windows equal an offline recomputation", NotChecked, "no windows to check (--windows)"}
	if r.Windows != nil {
		results, windows = r.withWindows(a, results), r.windowFigures(a)
	}
	r.Checks = []Check{
		r.readings(), r.order(), r.marked(), results, windows,
		{"C6", "two readers see the same records", verdict(r.ReadersDisagree), fmt.Sprintf("%d partitions read twice, %d differ", r.Partitions, r.ReadersDisagree)},
		r.databases(),
		{"C8", "readers reach the end", verdict(r.OpenTransactions), fmt.Sprintf("%d open transactions blocked them for %s or longer", r.OpenTransactions, a.cfg.Wait)},
		r.copies(),
		r.unread(),
	}
}

func verdict(faults ...int64) Verdict {
	for _, n := range faults {
		if n > 0 {
			return Failed
		}
	}
	return OK
}

func (r *Report) readings() Check {
	c := Check{ID: "C1", What: "every reading exists exactly once", Verdict: verdict(r.Lost, r.Duplicated, r.RefusedSeen)}
	c.Detail = fmt.Sprintf("%d records of %d devices: %d lost, %d duplicated", r.Records, r.Devices, r.Lost, r.Duplicated)
	if r.hasAcks {
		c.Detail += fmt.Sprintf(", %d refused but seen; %d acknowledged", r.RefusedSeen, r.Acknowledged)
	} else {
		c.Detail += "; no acknowledgement log: judged by gaps in seq"
	}
	if r.Repeats+r.Replayed > 0 {
		c.Detail += fmt.Sprintf("; %d intentional repeats, %d replayed", r.Repeats, r.Replayed)
	}
	if r.Truncated > 0 {
		c.Detail += fmt.Sprintf("; the beginning of %d of %d partitions has been deleted and is not checked", r.Truncated, r.Partitions)
	}
	if r.Hidden > 0 {
		c.Detail += fmt.Sprintf("; %d acknowledged readings may be hidden by an open transaction and are not checked", r.Hidden)
	}
	if c.Verdict == OK && (r.Truncated > 0 || r.Hidden > 0) {
		c.Verdict = Partly
	}
	return c
}

func (r *Report) order() Check {
	return Check{"C2", "the readings of each device are in order", verdict(r.Reordered), fmt.Sprintf("%d readings out of order", r.Reordered)}
}

func (r *Report) marked() Check {
	c := Check{"C3", "transactions are atomic", verdict(r.Torn), fmt.Sprintf("%d marked transactions, %d torn", r.Transactions, r.Torn)}
	if r.HiddenTransactions > 0 {
		c.Detail += fmt.Sprintf("; %d may be hidden in part by an open transaction and are not checked", r.HiddenTransactions)
		if c.Verdict == OK {
			c.Verdict = Partly
		}
		return c
	}
	if r.Transactions == 0 && r.Torn == 0 {
		c.Verdict, c.Detail = NotChecked, "no record carries the header "+headerTx
	}
	return c
}

// results returns C4: a record goes into a result or becomes a dead letter.
func (r *Report) results(a *audit) Check {
	c := Check{ID: "C4", What: "results and dead letters follow from the readings", Verdict: verdict(r.StatsMismatch, r.DeadLetterMismatch)}
	c.Detail = fmt.Sprintf("%d results of %d readings and %d dead letters, from %d records consumed: %d wrong results, %d wrong dead letters",
		r.StatsKeys, r.StatsCount, r.DeadLetters, r.Consumed, r.StatsMismatch, r.DeadLetterMismatch)
	var gaps []string
	if !r.hasStats {
		gaps = append(gaps, fmt.Sprintf("stats not checked: topic %s does not exist", a.cfg.StatsTopic))
	}
	if !r.hasGroup {
		gaps = append(gaps, fmt.Sprintf("completeness not checked: group %s has no offsets in the topic", a.cfg.Group))
	}
	if r.hasStats && r.Truncated > 0 {
		gaps = append(gaps, fmt.Sprintf("stats not checkable: the topic's beginning has been deleted (%d of %d partitions)", r.Truncated, r.Partitions))
	}
	for _, topic := range []string{a.cfg.StatsTopic, a.cfg.DLQTopic} {
		if n := len(a.blockedOf(topic)); n > 0 {
			gaps = append(gaps, fmt.Sprintf("an open transaction hides the end of %d partitions of %s", n, topic))
		}
	}
	if len(gaps) == 0 {
		return c
	}
	c.Detail += "; " + strings.Join(gaps, "; ")
	if c.Verdict == OK {
		c.Verdict = Partly
		if !r.hasStats && (!r.hasGroup || !r.hasDeadLetters) {
			c.Verdict = NotChecked
		}
	}
	return c
}

// WriteText writes the report as text: totals, one line per check, and examples of faults.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d records of %d devices on %d partitions\n\n", r.Topic, r.Records, r.Devices, r.Partitions)
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "%-3s %-14s %-50s %s\n", c.ID, c.Verdict, c.What, c.Detail)
	}
	if len(r.Findings) > 0 {
		fmt.Fprintf(&b, "\nFirst faults:\n")
		for _, f := range r.Findings {
			fmt.Fprintf(&b, "  %s %s: %s\n", f.Check, f.Problem, f.Where)
		}
	}
	switch {
	case r.Clean() && r.Truncated > 0:
		b.WriteString("\nNo faults in the remaining records. Deleted records were not checked.\n")
	case r.Clean():
		b.WriteString("\nNothing is wrong.\n")
	default:
		b.WriteString("\nSomething is wrong.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
