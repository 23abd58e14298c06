package registry

import (
	"errors"
	"fmt"
)

// Strategy names the subject of a schema, as Confluent's serializers do.
type Strategy string

// The strategies. The default, TopicName, allows one kind of record per topic; the others allow
// several.
const (
	TopicName       Strategy = "topic"        // <topic>-key, <topic>-value
	RecordName      Strategy = "record"       // <full name of the record>
	TopicRecordName Strategy = "topic-record" // <topic>-<full name of the record>
)

// ParseStrategy parses a strategy; the empty string is TopicName.
func ParseStrategy(s string) (Strategy, error) {
	switch st := Strategy(s); st {
	case "":
		return TopicName, nil
	case TopicName, RecordName, TopicRecordName:
		return st, nil
	default:
		return "", fmt.Errorf("unknown subject name strategy %q: choose topic, record or topic-record", s)
	}
}

// Subject returns the subject for the key or the value of a topic whose record has this full name.
func (s Strategy) Subject(topic, record string, key bool) (string, error) {
	if s == TopicName || s == "" {
		if key {
			return topic + "-key", nil
		}
		return topic + "-value", nil
	}
	if record == "" {
		return "", errors.New("the schema has no record name: the subject name strategies record and topic-record need one")
	}
	if s == RecordName {
		return record, nil
	}
	return topic + "-" + record, nil
}
