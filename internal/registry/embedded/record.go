package embedded

import (
	"encoding/json"
	"fmt"

	"weir.example/weir/internal/registry"
)

// Topic stores everything that is registered.
const Topic = "_schemas"

// Key types of records.
const (
	schemaKey        = "SCHEMA"         // a version; null removes it permanently
	configKey        = "CONFIG"         // a compatibility level; null falls back to the global one
	modeKey          = "MODE"           // a mode: whether schemas may be registered
	deleteSubjectKey = "DELETE_SUBJECT" // versions up to this one are deleted
	noopKey          = "NOOP"           // Confluent's leader writes it to find the end; here it keeps the highest id
)

// key is the key of a record. Keys are compared byte by byte when the topic is compacted: the order
// of the fields is part of the format.
type key struct {
	Type    string  `json:"keytype"`
	Subject *string `json:"subject,omitempty"` // nil for all subjects
	Version int     `json:"version,omitempty"`
	Magic   int     `json:"magic"`
}

// MarshalJSON writes a subject of null where Confluent does: in keys of global settings.
func (k key) MarshalJSON() ([]byte, error) {
	type plain key
	if (k.Type == configKey || k.Type == modeKey) && k.Subject == nil {
		return json.Marshal(struct {
			Type    string  `json:"keytype"`
			Subject *string `json:"subject"`
			Magic   int     `json:"magic"`
		}{k.Type, nil, k.Magic})
	}
	return json.Marshal(plain(k))
}

// stored is the value of a version.
type stored struct {
	Subject    string               `json:"subject"`
	Version    int                  `json:"version"`
	ID         int                  `json:"id"`
	Type       registry.Type        `json:"schemaType,omitempty"` // none is Avro
	References []registry.Reference `json:"references,omitempty"`
	Metadata   json.RawMessage      `json:"metadata,omitempty"`
	RuleSet    json.RawMessage      `json:"ruleSet,omitempty"`
	Text       string               `json:"schema"`
	Deleted    bool                 `json:"deleted"`
}

func (s *stored) kind() registry.Type {
	if s.Type == "" {
		return registry.Avro
	}
	return s.Type
}

type configValue struct {
	Subject *string `json:"subject,omitempty"`
	Level   string  `json:"compatibilityLevel"`
}

type modeValue struct {
	Subject *string `json:"subject,omitempty"`
	Mode    string  `json:"mode"`
}

type deleteSubjectValue struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

type noopValue struct {
	MaxID int `json:"maxId"`
}

// record is one change: a key, and a value or nil.
type record struct {
	key   key
	value any
}

// pointer returns the subject of a setting; "" means the global one.
func pointer(subject string) *string {
	if subject == "" {
		return nil
	}
	return &subject
}

func versionRecord(s *stored) record {
	return record{key{Type: schemaKey, Subject: &s.Subject, Version: s.Version, Magic: 1}, s}
}

func (r record) encode() (k, v []byte, err error) {
	if k, err = json.Marshal(r.key); err != nil {
		return nil, nil, fmt.Errorf("encode key of %s: %w", Topic, err)
	}
	if r.value == nil {
		return k, nil, nil
	}
	if v, err = json.Marshal(r.value); err != nil {
		return nil, nil, fmt.Errorf("encode value of %s: %w", Topic, err)
	}
	return k, v, nil
}
