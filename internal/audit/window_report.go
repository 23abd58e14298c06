package audit

import (
	"fmt"
	"strings"
)

// WindowReport is the result of checking a windowed pipeline. Rows and Ahead are its input;
// Counted, Late, DeadLetters (Undecodable without a dead letter topic) and Open are its output.
type WindowReport struct {
	Rows        int64 `json:"rows"`         // records of the input that the pipeline must have processed
	Ahead       int64 `json:"ahead"`        // rows past these that its output already includes
	Results     int64 `json:"results"`      // windows in the topic
	Counted     int64 `json:"counted"`      // sum of their counts
	Late        int64 `json:"late"`         // rows in the late topic
	DeadLetters int64 `json:"dead_letters"` // in the pipeline's dead letter topic
	Undecodable int64 `json:"undecodable"`  // records without a valid row, if there is no dead letter topic
	OpenWindows int64 `json:"open_windows"` // windows with rows but without a result, which the watermark has not passed
	Open        int64 `json:"open"`         // their rows

	Difference         int64 `json:"difference"`           // input less output; 0 if it can't be determined
	Mismatch           int64 `json:"mismatch"`             // windows that are wrong, missing, duplicated or impossible
	LateMismatch       int64 `json:"late_mismatch"`        // late rows that are duplicated, changed, not late or without a row
	DeadLetterMismatch int64 `json:"dead_letter_mismatch"` // missing, surplus or wrong dead letters
}

func (w *WindowReport) clean() bool {
	return w.Difference == 0 && w.Mismatch == 0 && w.LateMismatch == 0 && w.DeadLetterMismatch == 0
}

// withWindows adds the sum over the windows to C4. Without device statistics, only the windows
// count.
func (r *Report) withWindows(a *audit, c Check) Check {
	w := r.Windows
	c.What = "in = windows + late + dead letters; other results"
	detail := fmt.Sprintf("windows: %d rows processed and %d ahead of the group = %d in windows + %d late + %d dead letters + %d in open windows, difference %d; %d wrong late rows, %d wrong dead letters",
		w.Rows, w.Ahead, w.Counted, w.Late, max(w.DeadLetters, w.Undecodable), w.Open, w.Difference, w.LateMismatch, w.DeadLetterMismatch)
	gaps := r.windowGaps(a)
	if w.Undecodable > 0 {
		gaps = append(gaps, fmt.Sprintf("dead letters not checked: %d records can't be decoded, and no dead letter topic is set", w.Undecodable))
	}
	own := windowVerdict(gaps, verdict(abs(w.Difference), w.LateMismatch, w.DeadLetterMismatch))
	for _, topic := range []string{a.cfg.Windows.Late, a.cfg.Windows.DLQ} {
		if _, exists := a.ids[topic]; !exists && topic != "" {
			gaps = append(gaps, fmt.Sprintf("topic %s does not exist and counts as empty", topic))
		}
	}
	if a.cfg.Windows.Late == "" {
		gaps = append(gaps, "no late topic is set: every row must be in a window")
	}
	other := c.Verdict
	if !r.hasStats && other == Partly {
		other = NotChecked
	}
	c.Detail = strings.Join(append([]string{detail}, append(gaps, "other results: "+c.Detail)...), "; ")
	switch {
	case own == Failed || other == Failed:
		c.Verdict = Failed
	case own == Partly || other == Partly:
		c.Verdict = Partly
	default:
		c.Verdict = own
	}
	return c
}

// windowFigures returns C5.
func (r *Report) windowFigures(a *audit) Check {
	w := r.Windows
	gaps := r.windowGaps(a)
	c := Check{ID: "C5", What: "windows equal an offline recomputation", Verdict: windowVerdict(gaps, verdict(w.Mismatch))}
	c.Detail = fmt.Sprintf("%d windows of %s, %d wrong; %d windows still open", w.Results, a.cfg.Windows.Size, w.Mismatch, w.OpenWindows)
	c.Detail = strings.Join(append([]string{c.Detail}, gaps...), "; ")
	return c
}

// windowGaps lists why the windows can't be checked completely.
func (r *Report) windowGaps(a *audit) (gaps []string) {
	if a.windowCommitted == nil {
		what := "completeness"
		if a.cfg.Windows.Bounded {
			what = "that offsets go with the results"
		}
		gaps = append(gaps, fmt.Sprintf("%s not checked: group %s has no offsets in the topic", what, a.cfg.Windows.Group))
	}
	if r.Truncated > 0 {
		gaps = append(gaps, fmt.Sprintf("windows not checkable: the topic's beginning has been deleted (%d of %d partitions)", r.Truncated, r.Partitions))
	}
	for _, topic := range []string{a.cfg.Windows.Topic, a.cfg.Windows.Late, a.cfg.Windows.DLQ} {
		if n := a.deleted[topic]; n > 0 {
			gaps = append(gaps, fmt.Sprintf("the beginning of %d partitions of %s has been deleted", n, topic))
		}
		if n := len(a.blockedOf(topic)); n > 0 {
			gaps = append(gaps, fmt.Sprintf("an open transaction hides the end of %d partitions of %s", n, topic))
		}
	}
	return gaps
}

func windowVerdict(gaps []string, v Verdict) Verdict {
	if v == OK && len(gaps) > 0 {
		return Partly
	}
	return v
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}
