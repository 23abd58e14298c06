package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"weir.example/weir/internal/produce"
)

// bar shows a producer's progress on a terminal: its rate and, if the total is known, the time
// left.
type bar struct {
	w        io.Writer
	src      produce.Source
	progress *mpb.Progress
	bar      *mpb.Bar
	bytes    bool
	sent     int64
	started  time.Time
}

// newBar shows the progress of a source in bytes or readings.
func newBar(w io.Writer, src produce.Source, bytes bool) *bar {
	b := &bar{w: w, src: src, bytes: bytes, started: time.Now()}
	if !isTerminal(w) {
		return b
	}
	b.progress = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))
	rate := decor.Any(func(decor.Statistics) string {
		return fmt.Sprintf(" %s readings, %s/s", count(b.sent), count(int64(float64(b.sent)/time.Since(b.started).Seconds())))
	})
	done, total := src.Progress()
	if total < 0 {
		b.bar = b.progress.New(0, mpb.SpinnerStyle(), mpb.AppendDecorators(rate))
		return b
	}
	b.bar = b.progress.New(total, mpb.BarStyle(),
		mpb.PrependDecorators(decor.Percentage(decor.WCSyncSpace)),
		mpb.AppendDecorators(rate, decor.Name("  left "), decor.AverageETA(decor.ET_STYLE_GO)))
	b.bar.SetCurrent(done)
	return b
}

func (b *bar) resume(earlier int64) {
	if earlier > 0 {
		fmt.Fprintf(b.w, "resuming source %s after %s committed readings\n", b.src.Name(), count(earlier))
	}
}

// line prints a line above the bar.
func (b *bar) line(format string, args ...any) {
	w := b.w
	if b.progress != nil {
		w = b.progress
	}
	fmt.Fprintf(w, format+"\n", args...)
}

func (b *bar) commit(c produce.Commit) {
	b.sent += int64(c.Readings)
	if b.bar == nil {
		return
	}
	done, _ := b.src.Progress()
	b.bar.SetCurrent(done)
}

func (b *bar) stop() {
	if b.bar == nil {
		return
	}
	b.bar.Abort(true)
	b.progress.Wait()
}

// progressLine shows how much of something is done on a terminal, in a line that is removed at the
// end. Elsewhere it shows nothing, and progress is nil.
func progressLine(cmd *cobra.Command, text func(done, total int64) string) (progress func(done, total int64), end func()) {
	w := cmd.ErrOrStderr()
	if !isTerminal(w) {
		return nil, func() {}
	}
	last := time.Time{}
	return func(done, total int64) {
			if time.Since(last) < 200*time.Millisecond {
				return
			}
			last = time.Now()
			fmt.Fprint(w, "\r\x1b[2K", text(done, total))
		}, func() {
			fmt.Fprint(w, "\r\x1b[2K")
		}
}
