package plan

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// Sizes of the drawing, in pixels. The font is monospaced, so text widths are known.
const (
	charWidth  = 6.6
	lineHeight = 15
	boxChars   = 46 // per line
	boxLines   = 6  // shown of a description; the tooltip has the full text
	boxPadding = 10
	boxWidth   = boxChars*charWidth + 2*boxPadding
	gapX, gapY = 28, 44
	passWidth  = 24 // of an edge that crosses a layer
	margin     = 20
)

// drawing lays out relations in layers, inputs at the top, by the method of Sugiyama, Tagawa and
// Toda: an edge that spans several layers has a place in each, and the places of a layer are
// ordered by the positions of their neighbours.
type drawing struct {
	layers [][]*place
	stages map[*Relation]string
}

// place is a relation's box, or the point where an edge crosses a layer.
type place struct {
	rel        *Relation // nil for an edge
	lines      []string
	x, y, w, h float64
	above      []*place
	order      float64
}

// SVG draws the plan, inputs at the top, for light and dark pages.
func (p *Program) SVG() string {
	d := &drawing{stages: make(map[*Relation]string)}
	d.layer(p)
	d.order()
	width, height := d.position()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>pipeline %s</title>\n%s", html.EscapeString(p.Name), svgStyle)
	d.edges(&b)
	d.boxes(&b)
	b.WriteString("</svg>\n")
	return b.String()
}

const svgStyle = `<style>
svg { color-scheme: light dark; background: #ffffff; color: #1c2733; font: 11px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace }
rect { fill: #f4f7fa; stroke: #9fb0c0 } .exchange rect { fill: #fdf3e0; stroke: #d9a441 } .end rect { fill: #e8f5ec; stroke: #5fa777 }
path { fill: none; stroke: #7b8b9a; stroke-width: 1.5 } marker path { fill: #7b8b9a; stroke: none }
text { fill: currentColor; white-space: pre } .title { font-weight: bold } .stage { opacity: .65 }
@media (prefers-color-scheme: dark) {
  svg { background: #12181f; color: #dde5ec } rect { fill: #1c2631; stroke: #4a5b6c } .exchange rect { fill: #332a17; stroke: #a87f33 }
  .end rect { fill: #18301f; stroke: #4b8a62 } path { stroke: #8494a3 } marker path { fill: #8494a3 }
}
</style>
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>
`

// layer puts each relation below its inputs and adds places where edges cross layers.
func (d *drawing) layer(p *Program) {
	depth := make(map[*Relation]int)
	boxes := make(map[*Relation]*place)
	add := func(at int, x *place) {
		for len(d.layers) <= at {
			d.layers = append(d.layers, nil)
		}
		d.layers[at] = append(d.layers[at], x)
	}
	var put func(r *Relation) *place
	put = func(r *Relation) *place {
		if x := boxes[r]; x != nil {
			return x
		}
		x := &place{rel: r, w: boxWidth}
		boxes[r] = x
		_, rest, _ := strings.Cut(r.Describe(), " ")
		x.lines = wrap(rest)
		x.h = float64(len(x.lines)+1)*lineHeight + 2*boxPadding
		for _, in := range r.Inputs {
			put(in)
			depth[r] = max(depth[r], depth[in]+1)
		}
		for _, in := range r.Inputs {
			from := boxes[in]
			for at := depth[in] + 1; at < depth[r]; at++ {
				pass := &place{w: passWidth, above: []*place{from}}
				add(at, pass)
				from = pass
			}
			x.above = append(x.above, from)
		}
		add(depth[r], x)
		return x
	}
	for _, s := range p.Stages {
		for _, r := range s.Relations {
			d.stages[r] = s.Name
			put(r)
		}
		for _, r := range s.Outputs {
			if _, ok := d.stages[r]; !ok {
				d.stages[r] = s.Name
			}
			put(r)
		}
	}
}

