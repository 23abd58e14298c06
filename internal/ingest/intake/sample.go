package intake

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"weir.example/weir/internal/ingest/mapping"
)

// Limits of what is kept to be shown.
const (
	maxSamples  = 20
	sampleEvery = 200 * time.Millisecond
	maxShown    = 1024 // bytes of a payload
	maxParts    = 10   // readings and reasons of a message
	maxReasons  = 100  // reasons of dead letters that are counted apart
)

// Sample is a message beside what the rules made of it.
type Sample struct {
	At       time.Time `json:"at"`
	Protocol string    `json:"protocol"`
	Client   string    `json:"client"`
	Topic    string    `json:"topic"`
	Payload  string    `json:"payload"`              // its beginning; binary as \x00
	Bytes    int       `json:"bytes"`                // of the whole payload
	Rule     string    `json:"rule,omitempty"`       // topic filter; "" if none matches
	Readings []string  `json:"readings,omitempty"`   // as JSON
	Rejected []string  `json:"rejected,omitempty"`   // reasons
	Ignored  string    `json:"ignored,omitempty"`    // why nothing counts
	Skipped  int       `json:"skipped,omitempty"`    // fields without a number
	More     int       `json:"more_parts,omitempty"` // readings and reasons that are not listed
}

// ring holds the last samples.
type ring struct {
	all  [maxSamples]Sample
	next int
	at   time.Time // of the last one
}

// sample adds a message unless the last one was added just before.
func (r *ring) sample(msg *Message, result *mapping.Result) {
	if since := msg.Arrived.Sub(r.at); since >= 0 && since < sampleEvery {
		return
	}
	r.at = msg.Arrived
	r.all[r.next%maxSamples] = sampleOf(msg, result)
	r.next++
}

// list returns the samples, the latest first.
func (r *ring) list() []Sample {
	var list []Sample
	for i := r.next - 1; i >= max(0, r.next-maxSamples); i-- {
		list = append(list, r.all[i%maxSamples])
	}
	return list
}

// Record counts a message and what it contains, and keeps some as samples.
func (in *Intake) Record(msg *Message, result *mapping.Result) {
	in.mu.Lock()
	defer in.mu.Unlock()
	c := in.countsOf(msg.Protocol)
	c.Messages++
	c.Readings += int64(len(result.Readings))
	c.Rejected += int64(len(result.Rejected))
	c.Skipped += int64(result.Skipped)
	c.Missing += result.Missing
	c.Exemplars += int64(result.Exemplars)
	if result.Ignored != "" {
		c.Ignored++
	}
	for _, d := range result.Rejected {
		in.countReason(d.Reason, 1)
	}
	for _, r := range result.Refused {
		c.Refused += r.Count
		in.countReason(r.Reason, r.Count)
	}
	in.samples.sample(msg, result)
	if len(result.Rejected)+len(result.Refused) > 0 {
		in.rejected.sample(msg, result)
	}
}

// countReason counts the reason of a dead letter or a refusal. Reasons may quote what was sent, so
// those beyond a limit are counted together.
func (in *Intake) countReason(reason string, n int64) {
	reason = printable([]byte(reason), 200)
	if _, known := in.reasons[reason]; !known && len(in.reasons) >= maxReasons {
		reason = "other reasons"
	}
	in.reasons[reason] += n
}

func sampleOf(msg *Message, result *mapping.Result) Sample {
	s := Sample{
		At: msg.Arrived, Protocol: msg.Protocol, Client: printable([]byte(msg.Client), 200), Topic: printable([]byte(msg.Topic), 300),
		Payload: printable(msg.Payload, maxShown), Bytes: len(msg.Payload), Rule: result.Rule, Ignored: result.Ignored, Skipped: result.Skipped,
	}
	for i := range result.Readings[:min(maxParts, len(result.Readings))] {
		v := result.Readings[i] // without a number, which the spool assigns
		s.Readings = append(s.Readings, string(v.AppendJSON(nil)))
	}
	for _, d := range result.Rejected[:min(maxParts, len(result.Rejected))] {
		s.Rejected = append(s.Rejected, printable([]byte(d.Reason), 300))
	}
	for _, r := range result.Refused[:min(maxParts-len(s.Rejected), len(result.Refused))] {
		s.Rejected = append(s.Rejected, printable([]byte(r.Reason), 300))
	}
	s.More = len(result.Readings) + len(result.Rejected) + len(result.Refused) - len(s.Readings) - len(s.Rejected)
	return s
}

// printable returns the beginning of a text, with bytes that are no text as \x00.
func printable(text []byte, limit int) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for len(text) > 0 && b.Len() < limit {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 || r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			b.WriteString(`\x`)
			b.WriteByte(digits[text[0]>>4])
			b.WriteByte(digits[text[0]&15])
		} else {
			b.Write(text[:n])
		}
		text = text[n:]
	}
	if len(text) > 0 {
		b.WriteString("…")
	}
	return b.String()
}

// Reason is a reason of dead letters, and how often it occurred.
type Reason struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// Samples returns some of the last messages, and some of the last that have dead letters, the
// latest first; and the reasons of dead letters, the most frequent first.
func (in *Intake) Samples() (all, rejected []Sample, reasons []Reason) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, text := range slices.Sorted(maps.Keys(in.reasons)) {
		reasons = append(reasons, Reason{text, in.reasons[text]})
	}
	slices.SortStableFunc(reasons, func(a, b Reason) int { return cmp.Compare(b.Count, a.Count) })
	return in.samples.list(), in.rejected.list(), reasons
}
