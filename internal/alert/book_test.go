package alert

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func config(t *testing.T, text string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(text), "alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const oneHook = `
receivers: {hook: {webhook: {url: "http://127.0.0.1:1/"}}}
routes: [{receivers: [hook], group_by: [alertname], group_wait: 5s, group_interval: 1m, repeat_interval: 1h}]
`

// clock is a book with a clock that the test advances.
type clock struct {
	*Book
	now      time.Time
	offset   int64
	silences []Silence
}

func newClock(t *testing.T, text string) *clock {
	c := &clock{now: start}
	c.Book = newBook(config(t, text), func(now time.Time) (all []Silence) {
		for _, s := range c.silences {
			if s.active(now) {
				all = append(all, s)
			}
		}
		return all
	})
	return c
}

// row applies a row of a device; without a severity, its deletion.
func (c *clock) row(device, severity string) {
	c.offset++
	c.apply(row{
		origin: Origin{"hot", 0, device}, offset: c.offset, at: c.now.Add(time.Duration(c.offset)), firing: severity != "", severity: severity, summary: device + " is " + severity,
		labels: map[string]string{"alertname": "hot", "severity": severity, "device_id": device}, annotations: map[string]string{},
	}, c.now)
}

// send advances the time and returns the notifications that are due: receiver status:
// device/status/n …
func (c *clock) send(after time.Duration, fail error) (sent []string) {
	c.now = c.now.Add(after)
	c.tick(c.now, func(topic string) bool { return topic == "appended" })
	for _, n := range c.due(c.now) {
		line := n.Receiver + " " + string(n.Status) + ":"
		for _, a := range n.Alerts {
			line += fmt.Sprintf(" %s/%s/%d", a.Labels["device_id"], a.Status, a.N)
		}
		sent = append(sent, line)
		c.sent(n, fail, c.now)
	}
	return sent
}

func (c *clock) want(t *testing.T, after time.Duration, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, c.send(after, nil)); diff != "" {
		t.Errorf("after %s, at %s (-want +got)\n%s", after, c.now.Sub(start), diff)
	}
}

func TestGroupWaitsIntervalsAndRepeats(t *testing.T) {
	c := newClock(t, oneHook)
	c.row("a", "warning")
	c.want(t, 2*time.Second)
	c.row("b", "warning")
	c.want(t, 2*time.Second)
	c.want(t, time.Second, "hook firing: a/firing/1 b/firing/1")
	c.want(t, 59*time.Second)
	c.row("c", "critical")
	c.row("a", "warning") // another row of a known alert is not a change
	c.want(t, time.Second)
	c.want(t, 4*time.Second, "hook firing: a/firing/2 b/firing/2 c/firing/1")
	c.want(t, 59*time.Minute)
	c.want(t, time.Minute, "hook firing: a/firing/3 b/firing/3 c/firing/2")
	c.row("b", "")
	c.want(t, 5*time.Second)
	c.want(t, 55*time.Second, "hook firing: a/firing/4 c/firing/3 b/resolved/4")
	c.row("a", "")
	c.row("c", "")
	c.want(t, time.Minute, "hook resolved: a/resolved/5 c/resolved/4")
	c.want(t, 24*time.Hour)
	if len(c.alerts) != 0 || len(c.current) != 0 {
		t.Errorf("%d alerts and %d current ones remain", len(c.alerts), len(c.current))
	}
}

// An Alertmanager, which groups alerts itself, is notified early, and repeatedly before alerts
// expire.
func TestAlertmanagerPace(t *testing.T) {
	c := newClock(t, "receivers: {am: {alertmanager: {url: \"http://am\"}}}\nroutes: [{receivers: [am]}]")
	c.row("a", "warning")
	c.want(t, time.Second, "am firing: a/firing/1")
	c.row("b", "warning")
	c.want(t, 4*time.Second)
	c.want(t, time.Second, "am firing: a/firing/2 b/firing/1")
	c.row("b", "")
	c.want(t, 5*time.Second, "am firing: a/firing/3 b/resolved/2")
	c.want(t, 59*time.Second)
	c.want(t, time.Second, "am firing: a/firing/4")
}

// An alert that is resolved before the first notification is sent nevertheless, unless it was
// resolved an hour ago.
func TestShortAlerts(t *testing.T) {
	c := newClock(t, oneHook)
	c.row("a", "warning")
	c.row("a", "")
	c.want(t, 5*time.Second, "hook resolved: a/resolved/1")
	c.row("b", "warning")
	c.row("b", "")
	c.want(t, 2*time.Hour)
}

// An alert with another severity is a new alert, as is one that fires again.
func TestAlertsHaveIDs(t *testing.T) {
	c := newClock(t, oneHook)
	ids := make(map[string]bool)
	for _, severity := range []string{"warning", "warning", "critical", "", "critical"} {
		c.row("a", severity)
		if id := c.current[Origin{"hot", 0, "a"}]; id != "" {
			ids[id] = true
		}
	}
	if len(ids) != 3 || len(c.alerts) != 3 {
		t.Errorf("%d ids of %d alerts, want 3", len(ids), len(c.alerts))
	}
	c.want(t, 5*time.Second, "hook firing: a/firing/1 a/resolved/1 a/resolved/1")
}

func TestFailedNotificationsAreRetried(t *testing.T) {
	c := newClock(t, oneHook)
	c.row("a", "warning")
	down := errors.New("down")
	for i, after := range []time.Duration{5, 1, 2, 4, 8, 16, 32, 60, 60} {
		if got := c.send(after*time.Second-time.Millisecond, down); i > 0 && got != nil {
			t.Errorf("attempt %d came too early: %v", i, got)
		}
		if got := c.send(time.Millisecond, down); cmp.Diff(got, []string{"hook firing: a/firing/1"}) != "" {
			t.Errorf("attempt %d: %v", i, got)
		}
	}
	c.want(t, time.Minute, "hook firing: a/firing/1")
	c.want(t, time.Minute)
}

// A group with a notification in flight is not sent again, and the result does not cover changes
// after the notification was sent.
func TestInFlight(t *testing.T) {
	c := newClock(t, oneHook)
	c.row("a", "warning")
	c.now = c.now.Add(5 * time.Second)
	n := c.due(c.now)
	c.row("a", "")
	if len(n) != 1 || c.due(c.now.Add(time.Hour)) != nil {
		t.Fatal("sent while a notification is in flight")
	}
	c.sent(n[0], nil, c.now)
	c.want(t, time.Minute, "hook resolved: a/resolved/2")
}

func TestAppendedAlertsResolve(t *testing.T) {
	c := newClock(t, "resolve_after: 2m"+oneHook)
	o := Origin{"appended", 1, "a"}
	appended := func() {
		c.offset++
		c.apply(row{origin: o, offset: c.offset, at: c.now, firing: true, severity: "warning", labels: map[string]string{"device_id": "a"}}, c.now)
	}
	appended()
	c.want(t, 5*time.Second, "hook firing: a/firing/1")
	appended()
	c.want(t, 119*time.Second)
	c.want(t, time.Second)
	c.want(t, 5*time.Second, "hook resolved: a/resolved/2")
	if a := c.alerts; len(a) != 1 {
		t.Fatal(a)
	}
	for _, a := range c.alerts {
		if want := start.Add(5*time.Second + 2*time.Minute); !a.ResolvedAt.Equal(want) {
			t.Errorf("resolved at %s, want %s", a.ResolvedAt, want)
		}
	}
}

func TestSilences(t *testing.T) {
	c := newClock(t, oneHook)
	c.silences = []Silence{{Match: Matcher{"device_id": "pump-*"}, From: start, Until: start.Add(time.Hour)}}
	c.row("pump-1", "warning")
	c.row("pump-2", "warning")
	c.row("fan", "warning")
	c.want(t, 5*time.Second, "hook firing: fan/firing/1")
	c.row("pump-2", "") // never sent, so its resolution is not sent either
	c.want(t, 54*time.Minute)
	c.want(t, 6*time.Minute, "hook firing: pump-1/firing/1 fan/firing/2")
	c.silences = []Silence{{Match: Matcher{"device_id": "*"}, From: c.now, Until: c.now.Add(time.Hour)}}
	c.row("pump-1", "") // sent before, so its resolution is sent
	c.want(t, time.Minute, "hook resolved: pump-1/resolved/2")
}

func TestRoutes(t *testing.T) {
	c := newClock(t, `
receivers:
  page: {webhook: {url: "http://127.0.0.1:1/"}, send_resolved: false}
  log: {webhook: {url: "http://127.0.0.1:1/"}}
  am: {alertmanager: {url: "http://127.0.0.1:1", resend: 1m}}
routes:
  - {match: {severity: critical}, receivers: [page], group_by: ["..."], group_wait: 1s, continue: true}
  - {match: {severity: "crit*"}, receivers: [am], group_wait: 1s}
  - {receivers: [log], group_by: [severity], group_wait: 1s}
`)
	c.row("a", "critical")
	c.row("b", "critical")
	c.row("c", "warning")
	c.row("d", "info")
	got := c.send(time.Second, nil)
	want := []string{
		"page firing: a/firing/1", "page firing: b/firing/1", "am firing: a/firing/1 b/firing/1", "log firing: d/firing/1", "log firing: c/firing/1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	c.row("a", "")
	c.row("b", "")
	c.want(t, time.Minute, "am resolved: a/resolved/2 b/resolved/2") // and not page
	c.want(t, time.Hour)
	c.want(t, time.Minute)
	if len(c.alerts) != 2 {
		t.Errorf("%d alerts remain, want the two firing ones", len(c.alerts))
	}
}

// With random failures, and restarts that lose uncommitted changes, each alert is sent, the last
// notification has its final status, and duplicates are identifiable by id, status and number.
func TestNothingIsLost(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		c := newClock(t, oneHook)
		state := make(map[string]Alert)     // committed
		received := make(map[string]Status) // last status by id
		seen := make(map[string]bool)       // id, status, n
		started := make(map[string]bool)    // ids of all alerts
		firing := make(map[string]string)   // by device
		var uncommitted []func()            // rows since the last commit, to be replayed
		repeats, lost, last := 0, 0, 0      // alerts sent again, with a lost result, in the last notification
		commit := func() {
			for _, a := range c.takeChanged() {
				copied := *a
				copied.Sent = make(map[string]Sent)
				for k, v := range a.Sent {
					copied.Sent[k] = v
				}
				state[a.ID] = copied
			}
			uncommitted = nil
		}
		restart := func() {
			old := c
			c = newClock(t, oneHook)
			c.now, c.offset = old.now, old.offset
			for _, a := range state {
				loaded := a
				loaded.Sent = make(map[string]Sent)
				for k, v := range a.Sent {
					loaded.Sent[k] = v
				}
				c.load(&loaded)
			}
			for _, apply := range uncommitted {
				apply()
			}
			lost += last
		}
		step := func() {
			c.now = c.now.Add(time.Duration(rng.IntN(40)) * time.Second)
			commit()
			for _, n := range c.due(c.now) {
				if rng.IntN(5) == 0 {
					c.sent(n, errors.New("down"), c.now)
					continue
				}
				last = len(n.Alerts)
				for _, a := range n.Alerts {
					key := fmt.Sprint(a.ID, a.Status, a.N)
					if seen[key] {
						repeats++
					}
					seen[key] = true
					received[a.ID] = a.Status
				}
				if rng.IntN(4) == 0 { // the result is lost with the process
					restart()
					return
				}
				c.sent(n, nil, c.now)
			}
		}
		for range 60 {
			device := fmt.Sprint("d", rng.IntN(4))
			severity := []string{"", "warning", "critical"}[rng.IntN(3)]
			offset, at := c.offset+1, c.now
			apply := func() {
				c.offset = offset
				c.apply(row{origin: Origin{"hot", 0, device}, offset: offset, at: at, firing: severity != "", severity: severity,
					labels: map[string]string{"alertname": "hot", "device_id": device, "severity": severity}}, c.now)
			}
			apply()
			uncommitted = append(uncommitted, apply)
			firing[device] = c.current[Origin{"hot", 0, device}]
			if id := firing[device]; id != "" {
				started[id] = true
			}
			switch rng.IntN(8) {
			case 0:
				restart()
			default:
				step()
			}
		}
		for range 20 {
			c.now = c.now.Add(time.Minute)
			commit()
			for _, n := range c.due(c.now) {
				for _, a := range n.Alerts {
					received[a.ID] = a.Status
				}
				c.sent(n, nil, c.now)
			}
		}
		for id := range started {
			want := Resolved
			for _, f := range firing {
				if f == id {
					want = Firing
				}
			}
			if received[id] != want {
				t.Fatalf("alert %s: the last status sent is %q, want %s", id, received[id], want)
			}
		}
		if repeats > lost {
			t.Fatalf("%d alerts were sent again, but the results of only %d were lost", repeats, lost)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	const hook = "receivers: {hook: {webhook: {url: \"http://h/\"}}}\n"
	for text, want := range map[string]string{
		"":                                     "no receivers",
		"receivers: {}":                        "no receivers",
		hook:                                   "no routes",
		"receivers: {a: }":                     "receiver a: no kind",
		"receiver: {}":                         `line 1: unknown key "receiver": did you mean receivers?`,
		hook + "routes: [{}]":                  "route 1: no receivers",
		hook + "routes: [{receivers: [hock]}]": "receiver hock not found, the receivers are hook",
		hook + "routes: [{receivers: [hook], group_wait: soon}]":                                            `invalid duration "soon"`,
		hook + "routes: [{receivers: [hook], group_wait: -1s}]":                                             "must not be negative",
		hook + "routes: [{receivers: [hook], match: {x: \"[\"}}]":                                           "invalid pattern",
		hook + "routes: [{receivers: [hook]}]\nsilences: [{match: {a: b}}]":                                 "without until",
		hook + "routes: [{receivers: [hook]}]\nsilences: [{until: 2030-01-01T00:00:00Z}]":                   "would silence everything",
		"receivers: {a: {webhook: {url: ftp://x}}}":                                                         "expected http://host",
		"receivers: {a: {webhook: {url: \"http://h/${WEIR_NO_SUCH}\"}}}":                                    "environment variables are not set: WEIR_NO_SUCH",
		"receivers: {a: {webhook: {url: http://h}, email: {}}}":                                             "exactly one of",
		"receivers: {a: {email: {to: [x@y.org], from: z@y.org, server: mail}}}":                             "expected host:port",
		"receivers: {a: {email: {to: [x], from: z@y.org, server: \"mail:25\"}}}":                            `to ["x"]`,
		"receivers: {a: {email: {to: [x@y.org], from: z@y.org, server: \"m:25\", tls: none, password: p}}}": "could be intercepted",
	} {
		if _, err := ParseConfig([]byte(text), "alerts.yaml"); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "alerts.yaml: ") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	t.Setenv("WEIR_HOOK", "secret")
	c := config(t, "receivers: {a: {webhook: {url: \"http://h/${WEIR_HOOK}\", headers: {X: \"$WEIR_HOOK\"}}}}\nroutes: [{receivers: [a]}]")
	if w := c.Receivers["a"].Webhook; w.URL != "http://h/secret" || w.Headers["X"] != "secret" {
		t.Errorf("%+v", w)
	}
}

// An alert's state has the receivers that fail, since when and why, until each accepts a
// notification.
func TestFailingReceivers(t *testing.T) {
	c := newClock(t, oneHook)
	c.row("a", "warning")
	first := c.now.Add(5 * time.Second)
	c.send(5*time.Second, errors.New("connection\nrefused"))
	c.send(time.Second, errors.New("no route"))
	failing := func() map[string]Failing {
		for _, a := range c.alerts {
			return a.Failing
		}
		return nil
	}
	want := map[string]Failing{"hook": {Since: first, At: first.Add(time.Second), Attempts: 2, Error: "no route"}}
	if diff := cmp.Diff(want, failing()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(c.takeChanged()) != 1 {
		t.Error("the failure is not written")
	}
	c.want(t, 2*time.Second, "hook firing: a/firing/1")
	if f := failing(); len(f) != 0 {
		t.Errorf("it still fails: %v", f)
	}
}
