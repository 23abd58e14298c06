package top

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"weir.example/weir/internal/console/api"
)

// styles are text styles; the zero value is plain text.
type styles struct {
	bold, faint, accent, ok, warn, bad lipgloss.Style
}

func coloured() styles {
	s := lipgloss.NewStyle()
	return styles{
		bold: s.Bold(true), faint: s.Faint(true), accent: s.Foreground(lipgloss.Color("6")).Bold(true),
		ok: s.Foreground(lipgloss.Color("2")), warn: s.Foreground(lipgloss.Color("3")), bad: s.Foreground(lipgloss.Color("1")),
	}
}

func (s styles) state(name string) string {
	switch name {
	case "online", "running", "delivering":
		return s.ok.Render("●") + " " + name
	case "silent", "retrying", "failed", "refused":
		return s.bad.Render("○") + " " + name
	case "stopped":
		return s.faint.Render("□ " + name)
	}
	return s.warn.Render("◐") + " " + name
}

// overview renders the overview page.
func (s styles) overview(o *api.Overview, width int) []string {
	var lines []string
	n := max(10, min(60, width-44))
	series := func(of func(api.Point) float64) string {
		values := make([]float64, len(o.Points))
		for i, p := range o.Points {
			values[i] = of(p)
		}
		return s.accent.UnsetBold().Render(bars(values, n))
	}
	figure := func(name, value, note, chart string) {
		lines = append(lines, fmt.Sprintf("%-18s %s  %s %s", name, s.bold.Render(fmt.Sprintf("%10s", value)), chart, s.faint.Render(note)))
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
		fmt.Sprintf("%-18s %s   %s %d   %s %d   %s %d", "devices", s.bold.Render(fmt.Sprintf("%10d", o.Devices.Total)),
			s.state("online"), o.Devices.Online, s.state("late"), o.Devices.Late, s.state("silent"), o.Devices.Silent),
		fmt.Sprintf("%-18s %s   dead letters %s", "open transactions", s.bold.Render(fmt.Sprintf("%10s", open)), short(float64(o.DeadLetters))),
	)
	broker := fmt.Sprintf("%-18s %s   topics %d, partitions %d", "brokers", s.bold.Render(fmt.Sprintf("%10d", len(o.Brokers))), o.Topics, o.Partitions)
	if o.UnderReplicated > 0 {
		broker += s.warn.Render(fmt.Sprintf("   %d under-replicated", o.UnderReplicated))
	}
	if o.Offline > 0 {
		broker += s.bad.Render(fmt.Sprintf("   %d without leader", o.Offline))
	}
	lines = append(lines, broker)
	if o.Error != "" {
		lines = append(lines, s.bad.Render("broker not responding: "+plain(o.Error)))
	}
	lines = append(append(lines, ""), s.pipelines(o.Pipelines, width)...)
	return append(lines, s.sinks(o.Pipelines, width)...)
}

// sinks lists the tables outside of Kafka.
func (s styles) sinks(all []api.Pipeline, width int) []string {
	var rows [][]string
	for _, p := range all {
		for _, k := range p.Sinks {
			rows = append(rows, []string{
				plain(p.Name) + "." + plain(k.Table), s.state(k.State), short(float64(k.Rows)), short(float64(k.Lag)), short(float64(k.DeadLetters)), plain(k.Reason),
			})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return append([]string{""}, table([]column{
		{head: "sink"}, {head: "state"}, {head: "rows", right: true}, {head: "lag", right: true}, {head: "dead letters", right: true}, {head: ""},
	}, rows, width, s.faint)...)
}

func (s styles) pipelines(all []api.Pipeline, width int) []string {
	if len(all) == 0 {
		return []string{s.faint.Render("no pipelines running")}
	}
	var rows [][]string
	for _, p := range all {
		mark := "–"
		if p.Delay != nil {
			mark = "-" + span(time.Duration(*p.Delay*float64(time.Second)))
		}
		counted := func(n int64) string {
			if !p.Here {
				return "–" // known only to the process that runs it
			}
			return short(float64(n))
		}
		rows = append(rows, []string{
			plain(p.Name), s.state(p.State), fmt.Sprint(p.Members), rate(p.Rate), short(float64(p.Lag)), mark, millis(p.P99),
			counted(p.Late), counted(p.DeadLetters), counted(p.Dropped), note(p),
		})
	}
	return table([]column{
		{head: "pipeline"}, {head: "state"}, {head: "workers", right: true, spare: true}, {head: "rows", right: true}, {head: "lag", right: true},
		{head: "watermark", right: true}, {head: "p99", right: true}, {head: "late", right: true}, {head: "dead letters", right: true}, {head: "dropped", right: true, spare: true}, {head: ""},
	}, rows, width, s.faint)
}

// note returns a note on data loss of a pipeline, or on why it is not running.
func note(p api.Pipeline) string {
	if p.Skipped == 0 {
		return plain(p.Reason)
	}
	lost := short(float64(p.Skipped)) + " offsets deleted before they were read"
	if p.Reason != "" {
		lost += "; " + plain(p.Reason)
	}
	return lost
}

func (s styles) devices(d *api.DeviceList, width int) []string {
	if len(d.Rows) == 0 {
		return []string{s.faint.Render("no matching devices")}
	}
	columns := []column{{head: "device"}, {head: "status"}, {head: "last seen", right: true}}
	name := 0
	for _, r := range d.Rows {
		name = max(name, min(24, lipgloss.Width(plain(r.ID))))
	}
	const fixed, perSensor = 20, 19 // widths of status and time, and of a sensor
	var names []string
	for _, sensor := range d.Rows[0].Sensors {
		if len(names) < max(1, (width-name-fixed)/perSensor) {
			names = append(names, sensor.Name)
			columns = append(columns, column{head: plain(sensor.Name), right: true})
		}
	}
	var rows [][]string
	for _, r := range d.Rows {
		row := []string{plain(r.ID), s.state(string(r.Status)), ago(r.Seen)}
		for _, name := range names {
			cell := ""
			for _, sensor := range r.Sensors {
				if sensor.Name == name {
					cell = fmt.Sprintf("%s %8.5g", s.faint.Render(bars(sensor.Spark, 8)), sensor.Last)
				}
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return table(columns, rows, width, s.faint)
}

func (s styles) topics(t *api.TopicList, filter string, width int) []string {
	var rows [][]string
	for _, t := range t.Topics {
		if t.Internal || !strings.Contains(strings.ToLower(t.Name), strings.ToLower(filter)) {
			continue
		}
		state := s.ok.Render("●") + " ok"
		switch {
		case t.Offline > 0:
			state = s.bad.Render("○") + " no leader"
		case t.UnderReplicated > 0:
			state = s.warn.Render("◐") + " under-replicated"
		}
		lag := ""
		if len(t.Readers) > 0 {
			lag = short(float64(t.Lag))
		}
		rows = append(rows, []string{plain(t.Name), fmt.Sprint(t.Count), fmt.Sprint(t.Replicas), short(float64(t.Records)), rate(t.Rate), lag, state, plain(strings.Join(t.Readers, " "))})
	}
	if len(rows) == 0 {
		return []string{s.faint.Render("no matching topics")}
	}
	return table([]column{
		{head: "topic"}, {head: "partitions", right: true}, {head: "replicas", right: true, spare: true}, {head: "offsets", right: true},
		{head: "rate", right: true}, {head: "lag", right: true}, {head: "state"}, {head: "readers", spare: true},
	}, rows, width, s.faint)
}
