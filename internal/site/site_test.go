package site

import (
	"strings"
	"testing"

	"weir.example/weir/internal/plan"
)

// No pipeline can join the group that delivers a site's alerts.
func TestAlertGroupIsReserved(t *testing.T) {
	for _, topic := range []string{DefaultReadings, "site_a.readings", "x"} {
		s, err := Of(topic)
		if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(s.AlertGroup(), "weir-")
		if !ok || plan.CheckGroup(name) == nil {
			t.Errorf("a pipeline of site %s may use the group %s", topic, s.AlertGroup())
		}
	}
	if err := plan.CheckGroup("alerts_per_site"); err != nil {
		t.Error(err)
	}
}
