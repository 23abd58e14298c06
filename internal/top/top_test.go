package top

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"weir.example/weir/internal/console/api"
)

const overviewJSON = `{"now":{"in":1200,"out":1190,"p50":100,"p99":113.5,"lag":274,"open":1},"points":[{"in":1},{"in":5},{"in":3}],
"devices":{"total":120,"online":118,"late":1,"silent":1},"brokers":[{}],"topics":4,"partitions":13,"dead_letters":7,
"pipelines":[{"name":"hottest","state":"running","members":2,"rate":1200,"lag":274,"delay":5.5},{"name":"evil\u001b[2J","state":"retrying","reason":"no disk"}]}`

// Counters of pipelines that run in another process are shown as unknown, not as 0.
func TestUnknownCountsAreNotZero(t *testing.T) {
	pipelines := []api.Pipeline{{Name: "here", Here: true, Late: 7}, {Name: "elsewhere", Lag: 3}}
	lines := styles{}.pipelines(pipelines, 140)
	for i, want := range [][]string{{"7", "0", "0"}, {"–", "–", "–"}} {
		if got := strings.Fields(ansi.Strip(lines[i+1])); !slices.Equal(got[len(got)-3:], want) {
			t.Errorf("%s ends with %q, want %q", pipelines[i].Name, got[len(got)-3:], want)
		}
	}
}

// fakeConsole serves fixed responses.
func fakeConsole(t *testing.T) *Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/api/overview", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, overviewJSON) })
	mux.HandleFunc("/api/devices", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		fmt.Fprintf(w, `{"matched":5000,"rows":[{"id":"d-%s-%s","status":"late","seen":9000,"sensors":[{"name":"temperature","last":21.5,"spark":[1,2,3]}]}]}`, q.Get("offset"), q.Get("q"))
	})
	mux.HandleFunc("/api/topics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"topics":[{"name":"sensor_data_tx","count":4,"replicas":1,"records":1000,"readers":["weir-a"]},{"name":"other","offline":1}]}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &Client{URL: server.URL}
}

// screen runs a command and returns the screen.
func screen(t *testing.T, m *model, cmd tea.Cmd) string {
	t.Helper()
	if cmd != nil {
		_, _ = m.Update(cmd()) // the next poll is not run
	}
	view := m.View().Content
	for _, line := range strings.Split(view, "\n") {
		if ansi.StringWidth(line) > m.width {
			t.Errorf("line is wider than the terminal: %q", ansi.Strip(line))
		}
	}
	if n := strings.Count(view, "\n") + 1; n > m.height {
		t.Errorf("%d lines on a terminal of %d", n, m.height)
	}
	return ansi.Strip(view)
}

func press(m *model, keys string) (cmd tea.Cmd) {
	for _, r := range keys {
		k := tea.Key{Code: r, Text: string(r)}
		switch r {
		case '\n':
			k = tea.Key{Code: tea.KeyEnter}
		case '\t':
			k = tea.Key{Code: tea.KeyTab}
		}
		_, cmd = m.Update(tea.KeyPressMsg(k))
	}
	return cmd
}

