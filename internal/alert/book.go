package alert

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// retention is how long a resolved alert is kept, so that it can be listed. An alert that could not
// be delivered in that time is kept until it is.
const retention = time.Hour

// Book is the state of the alerts of some partitions. It is pure: its results depend only on its
// inputs. It is used by one goroutine.
type Book struct {
	config   *Config
	silences func(now time.Time) []Silence

	alerts  map[string]*Alert // by id
	current map[Origin]string // id of the firing alert
	changed map[string]bool   // ids of alerts whose state is not yet written

	inFlight map[string]bool      // groups with a notification in flight
	failed   map[string]*failures // groups whose last notification failed
}

type failures struct {
	count int
	until time.Time
}

func newBook(c *Config, silences func(time.Time) []Silence) *Book {
	return &Book{
		config: c, silences: silences, alerts: make(map[string]*Alert), current: make(map[Origin]string), changed: make(map[string]bool),
		inFlight: make(map[string]bool), failed: make(map[string]*failures),
	}
}

// load adds an alert from the stored state.
func (b *Book) load(a *Alert) {
	b.alerts[a.ID] = a
	if a.Status == Firing {
		b.current[a.Origin] = a.ID
	}
}

// drop discards the alerts of partitions that are no longer owned.
func (b *Book) drop(lost func(Origin) bool) {
	for id, a := range b.alerts {
		if lost(a.Origin) {
			delete(b.alerts, id)
			delete(b.changed, id)
		}
	}
	maps.DeleteFunc(b.current, func(o Origin, _ string) bool { return lost(o) })
}

// apply applies a row.
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

// tick advances the time: it resolves alerts of append-only tables without a row for resolve_after,
// and deletes alerts that were resolved long ago. It returns the ids of the deleted ones.
func (b *Book) tick(now time.Time, appendOnly func(topic string) bool) (deleted []string) {
	for id, a := range b.alerts {
		if a.Status == Firing && appendOnly(a.Origin.Topic) && now.Sub(a.Seen) >= b.config.ResolveAfter {
			b.resolve(a, a.Seen.Add(b.config.ResolveAfter), now)
		}
		if a.Status == Resolved && now.Sub(a.ResolvedAt) >= retention && !b.owed(a) {
			delete(b.alerts, id)
			delete(b.changed, id)
			deleted = append(deleted, id)
		}
	}
	return deleted
}

// owed reports whether a receiver that was notified of the firing alert must still be notified that
// it is resolved.
func (b *Book) owed(a *Alert) bool {
	for receiver, s := range a.Sent {
		if r := b.config.Receivers[receiver]; s.Status == Firing && r != nil && r.wantsResolved() {
			return true
		}
	}
	return false
}

// takeChanged returns the alerts whose state must be written, and clears the set.
func (b *Book) takeChanged() []*Alert {
	all := make([]*Alert, 0, len(b.changed))
	for _, id := range slices.Sorted(maps.Keys(b.changed)) {
		all = append(all, b.alerts[id])
	}
	clear(b.changed)
	return all
}

// sent records the result of a notification.
func (b *Book) sent(n *Notification, failed error, now time.Time) {
	delete(b.inFlight, n.group)
	if failed != nil {
		f := b.failed[n.group]
		if f == nil {
			f = &failures{}
			b.failed[n.group] = f
		}
		f.until = now.Add(min(time.Second<<min(f.count, 6), time.Minute))
		f.count++
		b.addFailure(n, failed, now)
		return
	}
	delete(b.failed, n.group)
	for _, entry := range n.Alerts {
		a := b.alerts[entry.ID]
		if a == nil {
			continue // its partition was lost: the new owner sends it again
		}
		if a.Sent == nil {
			a.Sent = make(map[string]Sent)
		}
		a.Sent[n.Receiver] = Sent{entry.Status, now, entry.N}
		delete(a.Failing, n.Receiver)
		b.changed[a.ID] = true
	}
}

// addFailure records the failure in the notification's alerts, so that it can be listed.
func (b *Book) addFailure(n *Notification, failed error, now time.Time) {
	for _, entry := range n.Alerts {
		a := b.alerts[entry.ID]
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
		f.At, f.Error = now, strings.Join(strings.Fields(failed.Error()), " ") // mail servers respond with several lines
		f.Attempts++
		a.Failing[n.Receiver] = f
		b.changed[a.ID] = true
	}
}
