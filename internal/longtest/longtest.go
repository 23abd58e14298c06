// Package longtest selects the versions of tests that repeat random faults: short ones with
// go test -short, usual ones, and long ones, which make long runs.
package longtest

import (
	"os"
	"testing"
)

// Env is the environment variable that selects the long versions if it is not empty.
const Env = "WEIR_TEST_LONG"

// Enabled reports whether the long versions are selected.
func Enabled() bool { return os.Getenv(Env) != "" }

// Size returns the size of the selected version.
func Size(short, usual, long int) int {
	switch {
	case Enabled():
		return long
	case testing.Short():
		return short
	}
	return usual
}
