package plan

import (
	"slices"
	"strings"
)

// option declares an option of a connector. WITH accepts what is declared, suggestions for unknown
// options come from it, and docs/reference/connectors.md lists it.
type option struct {
	key    string     // one that ends with a dot stands for all keys with this prefix
	kind   optionKind // of the value
	values []string   // that it can have; without otherwise, the first is the default
	// otherwise is the value without the option; required and none are written in words.
	otherwise string
	about     string // a sentence
	ignored   bool   // accepted since Flink has it, without an effect
	onlyWeir  bool   // Flink's connector does not have it
}

// optionKind is the type of an option's value, by Flink's names.
type optionKind string

const (
	textOption     optionKind = "String"
	enumOption     optionKind = "Enum"
	booleanOption  optionKind = "Boolean"
	integerOption  optionKind = "Integer"
	doubleOption   optionKind = "Double"
	durationOption optionKind = "Duration"
	sizeOption     optionKind = "MemorySize"
	listOption     optionKind = "List"
)

// required marks options without which a table is refused.
const required = "required"

// ignore declares an option that has no effect.
func ignore(key string, kind optionKind, about string) option {
	return option{key: key, kind: kind, ignored: true, about: about}
}

var connectorOption = option{key: "connector", kind: textOption, otherwise: required, about: "Names the connector."}

// flushOptions are those of sinks that write rows together.
func flushOptions(most string) []option {
	return []option{
		{key: "sink.buffer-flush.max-rows", kind: integerOption, otherwise: most, about: "Rows that are written together, at most."},
		{key: "sink.buffer-flush.interval", kind: durationOption, about: "How long a row waits for others; without it, only while the previous ones are written."},
	}
}

// onlyWeir declares options of connectors that Flink does not have.
func onlyWeir(all ...[]option) []option {
	joined := slices.Concat(all...)
	for i := range joined {
		joined[i].onlyWeir = true
	}
	return joined
}

// keys returns the keys of options.
func keys(all []option) (keys []string) {
	for _, o := range all {
		keys = append(keys, o.key)
	}
	return keys
}

// matches reports whether a key of WITH is this option.
func (o *option) matches(key string) bool {
	return key == o.key || strings.HasSuffix(o.key, ".") && strings.HasPrefix(key, o.key)
}

// valuesOf returns the values that an option can have.
func valuesOf(all []option, key string) []string {
	for _, o := range all {
		if o.key == key {
			return o.values
		}
	}
	return nil
}