// order sorts each layer by the mean position of the neighbours, downwards and upwards in turn, to
// reduce crossings.
func (d *drawing) order() {
	below := make(map[*place][]*place)
	for _, layer := range d.layers {
		for _, x := range layer {
			for _, up := range x.above {
				below[up] = append(below[up], x)
			}
		}
	}
	number := func(layer []*place) {
		for i, x := range layer {
			x.order = float64(i)
		}
	}
	sort := func(layer []*place, neighbours func(*place) []*place) {
		mean := make(map[*place]float64)
		for i, x := range layer {
			mean[x] = float64(i)
			if n := neighbours(x); len(n) > 0 {
				sum := 0.0
				for _, y := range n {
					sum += y.order
				}
				mean[x] = sum / float64(len(n))
			}
		}
		slices.SortStableFunc(layer, func(x, y *place) int {
			switch {
			case mean[x] < mean[y]:
				return -1
			case mean[x] > mean[y]:
				return 1
			}
			return 0
		})
		number(layer)
	}
	for _, layer := range d.layers {
		number(layer)
	}
	for range 4 {
		for _, layer := range d.layers {
			sort(layer, func(x *place) []*place { return x.above })
		}
		for _, layer := range slices.Backward(d.layers) {
			sort(layer, func(x *place) []*place { return below[x] })
		}
	}
}

// position arranges the layers from top to bottom, centred.
func (d *drawing) position() (width, height float64) {
	widths := make([]float64, len(d.layers))
	for i, layer := range d.layers {
		for _, x := range layer {
			widths[i] += x.w + gapX
		}
		widths[i] -= gapX
		width = max(width, widths[i])
	}
	height = margin
	for i, layer := range d.layers {
		at, tallest := margin+(width-widths[i])/2, 0.0
		for _, x := range layer {
			x.x, x.y = at, height
			at += x.w + gapX
			tallest = max(tallest, x.h)
		}
		for _, x := range layer {
			if x.rel == nil {
				x.h = tallest
			}
		}
		height += tallest + gapY
	}
	return width + 2*margin, height - gapY + margin
}

func (d *drawing) edges(b *strings.Builder) {
	for _, layer := range d.layers {
		for _, x := range layer {
			for i, up := range x.above {
				// Spread the edges that enter a box.
				to := x.x + x.w*float64(i+1)/float64(len(x.above)+1)
				from := up.x + up.w/2
				middle := (up.y + up.h + x.y) / 2
				fmt.Fprintf(b, `<path d="M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f`, from, up.y+up.h, from, middle, to, middle, to, x.y)
				if x.rel == nil {
					fmt.Fprintf(b, `V%.1f"/>`+"\n", x.y+x.h)
					continue
				}
				b.WriteString(`" marker-end="url(#arrow)"/>` + "\n")
			}
		}
	}
}

func (d *drawing) boxes(b *strings.Builder) {
	for _, layer := range d.layers {
		for _, x := range layer {
			if x.rel == nil {
				continue
			}
			class, about := "relation", d.stages[x.rel]
			if _, exchange := x.rel.Op.(*Exchange); exchange {
				class = "exchange"
			} else if len(x.rel.Inputs) == 0 || len(x.rel.Cols) == 0 { // source or sink
				class = "end"
			}
			if x.rel.State > 0 {
				about += ", state"
			}
			title, _, _ := strings.Cut(x.rel.Describe(), " ")
			fmt.Fprintf(b, `<g class="%s"><title>%s</title><rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="6"/>`,
				class, html.EscapeString(x.rel.Describe()), x.x, x.y, x.w, x.h)
			y := x.y + boxPadding + lineHeight - 4
			fmt.Fprintf(b, `<text class="title" x="%.1f" y="%.1f">%s</text>`, x.x+boxPadding, y, html.EscapeString(title))
			fmt.Fprintf(b, `<text class="stage" x="%.1f" y="%.1f" text-anchor="end">%s</text>`, x.x+x.w-boxPadding, y, html.EscapeString(about))
			for _, line := range x.lines {
				y += lineHeight
				fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text>`, x.x+boxPadding, y, html.EscapeString(line))
			}
			b.WriteString("</g>\n")
		}
	}
}

// wrap breaks a text at spaces, and words longer than a line anywhere.
func wrap(text string) (lines []string) {
	line := []rune{}
	flush := func() {
		if len(line) > 0 {
			lines = append(lines, string(line))
		}
		line = line[:0]
	}
	for _, word := range strings.Fields(text) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) > boxChars {
			flush()
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		for len(line)+len(w) > boxChars {
			n := boxChars - len(line)
			line, w = append(line, w[:n]...), w[n:]
			flush()
		}
		line = append(line, w...)
	}
	flush()
	if len(lines) > boxLines {
		last := []rune(lines[boxLines-1])
		lines = append(lines[:boxLines-1], string(last[:min(len(last), boxChars-1)])+"…")
	}
	return lines
}
