package alert

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// keep is how long a resolved alert is remembered, for whoever lists alerts. One that could not be
// delivered in that time stays until it is.
const keep = time.Hour

// Book is the state of the alerts of some partitions. It is pure: what it is given decides what it
// says. One goroutine uses it.
type Book struct {
	config   *Config
	silences func(now time.Time) []Silence

	alerts  map[string]*Alert // by id
	current map[Origin]string // id of the alert that fires
	changed map[string]bool   // ids whose state is not written yet

	flying map[string]bool      // groups with a notification under way
	failed map[string]*failures // groups whose last notification failed
}

type failures struct {
	count int
	until time.Time
}

func newBook(c *Config, silences func(time.Time) []Silence) *Book {
	return &Book{
		config: c, silences: silences, alerts: make(map[string]*Alert), current: make(map[Origin]string), changed: make(map[string]bool),
		flying: make(map[string]bool), failed: make(map[string]*failures),
	}
}

// load takes an alert from the state.
func (b *Book) load(a *Alert) {
	b.alerts[a.ID] = a
	if a.Status == Firing {
		b.current[a.Origin] = a.ID
	}
}

// drop forgets the alerts of partitions that others have now.
func (b *Book) drop(gone func(Origin) bool) {
	for id, a := range b.alerts {
		if gone(a.Origin) {
			delete(b.alerts, id)
			delete(b.changed, id)
		}
	}
	maps.DeleteFunc(b.current, func(o Origin, _ string) bool { return gone(o) })
}

// apply takes a row.
func (b *Book) apply(r row, now time.Time) {
	a := b.alerts[b.current[r.origin]]
	if a != nil && (!r.firing || a.Severity != r.severity) {
		b.resolve(a, r.at, now)
		a = nil
	}
	if !r.firing {
		return
	}
	if a == nil {
		a = &Alert{ID: newID(r.origin, r.offset, r.at), Origin: r.origin, Status: Firing, Severity: r.severity, Since: r.at, Changed: now}
		b.alerts[a.ID], b.current[r.origin] = a, a.ID
	}
	a.Name, a.Summary, a.Labels, a.Annotations, a.Seen = r.labels["alertname"], r.summary, r.labels, r.annotations, r.at
	b.changed[a.ID] = true
}

func (b *Book) resolve(a *Alert, at, now time.Time) {
	a.Status, a.ResolvedAt, a.Changed = Resolved, at, now
	a.Quiet = silenced(b.silences(now), a.Labels)
	delete(b.current, a.Origin)
	b.changed[a.ID] = true
}

// tick lets time pass: alerts of tables that only append are resolved when no row has come for
// resolve_after, and those that were resolved long ago are forgotten. It returns what was
// forgotten.
func (b *Book) tick(now time.Time, appends func(topic string) bool) (forgotten []string) {
	for id, a := range b.alerts {
		if a.Status == Firing && appends(a.Origin.Topic) && now.Sub(a.Seen) >= b.config.ResolveAfter {
			b.resolve(a, a.Seen.Add(b.config.ResolveAfter), now)
		}
		if a.Status == Resolved && now.Sub(a.ResolvedAt) >= keep && !b.owed(a) {
			delete(b.alerts, id)
			delete(b.changed, id)
			forgotten = append(forgotten, id)
		}
	}
	return forgotten
}

// owed reports whether a receiver that was told that the alert fires must still hear that it does
// no longer.
func (b *Book) owed(a *Alert) bool {
	for receiver, s := range a.Sent {
		if r := b.config.Receivers[receiver]; s.Status == Firing && r != nil && r.wantsResolved() {
			return true
		}
	}
	return false
}

// takeChanged returns the alerts whose state is to be written.
func (b *Book) takeChanged() []*Alert {
	all := make([]*Alert, 0, len(b.changed))
	for _, id := range slices.Sorted(maps.Keys(b.changed)) {
		all = append(all, b.alerts[id])
	}
	clear(b.changed)
	return all
}

// sent takes a receiver's answer.
func (b *Book) sent(n *Notification, failed error, now time.Time) {
	delete(b.flying, n.group)
	if failed != nil {
		f := b.failed[n.group]
		if f == nil {
			f = &failures{}
			b.failed[n.group] = f
		}
		f.until = now.Add(min(time.Second<<min(f.count, 6), time.Minute))
		f.count++
		b.fails(n, failed, now)
		return
	}
	delete(b.failed, n.group)
	for _, told := range n.Alerts {
		a := b.alerts[told.ID]
		if a == nil {
			continue // its partition has gone: who has it now tells the receiver again
		}
		if a.Sent == nil {
			a.Sent = make(map[string]Sent)
		}
		a.Sent[n.Receiver] = Sent{told.Status, now, told.N}
		delete(a.Failing, n.Receiver)
		b.changed[a.ID] = true
	}
}

// fails notes with the alerts of a notification that their receiver did not take it, for whoever
// lists alerts.
func (b *Book) fails(n *Notification, failed error, now time.Time) {
	for _, told := range n.Alerts {
		a := b.alerts[told.ID]
		if a == nil {
			continue
		}
		if a.Failing == nil {
			a.Failing = make(map[string]Failing)
		}
		f, failedBefore := a.Failing[n.Receiver]
		if !failedBefore {
			f.Since = now
		}
		f.At, f.Error = now, strings.Join(strings.Fields(failed.Error()), " ") // mail servers answer in several lines
		f.Attempts++
		a.Failing[n.Receiver] = f
		b.changed[a.ID] = true
	}
}
