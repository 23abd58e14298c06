package expr

import (
	"strings"
	"testing"

	"weir.example/weir/internal/moment"
)

// Zone names are those of Java, and never include the machine's zone.
func TestParseZone(t *testing.T) {
	for name, seconds := range map[string]int64{"UTC": 0, "Z": 0, "GMT+08:00": 8 * 3600, "UTC+8": 8 * 3600, "-03:30": -12600, "UT-0330": -12600, "Asia/Kolkata": 19800} {
		z, err := ParseZone(name)
		if err != nil || offsetAt(0, z) != seconds*moment.Second {
			t.Errorf("%s: %v, %v", name, z, err)
		}
	}
	for name, hint := range map[string]string{"": "missing", "Local": "machine", "Berlin": "Europe/Berlin", "Europe/Berln": "Europe/Berlin", "PST": "America/Los_Angeles", "GMT+19": "18 hours", "posix/Europe/Berlin": "unknown time zone"} {
		if _, err := ParseZone(name); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: %v, want an error with %q", name, err, hint)
		}
	}
}
