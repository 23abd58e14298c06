package alert

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// group is the alerts of a route and receiver that have the same values of the labels in group_by.
type group struct {
	name     string
	receiver string
	route    *Route
	labels   map[string]string
	alerts   []*Alert
}

// groups sorts the alerts by routes, receivers and labels.
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

// labels are those by which an alert is grouped; "..." means by all, so that each alert is told
// alone.
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

// due returns the notifications that it is time for, and notes that they are under way: sent must
// be called for each.
func (b *Book) due(now time.Time) (all []*Notification) {
	silences := b.silences(now)
	groups := b.groups()
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := groups[name]
		if b.flying[name] || b.failed[name] != nil && now.Before(b.failed[name].until) {
			continue
		}
		if n := b.notification(g, silences, now); n != nil {
			if f := b.failed[name]; f != nil {
				n.attempt = f.count
			}
			b.flying[name] = true
			all = append(all, n)
		}
	}
	return all
}

// notification is what a group's receiver must be told now, or nil.
func (b *Book) notification(g *group, silences []Silence, now time.Time) *Notification {
	wantsResolved := b.config.Receivers[g.receiver].wantsResolved()
	var last, fresh time.Time // when it was told last; since when there is something new
	tell := []*Alert{}
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
		if a.Status == Resolved && (!isNew || s.Status == Firing && !wantsResolved || s.Status == "" && (a.Quiet || now.Sub(a.ResolvedAt) >= keep)) {
			continue
		}
		firing = firing || a.Status == Firing
		if isNew && (fresh.IsZero() || a.Changed.Before(fresh)) {
			fresh = a.Changed
		}
		tell = append(tell, a)
	}
	var at time.Time
	switch {
	case !fresh.IsZero():
		wait, interval := b.config.Receivers[g.receiver].pace(g.route)
		at = fresh.Add(wait)
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
	slices.SortFunc(tell, func(x, y *Alert) int {
		return cmp.Or(strings.Compare(string(x.Status), string(y.Status)), x.Since.Compare(y.Since), strings.Compare(x.ID, y.ID))
	})
	n := &Notification{Receiver: g.receiver, Status: Resolved, Group: g.labels, group: g.name}
	if firing {
		n.Status = Firing
	}
	for _, a := range tell {
		told := *a
		told.Sent, told.Failing = nil, nil
		n.Alerts = append(n.Alerts, Told{Alert: told, N: a.Sent[g.receiver].N + 1, fresh: a.Sent[g.receiver].Status != a.Status})
	}
	n.name()
	return n
}