func TestPages(t *testing.T) {
	m := &model{ctx: t.Context(), client: fakeConsole(t), styles: coloured(), overview: &api.Overview{}, width: 100, height: 24}
	wantTexts := func(got string, texts ...string) {
		t.Helper()
		for _, want := range texts {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
	}
	first := screen(t, m, m.Init())
	wantTexts(first, "1.20k/s", "114 ms", "274", "▁█▅", "118", "hottest", "-5.5 s", "retrying", "no disk")
	if strings.Contains(first, "\x1b") {
		t.Error("a name contains escape sequences")
	}
	wantTexts(screen(t, m, press(m, "\t")), "hottest", "workers")
	wantTexts(screen(t, m, press(m, "3")), "d-0-", "21.5", "9.0 s", "1–1 of 5000")
	wantTexts(screen(t, m, press(m, "jj")), "d-2-")
	wantTexts(screen(t, m, press(m, "/ab")), "d-0-ab", "search: ab")
	wantTexts(screen(t, m, press(m, "\n")), "matching “ab”")
	wantTexts(screen(t, m, press(m, "4")), "sensor_data_tx", "weir-a", "no leader")
	if got := screen(t, m, press(m, "/oth")); strings.Contains(got, "sensor_data_tx") || !strings.Contains(got, "other") {
		t.Errorf("filtered: %s", got)
	}
	for _, size := range [][2]int{{40, 10}, {20, 5}, {200, 60}} {
		_, cmd := m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		screen(t, m, cmd)
	}
	if cmd := press(m, "\nq"); cmd == nil || cmd() != tea.Quit() {
		t.Error("q does not quit")
	}
}

// When the console is unreachable, the last data stays on the screen with an error.
func TestConsoleGone(t *testing.T) {
	c := fakeConsole(t)
	m := &model{ctx: t.Context(), client: c, styles: coloured(), overview: &api.Overview{}, width: 100, height: 24}
	screen(t, m, m.Init())
	c.URL = "http://127.0.0.1:1"
	if got := screen(t, m, m.request()); !strings.Contains(got, "hottest") || !strings.Contains(got, "no weir is running at http://127.0.0.1:1") {
		t.Errorf("%s", got)
	}
}

func TestResponsesOfEarlierRoundsAreDropped(t *testing.T) {
	m := &model{ctx: t.Context(), client: fakeConsole(t), styles: coloured(), overview: &api.Overview{}, width: 100, height: 24}
	older := m.request()
	_ = m.request()
	if _, cmd := m.Update(older()); cmd != nil || len(m.overview.Pipelines) != 0 {
		t.Error("a response of an earlier round is shown")
	}
}

func TestStatus(t *testing.T) {
	c := fakeConsole(t)
	var b bytes.Buffer
	if err := Status(t.Context(), c, &b); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "1.20k/s") || !strings.Contains(got, "hottest") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
	all, err := Snapshot(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if all.Points != nil || all.Now.In != 1200 || len(all.Pipelines) != 2 {
		t.Errorf("%+v", all)
	}
}

func TestErrors(t *testing.T) {
	answer := func(status int, body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, body) }))
		t.Cleanup(server.Close)
		return server.URL
	}
	for url, want := range map[string]string{
		"http://127.0.0.1:1": "no weir is running at", answer(401, "{}"): "--console-user", answer(200, "<html>"): "not a weir console",
		answer(404, "x"): "not a weir console", answer(502, `{"error":"the broker is gone"}`): "the broker is gone", "::": "invalid console URL",
	} {
		if err := Status(t.Context(), &Client{URL: url}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1.00k", 12345: "12.3k", 999_499: "999k", 1_500_000: "1.50M"} {
		if got := short(n); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
	if got := span(90 * time.Second); got != "1m30s" {
		t.Error(got)
	}
}

// In a narrow terminal, spare columns are omitted before names are truncated.
func TestNarrowTable(t *testing.T) {
	columns := []column{{head: "topic"}, {head: "replicas", right: true, spare: true}, {head: "rate", right: true}, {head: "readers", spare: true}}
	rows := [][]string{{"device-stats.stage1.changelog", "3", "12/s", "weir-a"}}
	for width, want := range map[int]string{
		0:  "device-stats.stage1.changelog         3  12/s  weir-a",
		60: "device-stats.stage1.changelog         3  12/s  weir-a",
		50: "device-stats.stage1.changelog         3  12/s",
		40: "device-stats.stage1.changelog  12/s",
		20: "device-stats.…  12/s",
	} {
		if got := table(columns, rows, width, styles{}.faint); len(got) != 2 || got[1] != want {
			t.Errorf("%d wide: %q, want %q", width, got, want)
		}
	}
}
