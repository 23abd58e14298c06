package mapping

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"weir.example/weir/internal/ingest/sparkplug"
	"weir.example/weir/internal/suggest"
)

// Rules are the rules of ingest.yaml: a map from topic filters to settings, in the order of the
// file.
type Rules struct {
	filters  []string
	settings map[string]settings
}

// settings are the settings of a rule. A template has $name for a wildcard of the topic and $.path
// for a value of the message.
type settings struct {
	Preset   string            `yaml:"preset"`    // see presets
	Each     string            `yaml:"each"`      // path of an array: each element is mapped by itself
	Device   string            `yaml:"device"`    // template; default $device if the topic has that wildcard
	Sensor   string            `yaml:"sensor"`    // template; default $sensor likewise, or else the name of each field
	Value    string            `yaml:"value"`     // payload for a bare value, or a path; default all fields
	Fields   string            `yaml:"fields"`    // path of an object whose numbers and booleans are readings; default the element
	Skip     []string          `yaml:"skip"`      // keys at the top of fields that are not readings
	Unit     string            `yaml:"unit"`      // template
	Units    map[string]string `yaml:"units"`     // by sensor
	TS       string            `yaml:"ts"`        // path; default the time of arrival
	TSFormat string            `yaml:"ts_format"` // rfc3339, unix, unix-ms, unix-us, unix-ns, or a Go layout
	TimeZone string            `yaml:"timezone"`  // IANA name, of times without an offset
	Seq      string            `yaml:"seq"`       // path of the device's own number of the message or element
	Boot     string            `yaml:"boot"`      // template of what tells the runs of these numbers apart
	Counter  string            `yaml:"counter"`   // template of the name of whoever numbers; default the topic and the device
	To       string            `yaml:"to"`        // topic of Kafka for messages that are kept as they are, instead of readings
}

// Empty reports whether there are no rules.
func (r *Rules) Empty() bool { return len(r.filters) == 0 }

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (r *Rules) UnmarshalYAML(text []byte) error {
	var ordered yaml.MapSlice
	if err := yaml.Unmarshal(text, &ordered); err != nil {
		return err
	}
	for _, item := range ordered {
		r.filters = append(r.filters, fmt.Sprint(item.Key))
	}
	return yaml.UnmarshalWithOptions(text, &r.settings, yaml.Strict())
}

// rule maps the messages of the topics that match a filter.
type rule struct {
	filter *filter
	preset *preset // nil for none
	bare   bool    // the payload is the value
	senml  bool
	plug   bool // Sparkplug B
	each   *path
	device *template
	sensor *template // nil if each field is a sensor
	value  *template // a path; nil if all fields count
	fields *path
	skip   []string
	used   map[string]bool // fields, as in flatten, that are a time or part of a name
	unit   *template
	units  map[string]string
	clock  clock

	seq      *path // nil if the device does not number its messages
	boot     *template
	counter  *template
	restarts bool // the numbers may begin again although the boot stays the same
	zero     bool // the first number may be left out

	to string // topic of Kafka; "" if the rule yields readings
}

// New compiles rules. The error names the rule and the setting.
func New(rules Rules) (*Mapping, error) {
	m := &Mapping{plug: sparkplug.NewState(nil)}
	for _, text := range rules.filters {
		r, err := compile(text, rules.settings[text])
		if err != nil {
			return nil, fmt.Errorf("topic %q: %w", text, err)
		}
		m.rules = append(m.rules, r)
		m.plugs = m.plugs || r.plug
	}
	return m, nil
}

func compile(text string, s settings) (*rule, error) {
	f, err := parseFilter(text)
	if err != nil {
		return nil, err
	}
	names := f.names()
	r := &rule{filter: f, units: s.Units, skip: s.Skip, to: s.To}
	if s.To != "" {
		return r, checkRaw(s)
	}
	if s.Preset != "" {
		if err := r.usePreset(&s); err != nil {
			return nil, err
		}
	}
	if r.senml || r.plug {
		if !s.none() {
			return nil, fmt.Errorf("the preset %s has no other settings: the messages say everything", s.Preset)
		}
		return r, nil
	}
	if s.Device == "" && names["device"] {
		s.Device = "$device"
	}
	if s.Sensor == "" && names["sensor"] {
		s.Sensor = "$sensor"
	}
	if s.Device == "" {
		return nil, errors.New("device is missing: set it to a template such as \"$line-$.id\", or name a wildcard of the topic +device")
	}
	for _, field := range []struct {
		name, text string
		to         **template
	}{
		{"device", s.Device, &r.device}, {"sensor", s.Sensor, &r.sensor}, {"unit", s.Unit, &r.unit},
		{"boot", s.Boot, &r.boot}, {"counter", s.Counter, &r.counter},
	} {
		if field.text == "" {
			continue
		}
		if *field.to, err = parseTemplate(field.text, names); err != nil {
			return nil, fmt.Errorf("%s: %w", field.name, err)
		}
	}
	if err := r.setValue(&s, names); err != nil {
		return nil, err
	}
	if err := r.setClock(&s); err != nil {
		return nil, err
	}
	if err := r.setSeq(&s); err != nil {
		return nil, err
	}
	r.setUsed()
	return r, nil
}

