package plan

import (
	"strings"

	"weir.example/weir/internal/sql"
)

// refuseHint returns the error for a hint that is not one of those known in this place.
func refuseHint(h sql.Hint, place string, known string) error {
	name := strings.ToUpper(h.Name)
	switch name {
	case known:
		return nil
	case "BROADCAST", "SHUFFLE_HASH", "SHUFFLE_MERGE", "NEST_LOOP":
		return sql.Errorf(h, "the hint %s is not supported", name).WithHint("remove it: Flink applies it to batch jobs only")
	case "OPTIONS":
		return sql.Errorf(h, "the hint OPTIONS is not allowed after %s", place).WithHint("write it after a table's name")
	case "STATE_TTL":
		return sql.Errorf(h, "the hint STATE_TTL is not allowed after %s", place).WithHint("write it after SELECT")
	}
	return sql.Errorf(h, "the hint %s is not supported", h.Name).WithHint("remove it")
}
