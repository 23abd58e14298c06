package sqltest

import (
	"testing"

	"weir.example/weir/internal/zonetest"
)

// The machine's time zone changes no row: moments are read, computed, grouped and written as
// before.
func TestOperatorsInAnotherZone(t *testing.T) {
	zonetest.Run(t, "^TestOperators$/^(zone|dst|dst_lanes|tumble|cumulate|hop|session|metadata|registry|far_intervals|local_zone)")
}
