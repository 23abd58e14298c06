package top

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"weir.example/weir/internal/console/api"
)

// look is how text is dressed; without colours it is as it was.
type look struct {
	bold, faint, accent, ok, warn, bad lipgloss.Style
}

func dressed() look {
	s := lipgloss.NewStyle()
	return look{
		bold: s.Bold(true), faint: s.Faint(true), accent: s.Foreground(lipgloss.Color("6")).Bold(true),
		ok: s.Foreground(lipgloss.Color("2")), warn: s.Foreground(lipgloss.Color("3")), bad: s.Foreground(lipgloss.Color("1")),
	}
}

func (l look) state(name string) string {
	switch name {
	case "online", "running":
		return l.ok.Render("●") + " " + name
	case "silent", "retrying", "failed":
		return l.bad.Render("○") + " " + name
	case "stopped":
		return l.faint.Render("□ " + name)
	}
	return l.warn.Render("◐") + " " + name
}

// overview is the first page.
func (l look) overview(o *api.Overview, width int) []string {
	var lines []string
	n := max(10, min(60, width-44))
	series := func(of func(api.Point) float64) string {
		values := make([]float64, len(o.Points))
		for i, p := range o.Points {
			values[i] = of(p)
		}
		return l.accent.UnsetBold().Render(bars(values, n))
	}
	figure := func(name, value, note, chart string) {
		lines = append(lines, fmt.Sprintf("%-18s %s  %s %s", name, l.bold.Render(fmt.Sprintf("%10s", value)), chart, l.faint.Render(note)))
	}
	figure("readings in", rate(o.Now.In), "", series(func(p api.Point) float64 { return p.In }))
	figure("processed", rate(o.Now.Out), "", series(func(p api.Point) float64 { return p.Out }))
	figure("latency p99", millis(o.Now.P99), "p50 "+millis(o.Now.P50), series(func(p api.Point) float64 { return p.P99 }))
	figure("lag", short(float64(o.Now.Lag)), "records", series(func(p api.Point) float64 { return float64(p.Lag) }))
	open := "?"
	if o.Now.Open >= 0 {
		open = fmt.Sprint(o.Now.Open)
	}
	lines = append(lines, "",
		fmt.Sprintf("%-18s %s   %s %d   %s %d   %s %d", "devices", l.bold.Render(fmt.Sprintf("%10d", o.Devices.Total)),
			l.state("online"), o.Devices.Online, l.state("late"), o.Devices.Late, l.state("silent"), o.Devices.Silent),
		fmt.Sprintf("%-18s %s   dead letters %s", "open transactions", l.bold.Render(fmt.Sprintf("%10s", open)), short(float64(o.DeadLetters))),
	)
	broker := fmt.Sprintf("%-18s %s   topics %d, partitions %d", "brokers", l.bold.Render(fmt.Sprintf("%10d", len(o.Brokers))), o.Topics, o.Partitions)
	if o.UnderReplicated > 0 {
		broker += l.warn.Render(fmt.Sprintf("   %d under-replicated", o.UnderReplicated))
	}
	if o.Offline > 0 {
		broker += l.bad.Render(fmt.Sprintf("   %d without leader", o.Offline))
	}
	lines = append(lines, broker)
	if o.Error != "" {
		lines = append(lines, l.bad.Render("the broker does not answer: "+plain(o.Error)))
	}
	return append(append(lines, ""), l.pipelines(o.Pipelines, width)...)
}

func (l look) pipelines(all []api.Pipeline, width int) []string {
	if len(all) == 0 {
		return []string{l.faint.Render("no pipeline runs")}
	}
	var rows [][]string
	for _, p := range all {
		mark := "–"
		if p.Delay != nil {
			mark = "-" + span(time.Duration(*p.Delay*float64(time.Second)))
		}
		counted := func(n int64) string {
			if !p.Here {
				return "–" // known to the process that runs it
			}
			return short(float64(n))
		}
		rows = append(rows, []string{
			plain(p.Name), l.state(p.State), fmt.Sprint(p.Members), rate(p.Rate), short(float64(p.Lag)), mark, millis(p.P99),
			counted(p.Late), counted(p.DeadLetters), counted(p.Dropped), remark(p),
		})
	}
	return table([]column{
		{head: "pipeline"}, {head: "state"}, {head: "workers", right: true, spare: true}, {head: "rows", right: true}, {head: "lag", right: true},
		{head: "watermark", right: true}, {head: "p99", right: true}, {head: "late", right: true}, {head: "letters", right: true}, {head: "dropped", right: true, spare: true}, {head: ""},
	}, rows, width, l.faint)
}

// remark is what is to be said of a pipeline: rows that are lost to it, and why it waits.
func remark(p api.Pipeline) string {
	if p.Skipped == 0 {
		return plain(p.Reason)
	}
	lost := short(float64(p.Skipped)) + " offsets were deleted before they were read"
	if p.Reason != "" {
		lost += "; " + plain(p.Reason)
	}
	return lost
}

func (l look) devices(d *api.DeviceList, width int) []string {
	if len(d.Rows) == 0 {
		return []string{l.faint.Render("no device matches")}
	}
	columns := []column{{head: "device"}, {head: "status"}, {head: "seen", right: true}}
	name := 0
	for _, r := range d.Rows {
		name = max(name, min(24, lipgloss.Width(plain(r.ID))))
	}
	const others, each = 20, 19 // columns of status and time, and of a sensor
	var names []string
	for _, s := range d.Rows[0].Sensors {
		if len(names) < max(1, (width-name-others)/each) {
			names = append(names, s.Name)
			columns = append(columns, column{head: plain(s.Name), right: true})
		}
	}
	var rows [][]string
	for _, r := range d.Rows {
		row := []string{plain(r.ID), l.state(string(r.Status)), ago(r.Seen)}
		for _, name := range names {
			cell := ""
			for _, s := range r.Sensors {
				if s.Name == name {
					cell = fmt.Sprintf("%s %8.5g", l.faint.Render(bars(s.Spark, 8)), s.Last)
				}
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return table(columns, rows, width, l.faint)
}

func (l look) topics(t *api.TopicList, filter string, width int) []string {
	var rows [][]string
	for _, t := range t.Topics {
		if t.Internal || !strings.Contains(strings.ToLower(t.Name), strings.ToLower(filter)) {
			continue
		}
		state := l.ok.Render("●") + " ok"
		switch {
		case t.Offline > 0:
			state = l.bad.Render("○") + " no leader"
		case t.UnderReplicated > 0:
			state = l.warn.Render("◐") + " under-replicated"
		}
		lag := ""
		if len(t.Readers) > 0 {
			lag = short(float64(t.Lag))
		}
		rows = append(rows, []string{plain(t.Name), fmt.Sprint(t.Count), fmt.Sprint(t.Replicas), short(float64(t.Records)), rate(t.Rate), lag, state, plain(strings.Join(t.Readers, " "))})
	}
	if len(rows) == 0 {
		return []string{l.faint.Render("no topic matches")}
	}
	return table([]column{
		{head: "topic"}, {head: "partitions", right: true}, {head: "replicas", right: true, spare: true}, {head: "offsets", right: true},
		{head: "rate", right: true}, {head: "lag", right: true}, {head: "state"}, {head: "read by", spare: true},
	}, rows, width, l.faint)
}
