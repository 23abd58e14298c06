package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// WritePage writes the results of runs as one Markdown page. It includes failed runs, with their
// cause as far as it is known.
func WritePage(w io.Writer, all []*Report) error {
	var b strings.Builder
	b.WriteString(`# Campaign of faults

Faults and accidents that were injected in turn into a flow of readings, and what they left of it. Made of the reports in
` + "[campaign/](campaign/)" + ` by ` + "`weir chaos --page`" + `; ` + "`make campaign`" + ` repeats it, and ` + "`weir chaos --seed N`" + ` one of its runs. What is checked is
explained in [exactly-once.md](../guides/exactly-once.md).

`)
	writeTotals(&b, all)
	writeRuns(&b, all)
	writeKinds(&b, all)
	writeAccidents(&b, all)
	writeFailures(&b, all)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeTotals(b *strings.Builder, all []*Report) {
	var took time.Duration
	var faults, readings, lost, doubled, torn, failed int64
	for _, r := range all {
		took += r.Took
		faults += int64(len(r.Faults))
		if v := r.Final; v != nil {
			readings, lost, doubled, torn = readings+v.Audit.Records, lost+v.Audit.Lost, doubled+v.Audit.Duplicated, torn+v.Audit.Torn
		}
		if !r.Clean() {
			failed++
		}
	}
	fmt.Fprintf(b, "Runs: %d, of which %d failed. In %s, %s faults; %s readings verified: %d lost, %d duplicated; torn transactions: %d.\n\n",
		len(all), failed, took.Round(time.Minute), thousands(faults), thousands(readings), lost, doubled, torn)
}

func writeRuns(b *strings.Builder, all []*Report) {
	line := func(name string, value func(*Report) string) {
		fmt.Fprintf(b, "| %s |", name)
		for _, r := range all {
			fmt.Fprintf(b, " %s |", value(r))
		}
		b.WriteByte('\n')
	}
	line("", func(r *Report) string { return r.Cluster })
	line("---", func(*Report) string { return "---" })
	line("began", func(r *Report) string { return r.Began.Format("2006-01-02 15:04 UTC") })
	line("seed", func(r *Report) string { return fmt.Sprintf("`%d`", r.Seed) })
	line("versions", func(r *Report) string { return r.versions() })
	line("faults went on for", func(r *Report) string { return r.Took.Round(time.Second).String() })
	line("faults", func(r *Report) string { return fmt.Sprint(len(r.Faults)) })
	final := func(value func(*Verdict) string) func(*Report) string {
		return func(r *Report) string {
			if r.Final == nil {
				return "not checked"
			}
			return value(r.Final)
		}
	}
	line("readings verified", final(func(v *Verdict) string { return thousands(v.Audit.Records) }))
	line("of them acknowledged in logs", final(func(v *Verdict) string { return thousands(v.Audit.Acknowledged) }))
	line("lost", final(func(v *Verdict) string { return thousands(v.Audit.Lost) }))
	line("duplicated", final(func(v *Verdict) string { return thousands(v.Audit.Duplicated) }))
	line("out of order", final(func(v *Verdict) string { return thousands(v.Audit.Reordered) }))
	line("transactions, torn", final(func(v *Verdict) string {
		return fmt.Sprintf("%s, %d", thousands(v.Audit.Transactions), v.Audit.Torn)
	}))
	line("windows, wrong", final(func(v *Verdict) string {
		if v.Audit.Windows == nil {
			return "not checked"
		}
		return fmt.Sprintf("%s, %d", thousands(v.Audit.Windows.Results), v.Audit.Windows.Mismatch)
	}))
	line("groups, wrong", final(func(v *Verdict) string { return fmt.Sprintf("%d, %d", v.Groups, len(v.Wrong)) }))
	line("open transactions at the end", final(func(v *Verdict) string { return fmt.Sprint(v.Audit.OpenTransactions) }))
	line("checks while it ran", func(r *Report) string {
		return fmt.Sprintf("%d, %d more not completed", r.ChecksDone, r.ChecksBroken)
	})
	line("recovery p50, p99", func(r *Report) string {
		return fmt.Sprintf("%s, %s", seconds(r.Recovery(0.5)), seconds(r.Recovery(0.99)))
	})
	line("longest stall of readers", func(r *Report) string { return seconds(r.LongestStall) })
	line("verdict", func(r *Report) string {
		if r.Clean() {
			return "everything held"
		}
		return "**failed**, see below"
	})
	b.WriteString("\nRecovery is the time from the beginning of a fault to the next commit on every partition of readings and results, and so includes how long the fault lasts. " +
		"A stall is a time in which some partition had no new record for a reader of committed records.\n\n")
}

func (r *Report) versions() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		all = append(all, name+" "+r.Versions[name])
	}
	return strings.Join(all, ", ")
}

func writeKinds(b *strings.Builder, all []*Report) {
	b.WriteString("## Faults by kind\n\nHow often, and the median recovery.\n\n| kind | what happens |")
	for _, r := range all {
		fmt.Fprintf(b, " %s |", r.Cluster)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(all)) + "\n")
	for _, k := range Kinds() {
		fmt.Fprintf(b, "| %s | %s |", k.Name, k.About)
		for _, r := range all {
			n := r.ByKind()[k.Name]
			switch {
			case n == 0 && r.NotAvailable[k.Name] != "":
				fmt.Fprintf(b, " none: %s |", r.NotAvailable[k.Name])
			case n == 0 || k.own != nil:
				fmt.Fprintf(b, " %d |", n)
			default:
				of := &Report{Faults: slices.DeleteFunc(slices.Clone(r.Faults), func(f FaultRecord) bool { return f.Kind != k.Name })}
				fmt.Fprintf(b, " %d, %s |", n, seconds(of.Recovery(0.5)))
			}
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}

func writeAccidents(b *strings.Builder, all []*Report) {
	outcomes := make(map[string]map[string]int)
	for _, r := range all {
		for _, a := range r.Accidents {
			if outcomes[a.Kind] == nil {
				outcomes[a.Kind] = make(map[string]int)
			}
			outcomes[a.Kind][a.Outcome]++
		}
	}
	b.WriteString("## Accidents\n\nWhat operators do to a stateful pipeline. Its rows are right afterwards, or it refuses to go on and names the cause.\n\n" +
		"| accident | what happens | right | refused | wrong |\n|---|---|---|---|---|\n")
	for _, k := range Accidents() {
		n := outcomes[k.Kind]
		fmt.Fprintf(b, "| %s | %s | %d | %d | %d |\n", k.Kind, k.About, n[Right], n[Refused], n[Wrong])
	}
	b.WriteByte('\n')
}

func writeFailures(b *strings.Builder, all []*Report) {
	b.WriteString("## Runs that failed\n\n")
	none := true
	for _, r := range all {
		if r.Clean() {
			continue
		}
		none = false
		fmt.Fprintf(b, "### Seed %d, %s\n\n", r.Seed, r.Cluster)
		const most = 12
		for _, f := range r.Failures[:min(most, len(r.Failures))] {
			fmt.Fprintf(b, "- %s\n", strings.Join(strings.Fields(f), " "))
		}
		if more := len(r.Failures) - most; more > 0 {
			fmt.Fprintf(b, "- and %d more\n", more)
		}
		explained := r.Explanation
		if explained == "" {
			explained = "Not explained yet."
		}
		fmt.Fprintf(b, "\n%s\n\n", strings.TrimSpace(explained))
	}
	if none {
		b.WriteString("None of these.\n")
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// thousands formats a number with thousands separators.
func thousands(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
