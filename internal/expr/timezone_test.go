package expr

import (
	"testing"

	"weir.example/weir/internal/zonetest"
)

// The machine's time zone doesn't affect any value.
func TestScriptsInAnotherZone(t *testing.T) { zonetest.Run(t, "^TestScripts$") }
