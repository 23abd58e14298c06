package sqltest

import (
	"testing"

	"weir.example/weir/internal/zonetest"
)

// The machine's time zone does not affect results.
func TestOperatorsInAnotherZone(t *testing.T) {
	zonetest.Run(t, "^TestOperators$/^(zone|dst|dst_lanes|tumble|cumulate|hop|session|metadata|registry|far_intervals|local_zone)")
}
