package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"weir.example/weir/internal/sink"
)

const maxTopic = 65535 // bytes

// topic returns the topic of a row. A value never adds levels or wildcards to it.
func (s *sending) topic(r row) (string, error) {
	var b strings.Builder
	for _, part := range s.to.Topic {
		if part.Column < 0 {
			b.WriteString(part.Text)
			continue
		}
		i, name := part.Column, s.table.Kafka.Value.Fields[part.Column].Name
		if r.deleted { // it has the columns of the key
			i = slices.Index(s.table.Kafka.Key.Columns, s.table.Kafka.Value.Columns[part.Column])
		}
		c := r.cols[i]
		if c.Null[r.at] {
			return "", fmt.Errorf("column %s of the topic is NULL", name)
		}
		value := sink.Text(c, r.at)
		if err := checkLevel(value); err != nil {
			return "", fmt.Errorf("column %s: %q can't be part of a topic: %w", name, value, err)
		}
		if value[0] == '$' && b.Len() == 0 {
			return "", fmt.Errorf("column %s: %q can't begin a topic: those with $ are the broker's own", name, value)
		}
		b.WriteString(value)
	}
	if b.Len() > maxTopic {
		return "", fmt.Errorf("the topic has %d bytes, more than %d", b.Len(), maxTopic)
	}
	return b.String(), nil
}

var (
	errEmptyLevel = errors.New("it is empty")
	errSpecial    = errors.New("it has one of + # /")
	errControl    = errors.New("it has a character that brokers refuse in topics")
)

// checkLevel refuses what would make another topic of it, or what brokers end a connection for:
// MQTT lets them do so for control characters and noncharacters (1.5.4).
func checkLevel(value string) error {
	switch {
	case value == "":
		return errEmptyLevel
	case strings.ContainsAny(value, "+#/"):
		return errSpecial
	case !utf8.ValidString(value):
		return errControl
	}
	for _, r := range value {
		if r < ' ' || r >= 0x7f && r <= 0x9f || r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe {
			return errControl
		}
	}
	return nil
}
