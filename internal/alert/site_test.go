package alert

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/site"
)

// Sites on one cluster keep their alerts and silences apart: each has its own topic and group.
func TestSitesKeepAlertsApart(t *testing.T) {
	one := newWorld(t)
	other := newWorldOn(t, one.at)
	var err error
	if other.site, err = site.Of("site_a.readings"); err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(one.client)
	if _, err := admin.CreateTopic(t.Context(), 2, 1, nil, other.site.Scoped("hot")); err != nil {
		t.Fatal(err)
	}
	if err := PutSilence(t.Context(), one.at, one.site, Silence{ID: "s1", Match: Matcher{"device_id": "d2"}, Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	defer one.start("a")()
	defer other.start("a")() // the same instance: ids of transactions are a site's as well
	one.row("d1", "warning")
	other.row("d2", "warning")
	one.hook.await(t, "d1/firing/1")
	other.hook.await(t, "d2/firing/1") // silenced only on the other site
	for _, w := range []struct {
		*world
		device   string
		silences int
	}{{one, "d1", 1}, {other, "d2", 0}} {
		state, err := ReadState(t.Context(), w.at, w.site)
		if err != nil {
			t.Fatal(err)
		}
		if len(state.Alerts) != 1 || state.Alerts[0].Labels["device_id"] != w.device || len(state.Silences) != w.silences {
			t.Errorf("state of %s: %+v", w.site.Readings(), state)
		}
	}
	groups, err := admin.ListGroups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := groups.Groups(), []string{"weir-alerts", "weir-site_a.readings.alerts"}; !slices.Equal(got, want) {
		t.Errorf("groups %v, want %v", got, want)
	}
}
