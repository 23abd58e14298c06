package mqtt

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/guard"
)

// Rule allows users with the role device to publish and subscribe. In a topic filter, %u stands for
// the name of the user and %c for the id of the client.
type Rule struct {
	User      string   `yaml:"user"` // default: all with the role device
	Publish   []string `yaml:"publish"`
	Subscribe []string `yaml:"subscribe"`
}

func checkRules(rules []Rule) error {
	for i, r := range rules {
		if len(r.Publish)+len(r.Subscribe) == 0 {
			return fmt.Errorf("mqtt.allow: rule %d allows nothing: set publish or subscribe to topic filters", i+1)
		}
		for _, filter := range slices.Concat(r.Publish, r.Subscribe) {
			levels := strings.Split(filter, "/")
			for j, level := range levels {
				bad := strings.ContainsAny(level, "+#") && len(level) > 1
				if filter == "" || bad || level == "#" && j < len(levels)-1 || strings.HasPrefix(filter, "$share/") {
					return fmt.Errorf("mqtt.allow: rule %d: %q is not a topic filter such as site/%%u/#", i+1, filter)
				}
			}
		}
	}
	return nil
}

// may reports whether a client may publish to a topic, or subscribe to a topic filter.
func (b *Broker) may(who *guard.Principal, client, topic string, publish bool) bool {
	g := b.cfg.Guard
	if g == nil || who == nil && g.Open() {
		return true
	}
	if who == nil {
		return false
	}
	switch {
	case who.May(guard.Operator):
		return true
	case who.May(guard.Reader) && !publish:
		return true
	case len(b.cfg.Allow) == 0:
		return publish && who.Role == guard.Device
	case who.Role != guard.Device:
		return false
	}
	for _, r := range b.cfg.Allow {
		if r.User != "" && r.User != who.Name {
			continue
		}
		filters := r.Subscribe
		if publish {
			filters = r.Publish
		}
		for _, filter := range filters {
			if filter, ok := expand(filter, who.Name, client); ok && covers(filter, topic) {
				return true
			}
		}
	}
	return false
}

// expand replaces %u and %c. Names that would change the meaning of the filter match nothing.
func expand(filter, user, client string) (string, bool) {
	for _, value := range []struct{ placeholder, is string }{{"%u", user}, {"%c", client}} {
		if !strings.Contains(filter, value.placeholder) {
			continue
		}
		if value.is == "" || strings.ContainsAny(value.is, "+#/%") {
			return "", false
		}
		filter = strings.ReplaceAll(filter, value.placeholder, value.is)
	}
	return filter, true
}

// covers reports whether every topic that a topic filter matches is matched by an allowed one.
func covers(allowed, filter string) bool {
	if rest, shared := strings.CutPrefix(filter, "$share/"); shared {
		_, filter, _ = strings.Cut(rest, "/")
	}
	a, f := strings.Split(allowed, "/"), strings.Split(filter, "/")
	if strings.HasPrefix(f[0], "$") && a[0] != f[0] { // wildcards do not match it
		return false
	}
	for i, level := range a {
		switch {
		case level == "#":
			return true // also the level above
		case i >= len(f) || f[i] == "#":
			return false
		case level != "+" && level != f[i]:
			return false
		}
	}
	return len(f) == len(a)
}
