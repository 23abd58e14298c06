package alert

import (
	"testing"
	"time"
)

// A silence is active from its start until before its end, for alerts that match all its labels.
func TestSilenced(t *testing.T) {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	all := []Silence{{Match: Matcher{"device_id": "pump-*", "site": "a"}, From: at, Until: at.Add(time.Hour)}}
	pump := &Alert{Labels: map[string]string{"device_id": "pump-7", "site": "a"}}
	for _, c := range []struct {
		alert *Alert
		after time.Duration
		want  bool
	}{
		{pump, 0, true}, {pump, -time.Second, false}, {pump, time.Hour, false},
		{&Alert{Labels: map[string]string{"device_id": "pump-7", "site": "b"}}, 0, false},
		{&Alert{Labels: map[string]string{"device_id": "fan-1", "site": "a"}}, 0, false},
	} {
		if got := Silenced(c.alert, all, at.Add(c.after)); got != c.want {
			t.Errorf("%v after %v: silenced is %v", c.alert.Labels, c.after, got)
		}
	}
}
