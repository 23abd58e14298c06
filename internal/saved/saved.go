// Package saved decodes what Weir has saved as JSON objects: positions, plans, notes. Encoding/json
// takes null, {} and the object of something else for zeros, and a position of zeros would be the
// beginning.
package saved

import (
	"encoding/json"
	"fmt"
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
