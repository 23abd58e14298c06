package top

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// column is a column of a table: its header, right alignment, and whether it may be omitted.
type column struct {
	head  string
	right bool
	spare bool
}

// table formats rows. If width is too small, spare columns are omitted, the last one first; then
// the first column is truncated. A width of 0 means no limit.
func table(columns []column, rows [][]string, width int, head lipgloss.Style) []string {
	widths := widthsOf(columns, rows)
	total := 2 * (len(columns) - 1)
	for _, w := range widths {
		total += w
	}
	if width > 0 && total > width {
		for i, c := range slices.Backward(columns) {
			if c.spare {
				shorter := make([][]string, len(rows))
				for n, r := range rows {
					shorter[n] = slices.Delete(slices.Clone(r), i, i+1)
				}
				return table(slices.Delete(slices.Clone(columns), i, i+1), shorter, width, head)
			}
		}
		widths[0] = max(8, widths[0]-(total-width))
	}
	line := func(cells []string) string {
		var b strings.Builder
		for i, c := range columns {
			if i > 0 {
				b.WriteString("  ")
			}
			cell := ansi.Truncate(cells[i], widths[i], "…")
			gap := strings.Repeat(" ", widths[i]-lipgloss.Width(cell))
			if c.right {
				b.WriteString(gap + cell)
			} else {
				b.WriteString(cell + gap)
			}
		}
		out := strings.TrimRight(b.String(), " ")
		if width > 0 {
			out = ansi.Truncate(out, width, "…")
		}
		return out
	}
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = c.head
	}
	lines := []string{head.Render(line(heads))}
	for _, r := range rows {
		lines = append(lines, line(r))
	}
	return lines
}

func widthsOf(columns []column, rows [][]string) []int {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = lipgloss.Width(c.head)
		for _, r := range rows {
			widths[i] = max(widths[i], lipgloss.Width(r[i]))
		}
	}
	return widths
}

// plain replaces characters that a terminal would interpret.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, name)
}

var blocks = []rune("▁▂▃▄▅▆▇█")

// bars draws the last n values as a bar chart, scaled from their minimum to their maximum.
func bars[N float32 | float64](values []N, n int) string {
	values = values[max(0, len(values)-n):]
	if len(values) == 0 {
		return ""
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, float64(v)), max(high, float64(v))
	}
	var b strings.Builder
	for _, v := range values {
		i := 0
		if high > low {
			i = int(math.Round((float64(v) - low) / (high - low) * float64(len(blocks)-1)))
		}
		b.WriteRune(blocks[i])
	}
	return b.String()
}

// short formats a number with three significant digits.
func short(n float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(n) >= u.size {
			digits := 2 - int(math.Log10(math.Abs(n)/u.size))
			return fmt.Sprintf("%.*f%s", max(0, digits), n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.0f", n)
}

func rate(n float64) string { return short(n) + "/s" }

func millis(n float64) string {
	if n == 0 {
		return "–"
	}
	return span(time.Duration(n * float64(time.Millisecond)))
}

func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

func ago(ms int64) string {
	if ms < 1500 {
		return "now"
	}
	return span(time.Duration(ms) * time.Millisecond)
}
