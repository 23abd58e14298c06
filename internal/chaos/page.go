package chaos

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/audit"
)

// WritePage writes the results of runs as one Markdown page. It includes failed runs, with their
// cause as far as it is known.
func WritePage(w io.Writer, all []*Report) error {
	var b strings.Builder
	b.WriteString(`# Fault injection campaign

Each run injects faults and operator accidents, one after another, while readings flow through a stateful pipeline, and then checks
the results. ` + "`weir chaos --page`" + ` generates this page from the reports in [campaign/](campaign/). ` + "`make campaign`" + ` runs the campaign
again; ` + "`weir chaos --seed N`" + ` repeats a single run. [exactly-once.md](../guides/exactly-once.md) explains the checks.

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
	var faults, readings, lost, duplicated, torn, failed int64
	for _, r := range all {
		took += r.Took
		faults += int64(len(r.Faults))
		if v := r.Final; v != nil {
			for _, a := range v.audits() {
				readings, lost = readings+a.Records, lost+a.Lost
				duplicated, torn = duplicated+a.Duplicated, torn+a.Torn
			}
		}
		if !r.Clean() {
			failed++
		}
	}
	fmt.Fprintf(b, "%d runs, %d of them failed: %s faults in %s. %s readings were verified: %s lost, %s duplicated; %s torn transactions.\n\n",
		len(all), failed, thousands(faults), took.Round(time.Minute), thousands(readings), thousands(lost), thousands(duplicated), thousands(torn))
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
	line("pipeline", func(r *Report) string { return cmp.Or(r.Pipeline, PipelineGroups) })
	line("started", func(r *Report) string { return r.Began.Format("2006-01-02 15:04 UTC") })
	line("seed", func(r *Report) string { return fmt.Sprintf("`%d`", r.Seed) })
	line("versions", func(r *Report) string { return r.versions() })
	line("duration of the faults", func(r *Report) string { return r.Took.Round(time.Second).String() })
	line("faults", func(r *Report) string { return fmt.Sprint(len(r.Faults)) })
	final := func(value func(*Verdict) string) func(*Report) string {
		return func(r *Report) string {
			if r.Final == nil {
				return "not checked"
			}
			return value(r.Final)
		}
	}
	line("readings verified", final(func(v *Verdict) string { return v.total(func(a *audit.Report) int64 { return a.Records }) }))
	line("of these, in acknowledgement logs", final(func(v *Verdict) string { return v.total(func(a *audit.Report) int64 { return a.Acknowledged }) }))
	line("lost", final(func(v *Verdict) string { return v.total(func(a *audit.Report) int64 { return a.Lost }) }))
	line("duplicated", final(func(v *Verdict) string { return v.total(func(a *audit.Report) int64 { return a.Duplicated }) }))
	line("out of order", final(func(v *Verdict) string { return v.total(func(a *audit.Report) int64 { return a.Reordered }) }))
	line("transactions: total, torn", final(func(v *Verdict) string {
		return v.total(func(a *audit.Report) int64 { return a.Transactions }) + ", " + v.total(func(a *audit.Report) int64 { return a.Torn })
	}))
	line("windows: total, wrong", final(func(v *Verdict) string {
		if v.Audit.Windows == nil {
			return "not checked"
		}
		return fmt.Sprintf("%s, %d", thousands(v.Audit.Windows.Results), v.Audit.Windows.Mismatch)
	}))
	line("groups: total, wrong", final(func(v *Verdict) string {
		if v.Groups == 0 {
			return "not checked"
		}
		return fmt.Sprintf("%d, %d", v.Groups, len(v.Wrong))
	}))
	line("rows of joins: total, wrong", final(func(v *Verdict) string {
		if v.Joined == 0 {
			return "not checked"
		}
		return fmt.Sprintf("%s, %d", thousands(int64(v.Joined)), v.JoinedWrong)
	}))
	line("open transactions at the end", final(func(v *Verdict) string { return v.total(func(a *audit.Report) int64 { return a.OpenTransactions }) }))
	line("checks during the run", func(r *Report) string {
		return fmt.Sprintf("%d completed, %d interrupted", r.ChecksDone, r.ChecksBroken)
	})
	line("recovery time: p50, p99", func(r *Report) string {
		return fmt.Sprintf("%s, %s", seconds(r.Recovery(0.5)), seconds(r.Recovery(0.99)))
	})
	line("longest reader stall", func(r *Report) string { return seconds(r.LongestStall) })
	line("verdict", func(r *Report) string {
		if r.Clean() {
			return "passed"
		}
		return "**failed**, see below"
	})
	b.WriteString("\nRecovery time runs from the start of a fault to the next commit on every partition of readings and results, so it includes the fault itself. " +
		"A stall is a period in which a partition had no new records for a read_committed consumer. " +
		"A check is interrupted if a fault prevents it from completing; it is repeated later.\n\n")
}

// total returns the sum of a count over the sources.
func (v *Verdict) total(count func(*audit.Report) int64) string {
	var sum int64
	for _, a := range v.audits() {
		sum += count(a)
	}
	return thousands(sum)
}

func (r *Report) versions() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		all = append(all, name+" "+r.Versions[name])
	}
	return strings.Join(all, ", ")
}

func writeKinds(b *strings.Builder, all []*Report) {
	b.WriteString("## Faults by kind\n\nFor each run: number of faults, and median recovery time.\n\n| kind | description |")
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
				fmt.Fprintf(b, " not available: %s |", r.NotAvailable[k.Name])
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
	b.WriteString("## Accidents\n\nMistakes of operators that hit a stateful pipeline. Afterwards, its rows must be correct, or it must refuse to continue and name the cause.\n\n" +
		"| accident | description | correct | refused | wrong |\n|---|---|---|---|---|\n")
	for _, k := range Accidents() {
		n := outcomes[k.Kind]
		fmt.Fprintf(b, "| %s | %s | %d | %d | %d |\n", k.Kind, k.About, n[Right], n[Refused], n[Wrong])
	}
	b.WriteByte('\n')
}

func writeFailures(b *strings.Builder, all []*Report) {
	b.WriteString("## Failed runs\n\n")
	none := true
	for _, r := range all {
		if r.Clean() {
			continue
		}
		if none {
			b.WriteString("Messages are quoted as the version under test printed them.\n\n")
		}
		none = false
		fmt.Fprintf(b, "### Seed %d, %s\n\n```text\n", r.Seed, r.Cluster)
		const most = 12
		for _, f := range r.Failures[:min(most, len(r.Failures))] {
			fmt.Fprintln(b, strings.Join(strings.Fields(f), " "))
		}
		if more := len(r.Failures) - most; more > 0 {
			fmt.Fprintf(b, "and %d more\n", more)
		}
		explained := r.Explanation
		if explained == "" {
			explained = "The cause is not known yet."
		}
		fmt.Fprintf(b, "```\n\n%s\n\n", strings.TrimSpace(explained))
	}
	if none {
		b.WriteString("None.\n")
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
