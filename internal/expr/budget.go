package expr

import (
	"errors"
	"strings"
)

// Budgets of a value. A text of the size of a record can become any number of gigabytes by calls of
// functions that multiply it.
const (
	maxResult   = 16 << 20  // bytes of a text
	maxElements = 1_000_000 // elements of an array or a map
	maxFolded   = 64 << 10  // bytes of a text that replaces a call with constant arguments
)

var (
	errLongText   = errors.New("the result would exceed 16 MiB")
	errManyValues = errors.New("the result would have more than 1,000,000 elements")
)

// withinBudget returns an error if a boxed result exceeds its budget.
func withinBudget(v any) error {
	switch v := v.(type) {
	case string:
		if len(v) > maxResult {
			return errLongText
		}
	case []any:
		if len(v) > maxElements {
			return errManyValues
		}
	}
	return nil
}

// foldable reports whether a value may replace the call that computes it.
func foldable(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) <= maxFolded
	case []any:
		return len(v) <= maxFolded/16
	}
	return true
}

// evalReplace computes the size of the result before it replaces anything.
func evalReplace(_ *Call, a []any) (any, error) {
	s, from, to := a[0].(string), a[1].(string), a[2].(string)
	if more := len(to) - len(from); more > 0 && strings.Count(s, from) > (maxResult-len(s))/more {
		return nil, errLongText
	}
	return strings.ReplaceAll(s, from, to), nil
}
