package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much garbage may gather beside what lives, in percent of it. What is read is garbage at once and little lives, so
// that twice Go's default costs some ten megabytes and saves a tenth of the CPU.
const gcPercent = 200

// spendMemory lets the garbage collector run less often, unless the environment says how often.
func spendMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
