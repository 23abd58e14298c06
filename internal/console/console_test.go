package console

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"

	"weir.example/weir/internal/alert"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/console/api"
	guards "weir.example/weir/internal/guard"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/tlsconf/tlstest"
	"weir.example/weir/internal/trail"
	"weir.example/weir/internal/txtest"
	"weir.example/weir/reading"
)

// startCluster starts a broker with the topics of the main job.
func startCluster(t *testing.T) broker.Config {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c := broker.Config{Brokers: cluster.ListenAddrs()}
	admin := kadm.NewClient(client(t, c))
	if err := broker.EnsureTopics(t.Context(), admin, broker.DefaultTopics()); err != nil {
		t.Fatal(err)
	}
	return c
}

func client(t *testing.T, c broker.Config, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := broker.Connect(t.Context(), c, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// serve runs a console until the test ends.
func serve(t *testing.T, cfg Config) *Console {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	if len(cfg.Broker.Brokers) == 0 {
		cfg.Broker = startCluster(t)
	}
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

// take acquires a semaphore as another request would.
func take(t *testing.T, s *semaphore.Weighted) (release func()) {
	t.Helper()
	if !s.TryAcquire(1) {
		t.Fatal("the semaphore is taken")
	}
	return func() { s.Release(1) }
}

// answer sends a request and returns the status and body of the response.
func answer(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// eventually polls a URL until a response contains all texts, and returns it.
func eventually(t *testing.T, url string, want ...string) string {
	t.Helper()
	var got string
	lacks := func(text string) bool { return !strings.Contains(got, text) }
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, got = answer(t, "GET", url, ""); !slices.ContainsFunc(want, lacks) {
			return got
		}
	}
	t.Fatalf("timed out: %s does not contain all of %q: %s", url, want, got)
	return ""
}

func send(t *testing.T, c broker.Config, readings ...reading.Reading) {
	t.Helper()
	sendAt(t, c, time.Time{}, readings...)
}

// sendAt is like send, but sets the timestamp of the records, which determines the status of a
// device.
func sendAt(t *testing.T, c broker.Config, at time.Time, readings ...reading.Reading) {
	t.Helper()
	producer := client(t, c)
	for i := range readings {
		r := &readings[i]
		err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "sensor_data_tx", Key: []byte(r.DeviceID), Value: r.AppendJSON(nil), Timestamp: at}).FirstErr()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTokenRequired(t *testing.T) {
	c := serve(t, Config{Token: "opensesame"})
	if status, _ := answer(t, "GET", c.URL()+"/", ""); status != 200 {
		t.Errorf("page: status %d", status)
	}
	for _, path := range []string{"/api/info", "/api/overview", "/api/events", "/api/records?topic=sensor_data_tx", "/api/letters/replay", "/api/no"} {
		if status, body := answer(t, "GET", c.URL()+path, ""); status != 401 {
			t.Errorf("%s without token: status %d, %s", path, status, body)
		}
	}
	if status, _ := answer(t, "GET", c.URL()+"/api/info", "", "Authorization", "Bearer opensesam"); status != 401 {
		t.Errorf("wrong token: status %d", status)
	}
	if status, _ := answer(t, "GET", c.URL()+"/api/info", "", "Authorization", "Bearer opensesame"); status != 200 {
		t.Errorf("valid token: status %d", status)
	}
	if status, _ := answer(t, "POST", c.URL()+"/api/login", `{"token":"wrong"}`); status != 401 {
		t.Errorf("login with a wrong token: status %d", status)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	resp, err := browser.Post(c.URL()+"/api/login", "application/json", strings.NewReader(`{"token":"opensesame"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	cookie := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q lacks %s", cookie, want)
		}
	}
	if strings.Contains(cookie, "opensesame") {
		t.Error("cookie contains the token")
	}
	if resp, err = browser.Get(c.URL() + "/api/info"); err != nil || resp.StatusCode != 200 {
		t.Errorf("after login: %v %v", resp.StatusCode, err)
	}
	_ = resp.Body.Close()
	if resp, err = browser.Post(c.URL()+"/api/logout", "application/json", nil); err != nil || resp.StatusCode != 204 {
		t.Errorf("logout: %v %v", resp.StatusCode, err)
	}
	_ = resp.Body.Close()
	if resp, err = browser.Get(c.URL() + "/api/info"); err != nil || resp.StatusCode != 401 {
		t.Errorf("after logout: %v %v", resp.StatusCode, err)
	}
	_ = resp.Body.Close()
}

// Each route of the console has a role, and each role a route.
func TestRoutesHaveRoles(t *testing.T) {
	c := serve(t, Config{})
	if left := c.routes().Unserved(); len(left) > 0 {
		t.Errorf("guards.ConsoleRoutes has %q, which are not served", left)
	}
}

// Users may do what their role allows, and the audit trail has what they did and what was denied.
func TestUsers(t *testing.T) {
	dir := t.TempDir()
	users, err := guards.OpenUsers(dir)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := guards.BothKeys("secret horse")
	if err != nil {
		t.Fatal(err)
	}
	if err := users.Change(func(all map[string]guards.User) error {
		for _, role := range guards.Roles {
			all[string(role)] = guards.User{Name: string(role), Role: role, SCRAM: keys}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	who, err := guards.Join(t.Context(), guards.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	deeds := trail.Open(dir, func(err error) { t.Error(err) })
	c := serve(t, Config{Write: true, Guard: who, Trail: deeds.Add, AuditDir: dir})
	as := func(user, method, path, body string) (int, string) {
		t.Helper()
		basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":secret horse"))
		return answer(t, method, c.URL()+path, body, "Authorization", basic)
	}
	const replay = `{"topic":"sensor_data_dlq","dry":true}`
	for _, x := range []struct {
		user, method, path, body string
		want                     int
	}{
		{"device", "GET", "/api/info", "", 403},
		{"reader", "GET", "/api/info", "", 200},
		{"reader", "GET", "/api/audit", "", 403},
		{"reader", "POST", "/api/letters/replay", replay, 403},
		{"reader", "POST", "/api/transactions/abort", "{}", 403},
		{"reader", "POST", "/api/transactions/commit", "{}", 403},
		{"reader", "GET", "/api/transactions/hanging?producer_id=1&producer_epoch=0", "", 403},
		{"operator", "POST", "/api/letters/replay", replay, 200},
		{"operator", "GET", "/api/audit", "", 200},
		{"admin", "POST", "/api/letters/replay", replay, 200},
		{"stranger", "GET", "/api/info", "", 401},
	} {
		if got, text := as(x.user, x.method, x.path, x.body); got != x.want {
			t.Errorf("%s: %s %s: %d, want %d: %s", x.user, x.method, x.path, got, x.want, text)
		}
	}
	for user, write := range map[string]string{"reader": "false", "operator": "true"} {
		if _, text := as(user, "GET", "/api/info", ""); !strings.Contains(text, `"write":`+write) || !strings.Contains(text, `"user":"`+user) {
			t.Errorf("%s: info is %s", user, text)
		}
	}
	deeds.Close()
	_, text := as("operator", "GET", "/api/audit?who=operator&what=console-change", "")
	var list auditList
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Deeds) != 1 || !strings.Contains(list.Deeds[0].On, "replay dead letters of sensor_data_dlq") {
		t.Errorf("changes of the operator: %s", text)
	}
	_, text = as("admin", "GET", "/api/audit?failed=true&q=REPLAY", "")
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Deeds) != 1 || list.Deeds[0].What != trail.Denied || list.Deeds[0].Who != "reader" {
		t.Errorf("refused replays: %s", text)
	}
}

func TestForeignRequestsAreRejected(t *testing.T) {
	c := serve(t, Config{Write: true})
	abort := c.URL() + "/api/transactions/abort"
	if status, _ := answer(t, "POST", abort, "{}", "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"); status != 403 {
		t.Errorf("cross-site request: status %d", status)
	}
	if status, _ := answer(t, "GET", c.URL()+"/api/info", "", "Host", "evil.example"); status != 421 {
		t.Errorf("unknown host name: status %d", status)
	}
	resp, err := http.Get(c.URL() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	csp := resp.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy: %s", csp)
	}
}

// A console that other machines can reach is refused without TLS and a login.
func TestExposed(t *testing.T) {
	certificate, _ := tlstest.Server(t, t.TempDir(), false)
	for _, c := range []struct {
		cfg     Config
		allowed bool
	}{
		{Config{}, false},
		{Config{Token: "x"}, false},
		{Config{TLS: certificate}, false},
		{Config{TLS: certificate, Token: "x"}, true},
		{Config{Insecure: true}, true},
	} {
		c.cfg.Listen, c.cfg.Broker = "0.0.0.0:0", startCluster(t)
		page, err := Open(t.Context(), c.cfg)
		if refused := errors.As(err, new(*guards.ExposedError)); refused == c.allowed || err != nil && !refused {
			t.Errorf("TLS %t, token %q, insecure %t: %v", c.cfg.TLS != nil, c.cfg.Token, c.cfg.Insecure, err)
		}
		if err == nil {
			if want := map[bool]string{true: "https://", false: "http://"}[c.cfg.TLS != nil]; !strings.HasPrefix(page.URL(), want) {
				t.Errorf("URL %s, want %s", page.URL(), want)
			}
			_ = page.listener.Close()
			page.client.Close()
		}
	}
}

func TestReadOnly(t *testing.T) {
	c := serve(t, Config{})
	for _, path := range []string{"/api/letters/replay", "/api/transactions/abort", "/api/transactions/commit"} {
		if status, body := answer(t, "POST", c.URL()+path, "{}"); status != 403 || !strings.Contains(body, "--console-write") {
			t.Errorf("%s: status %d, %s", path, status, body)
		}
	}
}

func TestDevices(t *testing.T) {
	c := serve(t, Config{})
	evil, rtl := `<img src=x onerror=alert(1)>`, "מד־טמפרטורה ٣"
	var readings []reading.Reading
	for i, id := range []string{"a-1", "a-2", evil, rtl} {
		for n := range 5 {
			readings = append(readings, reading.Reading{DeviceID: id, Sensor: "temperature", Unit: "Cel", Value: float64(10*i + n), TS: time.Now().UnixMilli() + int64(n), Seq: int64(n)})
		}
	}
	sendAt(t, c.cfg.Broker, time.Now().Add(time.Minute), readings...) // devices stay online, however slow the machine is
	eventually(t, c.URL()+"/api/devices", `"total":4`)
	for query, want := range map[string]string{"q=A-": `"matched":2`, "q=onerror": `"matched":1`, "status=online": `"matched":4`, "status=silent": `"matched":0`, "limit=1&offset=1": `"id":"a-1"`} {
		if _, got := answer(t, "GET", c.URL()+"/api/devices?"+query, ""); !strings.Contains(got, want) {
			t.Errorf("%s: %s not found in %s", query, want, got)
		}
	}
	if status, got := answer(t, "GET", c.URL()+"/api/devices?status=gone", ""); status != 400 {
		t.Errorf("unknown device status: status %d, %s", status, got)
	}
	got := eventually(t, c.URL()+"/api/device?id=a-2", ",14]") // its last value
	var d deviceDetail
	if err := json.Unmarshal([]byte(got), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Sensors) != 1 || len(d.Sensors[0].Values) != 5 || d.Sensors[0].Values[4] != 14 || d.Sensors[0].Unit != "Cel" {
		t.Errorf("a-2: %+v", d)
	}
	if status, _ := answer(t, "GET", c.URL()+"/api/device?id=nobody", ""); status != 404 {
		t.Errorf("unknown device: status %d", status)
	}
}

// A frame of the device list contains its query, because a frame for the previous query may arrive
// after the query has changed.
func TestDevicesFrameContainsItsQuery(t *testing.T) {
	c := &Console{fleet: newFleet(time.Now, nil)}
	const ask = "q=pump&status=&sort=id&offset=0&limit=60"
	f, err := c.devicesFeed(ask)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.frame().(api.DeviceList).Ask; got != ask {
		t.Errorf("frame for query %q, want %q", got, ask)
	}
}

func TestStatusDependsOnUsualInterval(t *testing.T) {
	now := time.UnixMilli(1_000_000_000)
	f := newFleet(func() time.Time { return now }, nil)
	take := func(id string, every time.Duration) {
		for n := range 20 {
			at := now.Add(-time.Duration(19-n) * every)
			r := reading.Reading{DeviceID: id, Sensor: "x", TS: at.UnixMilli(), Seq: int64(n)}
			f.receive([]*kgo.Record{{Value: r.AppendJSON(nil), Timestamp: at}}, 0)
		}
	}
	take("fast", 100*time.Millisecond)
	take("slow", time.Minute)
	for _, step := range []struct {
		after      time.Duration
		fast, slow api.DeviceStatus
	}{
		{0, api.Online, api.Online}, {6 * time.Second, api.Late, api.Online}, {31 * time.Second, api.Silent, api.Online},
		{4 * time.Minute, api.Silent, api.Late}, {11 * time.Minute, api.Silent, api.Silent},
	} {
		at := now.Add(step.after).UnixMilli()
		if fast, slow := f.status(f.devices["fast"], at), f.status(f.devices["slow"], at); fast != step.fast || slow != step.slow {
			t.Errorf("after %s: fast %s, slow %s", step.after, fast, slow)
		}
	}
}

func TestFleetIsBounded(t *testing.T) {
	f := newFleet(time.Now, nil)
	var records []*kgo.Record
	for i := range maxDevices + 100 {
		r := reading.Reading{DeviceID: fmt.Sprint("d", i), Sensor: "x", TS: int64(i), Seq: 1}
		records = append(records, &kgo.Record{Value: r.AppendJSON(nil), Timestamp: time.Now()})
	}
	f.receive(records, 0)
	if c := f.counts(); c.Total != maxDevices || c.Untracked != 100 {
		t.Errorf("%+v", c)
	}
	s := &sensor{}
	for i := range 10 * maxPoints {
		s.add(int64(i), float64(i))
	}
	var got []int64
	s.points(3, func(at int64, _ float32) { got = append(got, at) })
	if len(s.at) != maxPoints || fmt.Sprint(got) != fmt.Sprint([]int{10*maxPoints - 3, 10*maxPoints - 2, 10*maxPoints - 1}) {
		t.Errorf("got %d points, the last %v", len(s.at), got)
	}
}

func TestRecords(t *testing.T) {
	c := serve(t, Config{})
	producer := client(t, c.cfg.Broker, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	began := time.Now()
	for i, value := range []string{`{"a":1}`, "text", "\x00\x01\xff", `{"a":2}`} {
		r := &kgo.Record{Topic: "sensor_data_tx", Key: []byte("k"), Value: []byte(value), Timestamp: began.Add(time.Duration(i) * time.Second)}
		if err := producer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	find := func(query string) (list recordList) {
		_, got := answer(t, "GET", c.URL()+"/api/records?topic=sensor_data_tx&"+query, "")
		if err := json.Unmarshal([]byte(got), &list); err != nil {
			t.Fatalf("%s: %v in %s", query, err, got)
		}
		return list
	}
	all := find("from=start")
	if len(all.Rows) != 4 || all.Rows[0].Value.Kind != "json" || all.Rows[1].Value.Kind != "text" || all.Rows[2].Value.Kind != "bytes" {
		t.Errorf("from=start: %+v", all)
	}
	for query, offsets := range map[string]string{
		"from=end&limit=2": "[3 2]", "from=offset&offset=2": "[2 3]", "q=TEXT": "[1]", "from=start&partition=1": "[]", "from=start&limit=1": "[0]",
		"from=time&time=" + began.Add(1500*time.Millisecond).UTC().Format(time.RFC3339Nano): "[2 3]",
	} {
		got := []int64{}
		for _, r := range find(query).Rows {
			got = append(got, r.Offset)
		}
		if fmt.Sprint(got) != offsets {
			t.Errorf("%s: %v, want %s", query, got, offsets)
		}
	}
	for _, wrong := range []string{"topic=nothing", "topic=sensor_data_tx&from=nowhere", "topic=sensor_data_tx&from=time&time=noon", "topic=sensor_data_tx&limit=100000"} {
		if status, got := answer(t, "GET", c.URL()+"/api/records?"+wrong, ""); status != 400 && status != 404 {
			t.Errorf("%s: %d %s", wrong, status, got)
		}
	}
}

// An open transaction blocks read_committed readers of later records, but no page of the console.
func TestOpenTransactionBlocksNoPage(t *testing.T) {
	c := serve(t, Config{Write: true})
	send(t, c.cfg.Broker, reading.Reading{DeviceID: "a", Sensor: "x", TS: 1, Seq: 1})
	tx := client(t, c.cfg.Broker, kgo.TransactionalID("slow"), kgo.TransactionTimeout(time.Minute))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := tx.ProduceSync(t.Context(), &kgo.Record{Topic: "sensor_data_tx", Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, got := answer(t, "GET", c.URL()+"/api/records?topic=sensor_data_tx", "")
	if took := time.Since(began); took >= scanTime || !strings.Contains(got, "device_id") || strings.Contains(got, `"open"`) {
		t.Errorf("after %s: %s", took, got)
	}
	if got := eventually(t, c.URL()+"/api/transactions", `"slow"`); !strings.Contains(got, "Ongoing") {
		t.Errorf("open transactions: %s", got)
	}
	if status, got := answer(t, "POST", c.URL()+"/api/transactions/abort", `{"transactional_id":"slow"}`); status != 200 {
		t.Errorf("abort: status %d, %s", status, got)
	}
	if _, got := answer(t, "GET", c.URL()+"/api/transactions", ""); strings.Contains(got, `"slow"`) {
		t.Errorf("after the abort: %s", got)
	}
}

// A hanging transaction is shown with how it ended elsewhere, and ends in the same way only.
func TestHangingTransaction(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "readings"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	_, id, epoch := txtest.Hang(t, cluster, "readings", nil)
	c := serve(t, Config{Broker: broker.Config{Brokers: cluster.ListenAddrs()}, Write: true})
	of := fmt.Sprintf("producer_id=%d&producer_epoch=%d", id, epoch)
	status, got := answer(t, "GET", c.URL()+"/api/transactions/hanging?"+of, "")
	for _, want := range []string{`"outcome":"committed"`, "COMMIT marker in readings-1", "weir transactions commit --producer-id"} {
		if status != 200 || !strings.Contains(got, want) {
			t.Errorf("status %d, %q is missing: %s", status, want, got)
		}
	}
	body := fmt.Sprintf(`{"producer_id":%d,"producer_epoch":%d}`, id, epoch)
	if status, got := answer(t, "POST", c.URL()+"/api/transactions/abort", body); status == 200 || !strings.Contains(got, "it was committed elsewhere") {
		t.Errorf("abort: status %d, %s", status, got)
	}
	if status, got := answer(t, "POST", c.URL()+"/api/transactions/commit", body); status != 200 {
		t.Errorf("commit: status %d, %s", status, got)
	}
	if _, got := answer(t, "GET", c.URL()+"/api/transactions", ""); !strings.Contains(got, `"open":[]`) {
		t.Errorf("after the commit: %s", got)
	}
	for _, bad := range []string{"", "producer_id=x&producer_epoch=1", "producer_id=1", of} {
		if status, got := answer(t, "GET", c.URL()+"/api/transactions/hanging?"+bad, ""); status == 200 || !strings.Contains(got, "error") {
			t.Errorf("?%s: status %d, %s", bad, status, got)
		}
	}
}

func TestSQL(t *testing.T) {
	c := serve(t, Config{})
	var readings []reading.Reading
	for n := range 40 {
		readings = append(readings, reading.Reading{DeviceID: fmt.Sprint("d", n%2), Sensor: "temperature", Value: float64(n), TS: 1_700_000_000_000 + int64(n)*250, Seq: int64(n)})
	}
	send(t, c.cfg.Broker, readings...)
	request := func(path, text string) (a sqlAnswer) {
		body, err := json.Marshal(sqlRequest{Text: text, Last: 100, Close: true})
		if err != nil {
			t.Fatal(err)
		}
		_, got := answer(t, "POST", c.URL()+path, string(body))
		if err := json.Unmarshal([]byte(got), &a); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		return a
	}
	if a := request("/api/sql/check", firstQuery); !a.OK || a.Graph == nil || len(a.Graph.Nodes) < 4 || a.Plan == "" {
		t.Errorf("first query: %+v", a)
	}
	wrong := strings.Replace(firstQuery, "AVG(`value`)", "AVG(valu)", 1)
	if a := request("/api/sql/check", wrong); a.OK || a.Line != 18 || a.Column == 0 || !strings.Contains(a.Hint+a.Message, "value") {
		t.Errorf("unknown column: %+v", a)
	}
	a := request("/api/sql/preview", firstQuery)
	if !a.OK || a.Read != 40 || len(a.Results) != 1 || a.Results[0].Total != 10 {
		t.Fatalf("preview: %+v", a)
	}
	if row := a.Results[0].Rows[0]; row["readings"] != 4.0 || row["mean"] != 1.5 {
		t.Errorf("first window: %v", row)
	}
	updating := strings.Split(firstQuery, "SELECT")[0] + "SELECT device_id, COUNT(*) AS n FROM readings GROUP BY device_id"
	if a := request("/api/sql/preview", updating); !a.OK || len(a.Results) != 1 || a.Results[0].Total != 2 || a.Results[0].Rows[0]["n"] != 20.0 {
		t.Errorf("updating query: %+v", a)
	}
	avro := strings.ReplaceAll(firstQuery, "'value.format' = 'json',\n  'value.json.timestamp-format.standard' = 'ISO-8601'", "'value.format' = 'avro-confluent', 'value.avro-confluent.url' = 'http://127.0.0.1:1'")
	if a := request("/api/sql/check", avro); !a.OK {
		t.Errorf("check of Avro: %+v", a)
	}
	if a := request("/api/sql/preview", avro); a.OK || len(a.Results) > 0 || !strings.Contains(a.Message, "sensor_data_tx") || !strings.Contains(a.Message, "avro-confluent") {
		t.Errorf("preview of Avro: %+v", a)
	}
	var topics []string
	listed, err := c.admin.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range listed.Names() {
		if strings.Contains(name, "preview") {
			topics = append(topics, name)
		}
	}
	if len(topics) > 0 {
		t.Errorf("preview created topics: %v", topics)
	}
}

// The page, compressed as a browser loads it and without the licences, is small.
func TestPageIsSmall(t *testing.T) {
	total := 0
	err := fs.WalkDir(dist, "dist", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".txt") {
			return err
		}
		data, err := dist.ReadFile(path)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(data); err != nil {
			return err
		}
		total += b.Len()
		return z.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes compressed", total)
	if total < 10_000 || total > 150_000 {
		t.Errorf("the page has %d bytes compressed, want 10,000 to 150,000", total)
	}
}

func TestAlerts(t *testing.T) {
	c := serve(t, Config{})
	if _, got := answer(t, "GET", c.URL()+"/api/alerts", ""); got != `{"alerts":[],"silences":[],"counts":{"firing":0,"resolved":0,"silenced":0},"matched":0}`+"\n" {
		t.Errorf("without a topic for alerts: %s", got)
	}
	if err := broker.EnsureTopics(t.Context(), c.admin, []broker.Topic{{Name: site.DefaultAlerts, Partitions: 1, CleanupPolicy: "compact"}}); err != nil {
		t.Fatal(err)
	}
	value, err := json.Marshal(alert.Alert{ID: "a1", Status: alert.Firing, Name: "too_hot", Severity: "critical", Summary: "<b>hot</b>", Since: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	record := &kgo.Record{Topic: site.DefaultAlerts, Key: []byte("alert/a1"), Value: value}
	if err := client(t, c.cfg.Broker).ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, c.URL()+"/api/alerts", `"status":"firing","name":"too_hot"`)
}
