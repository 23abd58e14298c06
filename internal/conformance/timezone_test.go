package conformance

import (
	"testing"

	"weir.example/weir/internal/zonetest"
)

// The machine's time zone changes no value: Weir computes the facts of all zones as before.
func TestExpressionsInAnotherZone(t *testing.T) {
	zonetest.Run(t, "^(TestExpressionsOfFlink|TestColumns)$")
}
