package mapping

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// filter is an MQTT topic filter whose wildcards may have names: +name stands for one level, #name
// for all that follow, at least one.
type filter struct {
	text   string
	levels []string
}

var wildcardName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func parseFilter(text string) (*filter, error) {
	if text == "" || len(text) > 65535 || strings.ContainsRune(text, 0) {
		return nil, errors.New("a topic has 1 to 65535 bytes, none of them 0")
	}
	f := &filter{text: text, levels: strings.Split(text, "/")}
	seen := make(map[string]bool)
	for i, level := range f.levels {
		if level == "" || level[0] != '+' && level[0] != '#' {
			if strings.ContainsAny(level, "+#") {
				return nil, fmt.Errorf("%q: a wildcard stands for a whole level, such as +device", level)
			}
			continue
		}
		name := level[1:]
		switch {
		case level[0] == '#' && i < len(f.levels)-1:
			return nil, fmt.Errorf("%q must be the last level", level)
		case name == "":
			continue
		case !wildcardName.MatchString(name):
			return nil, fmt.Errorf("%q: the name of a wildcard has letters, digits and _", level)
		case seen[name]:
			return nil, fmt.Errorf("two wildcards have the name %s", name)
		}
		seen[name] = true
	}
	return f, nil
}

// names returns the names of the wildcards.
func (f *filter) names() map[string]bool {
	all := make(map[string]bool)
	for _, level := range f.levels {
		if level != "" && (level[0] == '+' || level[0] == '#') && len(level) > 1 {
			all[level[1:]] = true
		}
	}
	return all
}

// captures are the values of a topic's named wildcards, in order.
type captures []capture

type capture struct{ name, value string }

// get returns the value of a wildcard, or "".
func (c captures) get(name string) string {
	for i := range c {
		if c[i].name == name {
			return c[i].value
		}
	}
	return ""
}

// match returns the values of the named wildcards if the topic matches. As in MQTT, a wildcard at
// the start does not match topics that begin with $.
func (f *filter) match(topic string) (values captures, ok bool) {
	rest, more := topic, true
	for i, want := range f.levels {
		if !more {
			return nil, false
		}
		whole := rest
		var level string
		level, rest, more = strings.Cut(rest, "/")
		wildcard := want != "" && (want[0] == '+' || want[0] == '#')
		switch {
		case !wildcard && want == level:
		case !wildcard, i == 0 && strings.HasPrefix(topic, "$"):
			return nil, false
		case want[0] == '#':
			if len(want) > 1 {
				values = append(values, capture{want[1:], whole})
			}
			return values, true
		case len(want) > 1:
			values = append(values, capture{want[1:], level})
		}
	}
	return values, !more
}
