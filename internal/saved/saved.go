// Package saved decodes what Weir has saved as JSON objects: positions, plans, notes. Encoding/json
// takes null, {} and the object of something else for zeros, and a position of zeros would be the
// beginning.
package saved

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Decode decodes a JSON object into what into points to. The object must have the members, which
// its writer always writes, and none of them may be null. Others are allowed: a newer version may
// have written it.
func Decode(text []byte, into any, members ...string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	for _, name := range members {
		if value, ok := object[name]; !ok || string(value) == "null" {
			return fmt.Errorf("it has no %q", name)
		}
	}
	return json.Unmarshal(text, into)
}

// Unreadable are the errors of records of a compacted topic, by key. A later record with the key
// replaces one that can't be read: delete its error then.
type Unreadable map[string]error

// Err returns all errors, in the order of their keys; nil if there are none.
func (u Unreadable) Err() error {
	var all []error
	for _, key := range slices.Sorted(maps.Keys(u)) {
		all = append(all, u[key])
	}
	return errors.Join(all...)
}
