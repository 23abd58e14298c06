// Package site names everything that belongs to one stream of readings, so that several sites can
// share a Kafka cluster.
//
// The topic of the readings is the site's identity. With the default topic, sensor_data_tx, all
// names are Weir's defaults. With any other topic, all derived names begin with that topic and a
// dot: the topics of dead letters, results and positions, the names of pipelines, and through those
// their groups, state and transactional ids. Access rules can therefore be prefixes.
package site

import (
	"fmt"
	"regexp"
	"strings"

	"weir.example/weir/internal/broker"
)

// Names of the default site.
const (
	DefaultReadings    = "sensor_data_tx"
	DefaultDeadLetters = "sensor_data_dlq"
	DefaultStats       = "device_stats"
	DefaultProgress    = "weir.progress"
	DefaultAlerts      = "weir.alerts"
)

// maxLength leaves room for the longest name of a bundled pipeline: a pipeline's name has at most
// 100 characters.
const maxLength = 80

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

	// derivedName matches topics that Weir derives from the names of sites and pipelines.
	derivedName = regexp.MustCompile(`\.(dlq|late|plan|positions|changelog|repartition\d+|device_stats|device-stats)$`)
)

// Site is a stream of readings and what belongs to it. The zero value is the default site.
type Site struct{ topic string } // "" for the default site

// Of returns the site whose readings are in a topic; "" is the default topic. It returns an error
// for a topic that can't hold readings alongside the topics that are derived from it.
func Of(topic string) (Site, error) {
	if topic == "" || topic == DefaultReadings {
		return Site{}, nil
	}
	s := Site{topic}
	switch {
	case !validName.MatchString(topic):
		return Site{}, fmt.Errorf("invalid topic %q: use letters, digits, dots, _ and -, and start with a letter or a digit", topic)
	case len(topic) > maxLength:
		return Site{}, fmt.Errorf("topic %s has %d characters: at most %d are possible, because the names of other topics start with it", topic, len(topic), maxLength)
	case strings.HasPrefix(topic, "weir."), derivedName.MatchString(topic):
		return Site{}, fmt.Errorf("topic %s can't hold readings: Weir uses names of this form for its own topics; choose another name, such as site_a.readings", topic)
	}
	for _, own := range append(s.names(), topic) {
		for _, taken := range (Site{}).names() {
			if collides(own, taken) {
				return Site{}, fmt.Errorf("topic %s can't hold readings: %s would collide with Weir's topic %s; choose another name, such as site_a.readings", topic, own, taken)
			}
		}
	}
	return s, nil
}

// collides reports whether Kafka refuses to have both topics, because it can't distinguish them in
// the names of metrics.
func collides(a, b string) bool {
	return strings.ReplaceAll(a, ".", "_") == strings.ReplaceAll(b, ".", "_")
}

func (s Site) names() []string {
	return []string{s.Readings(), s.DeadLetters(), s.Stats(), s.Progress(), s.Alerts()}
}

// IsDefault reports whether the site has Weir's default names.
func (s Site) IsDefault() bool { return s.topic == "" }

// Readings returns the topic of the readings.
func (s Site) Readings() string {
	if s.IsDefault() {
		return DefaultReadings
	}
	return s.topic
}

// DeadLetters returns the topic of the records and rows that are not valid readings.
func (s Site) DeadLetters() string {
	if s.IsDefault() {
		return DefaultDeadLetters
	}
	return s.topic + ".dlq"
}

// Stats returns the compacted topic of the running statistics.
func (s Site) Stats() string { return s.Scoped(DefaultStats) }

// Progress returns the compacted topic of the positions of sources and the replay markers.
func (s Site) Progress() string { return s.Scoped(DefaultProgress) }

// Alerts returns the compacted topic of alerts and silences.
func (s Site) Alerts() string { return s.Scoped(DefaultAlerts) }

// AlertGroup returns the consumer group that delivers the alerts.
func (s Site) AlertGroup() string { return "weir-" + s.Scoped("alerts") }

// Scoped returns the site's name for a pipeline or topic that has the given name on the default
// site.
func (s Site) Scoped(name string) string {
	if s.IsDefault() {
		return name
	}
	return s.topic + "." + name
}

var (
	topicOption = regexp.MustCompile(`'(topic|sink\.transactional-id-prefix)' = '([^']+)'`)
	nameSetting = regexp.MustCompile(`SET '(pipeline\.name|weir\.dead-letter\.topic)' = '([^']+)'`)
)

// SQL rewrites a bundled pipeline for the site: it reads the site's readings, and its name and all
// its other topics become the site's.
func (s Site) SQL(text string) string {
	if s.IsDefault() {
		return text
	}
	text = topicOption.ReplaceAllStringFunc(text, func(option string) string {
		m := topicOption.FindStringSubmatch(option)
		return fmt.Sprintf("'%s' = '%s'", m[1], s.rename(m[2]))
	})
	return nameSetting.ReplaceAllStringFunc(text, func(set string) string {
		m := nameSetting.FindStringSubmatch(set)
		return fmt.Sprintf("SET '%s' = '%s'", m[1], s.rename(m[2]))
	})
}

// rename returns the site's name for a topic or pipeline of the default site.
func (s Site) rename(name string) string {
	switch name {
	case DefaultReadings:
		return s.Readings()
	case DefaultDeadLetters:
		return s.DeadLetters()
	}
	return s.Scoped(name)
}

var declaredName = regexp.MustCompile(`(?m)^(\s*- name: )(\S+)`)

// TopicsYAML returns the declaration of the site's topics.
func (s Site) TopicsYAML() []byte {
	if s.IsDefault() {
		return broker.DefaultTopicsYAML()
	}
	return declaredName.ReplaceAllFunc(broker.DefaultTopicsYAML(), func(line []byte) []byte {
		m := declaredName.FindSubmatch(line)
		return []byte(string(m[1]) + s.rename(string(m[2])))
	})
}

// Topics returns the site's topics.
func (s Site) Topics() []broker.Topic {
	topics := broker.DefaultTopics()
	for i := range topics {
		topics[i].Name = s.rename(topics[i].Name)
	}
	return topics
}

// SourceName returns the site's name for a source, under which its position is stored: producers of
// different sites must not fence each other. A topic's name has no slash, so the names of two
// sites' sources are never equal.
func (s Site) SourceName(name string) string {
	if s.IsDefault() {
		return name
	}
	return s.topic + "/" + name
}

// ProgressTopics returns the topics that may have the replay markers of a dead-letter topic,
// derived from its name alone: each replay of a topic must find the markers of the others. The
// first one that exists applies; the last is the default site's.
func ProgressTopics(deadLetters string) []string {
	var all []string
	for i := strings.LastIndexByte(deadLetters, '.'); i > 0; i = strings.LastIndexByte(deadLetters[:i], '.') {
		if s := (Site{deadLetters[:i]}); s.topic != "weir" {
			all = append(all, s.Progress())
		}
	}
	return append(all, DefaultProgress)
}
