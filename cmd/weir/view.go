package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"weir.example/weir/internal/node"
	"weir.example/weir/internal/site"
)

// upView is the output of weir up: on a terminal a few lines that are overwritten, otherwise one
// line every five seconds.
type upView struct {
	w       io.Writer
	live    bool
	painted int // lines to overwrite
	site    site.Site
	tail    string // flags with which other commands connect to the same broker
	admin   string // URL of the admin port; "" if off
}

func newUpView(w io.Writer, at site.Site, dataDir string, external bool) *upView {
	v := &upView{w: w, site: at, live: isTerminal(w)}
	switch {
	case external:
		v.tail = " --brokers …"
	case dataDir != ".weir":
		v.tail = " --data-dir " + dataDir
	}
	return v
}

func (v *upView) every() time.Duration {
	if v.live {
		return 500 * time.Millisecond
	}
	return 5 * time.Second
}

var (
	bold  = lipgloss.NewStyle().Bold(true)
	faint = lipgloss.NewStyle().Faint(true)
)

func (v *upView) styled(s lipgloss.Style, text string) string {
	if !v.live {
		return text
	}
	return s.Render(text)
}

func (v *upView) ready(r node.Ready) {
	var sources []string
	if r.Fleet {
		sources = append(sources, "fleet")
	}
	if len(r.Devices)+len(r.Sources) > 0 {
		sources = append(sources, "devices")
	}
	fmt.Fprintf(v.w, "%s  %s → %s → %s, on the %s\n", v.styled(bold, "weir up"), cmp.Or(strings.Join(sources, ", "), "nothing"), v.site.Readings(), v.site.Stats(), r.Broker)
	verify := "weir verify"
	if !v.site.IsDefault() {
		verify += " --topic " + v.site.Readings()
	}
	tail := "weir tail " + v.site.Stats()
	width := max(46, max(len(verify), len(tail), len("weir transactions list"))+len(v.tail))
	line := func(what, is string) { fmt.Fprintf(v.w, "  %-*s %s\n", width, what, v.styled(faint, is)) }
	for _, url := range r.Devices {
		if strings.HasPrefix(url, "http") {
			line(url+"/v1/readings", "readings of devices in JSON; weir ingest --help")
		} else {
			line(url, "readings of devices by MQTT; weir ingest --help")
		}
	}
	for _, url := range r.Sources {
		line(url, "messages are taken from this MQTT broker")
	}
	switch {
	case r.Console != "":
		line(r.Console, "live console: devices, pipelines, topics")
	case r.NoConsole != nil:
		fmt.Fprintf(v.w, "  no console: %v\n", r.NoConsole)
	}
	switch {
	case r.Registry != "":
		line(r.Registry, "the schema registry; weir schema list")
	case r.NoRegistry != nil:
		fmt.Fprintf(v.w, "  no schema registry: %v\n", r.NoRegistry)
	}
	line(tail+v.tail, "results as they are committed")
	line(verify+v.tail, "independent check: lost, duplicated, partial or reordered?")
	line("weir transactions list"+v.tail, "open transactions")
	if v.admin != "" {
		line(v.admin+"/metrics", "for Prometheus; /readyz, /status")
	}
	fmt.Fprintf(v.w, "  %s\n", v.styled(faint, "Ctrl-C commits and stops; the next start resumes there."))
}

func (v *upView) show(s node.Snapshot) {
	if !v.live {
		fmt.Fprintf(v.w, "%5.0fs  %s readings/s  produced %s  consumed %s  p50 %s  p99 %s  open transactions %s  dead letters %s\n",
			s.Elapsed.Seconds(), count(int64(s.ConsumedRate)), count(s.Produced), count(s.Consumed),
			latency(s.P50), latency(s.P99), openCount(s.Open), count(s.DeadLetters))
		return
	}
	lines := []string{
		"",
		fmt.Sprintf("  readings     %s/s in   %s/s processed", pad(count(int64(s.ProducedRate))), pad(count(int64(s.ConsumedRate)))),
		fmt.Sprintf("  committed    %s produced %s processed", pad(count(s.Produced)), pad(count(s.Consumed))),
		fmt.Sprintf("  latency      p50 %s   p99 %s   %s", pad(latency(s.P50)), pad(latency(s.P99)), faint.Render("reading to committed result")),
		fmt.Sprintf("  transactions %s committed %s open", pad(count(s.Transactions)), pad(openCount(s.Open))),
		fmt.Sprintf("  dead letters %s", pad(count(s.DeadLetters))),
	}
	var b strings.Builder
	if v.painted > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.painted)
	}
	for _, l := range lines {
		b.WriteString("\x1b[2K" + l + "\n")
	}
	v.painted = len(lines)
	_, _ = io.WriteString(v.w, b.String()) // losing the terminal must not stop the node
}

// done prints a summary of a run that ended with err.
func (v *upView) done(s node.Snapshot, err error) {
	if s.Transactions == 0 {
		return
	}
	how := "Stopped cleanly"
	if err != nil {
		how = "Failed"
	}
	fmt.Fprintf(v.w, "%s after %s: %s readings produced, %s processed, in %s transactions.\n",
		how, s.Elapsed.Round(100*time.Millisecond), count(s.Produced), count(s.Consumed), count(s.Transactions))
}

func pad(s string) string { return fmt.Sprintf("%10s", s) }

func openCount(n int) string {
	if n < 0 {
		return "?"
	}
	return count(int64(n))
}

// count formats a number with thousands separators: 1,234,567.
func count(n int64) string {
	s := fmt.Sprint(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural formats a number of things, such as "1 stage" or "2 stages".
func plural[N int | int64](n N, one string) string {
	if n != 1 {
		one += "s"
	}
	return count(int64(n)) + " " + one
}
