package alert

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// group holds the alerts of a route and receiver that have equal values of the labels in group_by.
type group struct {
	name     string
	receiver string
	route    *Route
	labels   map[string]string
	alerts   []*Alert
}

// groups groups the alerts by route, receiver and labels.
func (b *Book) groups() map[string]*group {
	all := make(map[string]*group)
	for _, a := range b.alerts {
		for i := range b.config.Routes {
			route := &b.config.Routes[i]
			if !route.Match.matches(a.Labels) {
				continue
			}
			for _, receiver := range route.Receivers {
				labels := route.labels(a)
				name := strconv.Itoa(i) + "\x00" + receiver
				for _, k := range slices.Sorted(maps.Keys(labels)) {
					name += "\x00" + k + "\x00" + labels[k]
				}
				g := all[name]
				if g == nil {
					g = &group{name: name, receiver: receiver, route: route, labels: labels}
					all[name] = g
				}
				g.alerts = append(g.alerts, a)
			}
			if !route.Continue {
				break
			}
		}
	}
	return all
}

// labels returns the labels by which an alert is grouped; "..." selects all, so that each alert is
// a group of its own.
func (r *Route) labels(a *Alert) map[string]string {
	labels := make(map[string]string)
	for _, name := range r.GroupBy {
		if name == "..." {
			return a.Labels
		}
		labels[name] = a.Labels[name]
	}
	return labels
}

// due returns the notifications to be sent now, and marks their groups as in flight. The caller
// must call sent for each.
func (b *Book) due(now time.Time) (all []*Notification) {
	silences := b.silences(now)
	groups := b.groups()
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := groups[name]
		if b.inFlight[name] || b.failed[name] != nil && now.Before(b.failed[name].until) {
			continue
		}
		if n := b.notification(g, silences, now); n != nil {
			if f := b.failed[name]; f != nil {
				n.attempt = f.count
			}
			b.inFlight[name] = true
			all = append(all, n)
		}
	}
	return all
}

// notification returns the notification of a group that is due now, or nil.
func (b *Book) notification(g *group, silences []Silence, now time.Time) *Notification {
	wantsResolved := b.config.Receivers[g.receiver].wantsResolved()
	var last, changed time.Time // time of the last notification and of the first change since
	alerts := []*Alert{}
	firing := false
	for _, a := range g.alerts {
		s := a.Sent[g.receiver]
		if s.At.After(last) {
			last = s.At
		}
		if a.Status == Firing && silenced(silences, a.Labels) {
			continue
		}
		isNew := s.Status != a.Status
		if a.Status == Resolved && (!isNew || s.Status == Firing && !wantsResolved || s.Status == "" && (a.Quiet || now.Sub(a.ResolvedAt) >= retention)) {
			continue
		}
		firing = firing || a.Status == Firing
		if isNew && (changed.IsZero() || a.Changed.Before(changed)) {
			changed = a.Changed
		}
		alerts = append(alerts, a)
	}
	var at time.Time
	switch {
	case !changed.IsZero():
		wait, interval := b.config.Receivers[g.receiver].pace(g.route)
		at = changed.Add(wait)
		if next := last.Add(interval); !last.IsZero() && next.After(at) {
			at = next
		}
	case firing:
		at = last.Add(b.config.Receivers[g.receiver].repeat(g.route.RepeatInterval))
	default:
		return nil
	}
	if now.Before(at) {
		return nil
	}
	slices.SortFunc(alerts, func(x, y *Alert) int {
		return cmp.Or(strings.Compare(string(x.Status), string(y.Status)), x.Since.Compare(y.Since), strings.Compare(x.ID, y.ID))
	})
	n := &Notification{Receiver: g.receiver, Status: Resolved, Group: g.labels, group: g.name}
	if firing {
		n.Status = Firing
	}
	for _, a := range alerts {
		last := a.Sent[g.receiver]
		entry := Entry{Alert: *a, N: last.N + 1, changed: last.Status != a.Status}
		entry.Sent, entry.Failing = nil, nil
		n.Alerts = append(n.Alerts, entry)
	}
	n.setID()
	return n
}