// none reports whether there are no settings besides the preset.
func (s *settings) none() bool {
	return s.Device+s.Sensor+s.Value+s.Fields+s.Each+s.Unit+s.TS+s.TSFormat+s.TimeZone+s.Seq+s.Boot+s.Counter == "" && len(s.Units)+len(s.Skip) == 0
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

// checkRaw checks a rule that keeps messages as they are.
func checkRaw(s settings) error {
	switch {
	case !s.none() || s.Preset != "":
		return errors.New("to keeps messages as they are: other settings do not apply")
	case !topicName.MatchString(s.To) || s.To == "." || s.To == "..":
		return fmt.Errorf("to: %q is not the name of a topic: it has up to 249 letters, digits, dots, _ and -", s.To)
	case strings.HasPrefix(s.To, "weir."):
		return fmt.Errorf("to: %s is a name of Weir's own topics", s.To)
	}
	return nil
}

func (r *rule) setSeq(s *settings) (err error) {
	switch {
	case s.Seq == "" && s.Boot+s.Counter != "":
		return errors.New("boot and counter need seq, the path of the device's own number")
	case s.Seq == "":
		return nil
	case r.bare:
		return errors.New("seq needs a message in JSON, and not value: payload")
	}
	if r.seq, err = parseWholePath(s.Seq); err != nil {
		return fmt.Errorf("seq: %w", err)
	}
	return nil
}

// setUsed determines the fields that are not readings because they say something else.
func (r *rule) setUsed() {
	r.used = make(map[string]bool)
	paths := append(slices.Clone(r.clock.paths), r.seq)
	for _, t := range []*template{r.device, r.sensor, r.unit, r.boot, r.counter} {
		if t != nil {
			for _, p := range t.parts {
				paths = append(paths, p.path)
			}
		}
	}
	base := &path{}
	if r.fields != nil {
		base = r.fields
	}
	for _, p := range paths {
		if p == nil || len(p.steps) <= len(base.steps) || !slices.Equal(p.steps[:len(base.steps)], base.steps) {
			continue
		}
		if r.each != nil && p.root != base.root {
			continue
		}
		name := ""
		for _, s := range p.steps[len(base.steps):] {
			if s.index >= 0 {
				name = join(name, strconv.Itoa(s.index))
			} else {
				name = join(name, s.key)
			}
		}
		r.used[name] = true
	}
}

func (r *rule) usePreset(s *settings) error {
	p := presets[s.Preset]
	if p == nil {
		err := fmt.Errorf("unknown preset %q: choose one of %s", s.Preset, strings.Join(presetNames(), ", "))
		if hint := suggest.DidYouMean(s.Preset, presetNames()); hint != "" {
			err = fmt.Errorf("%w; %s", err, hint)
		}
		return err
	}
	r.preset, r.senml, r.plug = p, s.Preset == "senml", s.Preset == "sparkplug-b"
	if p.zone != "" && s.TimeZone == "" {
		return fmt.Errorf("%s: set timezone, such as Europe/Paris", p.zone)
	}
	for _, field := range []struct {
		to     *string
		preset string
	}{{&s.Device, p.settings.Device}, {&s.Sensor, p.settings.Sensor}, {&s.Value, p.settings.Value}, {&s.Fields, p.settings.Fields}} {
		if *field.to == "" {
			*field.to = field.preset
		}
	}
	if s.Seq == "" && p.settings.Seq != "" {
		s.Seq, s.Boot, r.restarts, r.zero = p.settings.Seq, p.settings.Boot, true, true
	}
	r.skip = append(r.skip, p.skip...)
	return nil
}

func (r *rule) setValue(s *settings, names map[string]bool) (err error) {
	if s.Each != "" {
		if r.each, err = parseWholePath(s.Each); err != nil {
			return fmt.Errorf("each: %w", err)
		}
	}
	switch {
	case s.Value == "payload":
		if s.Each != "" || s.Fields != "" || s.TS != "" {
			return errors.New("value: payload means that the message is nothing but a value: each, fields and ts do not apply")
		}
		r.bare = true
	case s.Value != "":
		if _, err := parseWholePath(s.Value); err != nil {
			return fmt.Errorf("value: %w, and not payload", err)
		}
		if r.value, err = parseTemplate(s.Value, names); err != nil {
			return fmt.Errorf("value: %w", err)
		}
		if s.Fields != "" && r.preset == nil {
			return errors.New("value is one reading, fields are many: choose one")
		}
	}
	if s.Fields != "" {
		if r.fields, err = parseWholePath(s.Fields); err != nil {
			return fmt.Errorf("fields: %w", err)
		}
	}
	if (r.bare || r.value != nil) && r.sensor == nil {
		return errors.New("sensor is missing: set it to a template, or name a wildcard of the topic +sensor")
	}
	return nil
}

func (r *rule) setClock(s *settings) error {
	if err := checkFormat(s.TSFormat); err != nil {
		return fmt.Errorf("ts_format: %w", err)
	}
	r.clock.format = s.TSFormat
	if s.TimeZone != "" {
		location, err := time.LoadLocation(s.TimeZone)
		if err != nil || s.TimeZone == "Local" {
			return fmt.Errorf("timezone: %q is not the name of a time zone such as Europe/Paris", s.TimeZone)
		}
		r.clock.location = location
	}
	var times []string
	if r.preset != nil {
		times = r.preset.times
	}
	if s.TS != "" {
		times = []string{s.TS}
	}
	if len(times) == 0 && (s.TSFormat != "" || s.TimeZone != "") {
		return errors.New("ts_format and timezone need ts, the path of the time")
	}
	for _, text := range times {
		p, err := parseWholePath(text)
		if err != nil {
			return fmt.Errorf("ts: %w", err)
		}
		r.clock.paths = append(r.clock.paths, p)
	}
	return nil
}
