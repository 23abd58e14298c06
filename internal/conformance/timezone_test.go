package conformance

import (
	"testing"

	"weir.example/weir/internal/zonetest"
)

// The system's time zone affects no value: Weir's results for all zones stay the same.
func TestExpressionsInAnotherZone(t *testing.T) {
	zonetest.Run(t, "^(TestExpressionsOfFlink|TestColumns)$")
}
