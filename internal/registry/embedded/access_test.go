package embedded_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/registry/embedded"
	"weir.example/weir/internal/trail"
)

// With users, readers may read, operators may write, and admins change settings; without a login,
// nobody may anything. Logins, changes and refusals are reported.
func TestRegistryLogins(t *testing.T) {
	dir := t.TempDir()
	users, err := guard.OpenUsers(dir)
	if err != nil {
		t.Fatal(err)
	}
	const password = "correct horse battery"
	if err := users.Change(func(all map[string]guard.User) error {
		for _, role := range []guard.Role{guard.Reader, guard.Operator, guard.Admin} {
			keys, err := guard.BothKeys(password)
			if err != nil {
				return err
			}
			all[string(role)] = guard.User{Name: string(role), Role: role, SCRAM: keys}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b := serveBroker(t, dir)
	told := make(chan trail.Deed, 100)
	r := open(t, embedded.Config{
		Broker: broker.Config{Brokers: []string{b.Addr()}, DataDir: dir}, Guard: b.Guard(),
		Trail: func(d trail.Deed) { told <- d },
	})
	do := func(user, method, path, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, r.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	const schema = `{"schema":"{\"type\":\"string\"}"}`
	for _, c := range []struct {
		user, method, path, body string
		want                     int
	}{
		{"", "GET", "/subjects", "", 401},
		{"stranger", "GET", "/subjects", "", 401},
		{"reader", "GET", "/subjects", "", 200},
		{"", "POST", "/subjects/s/versions", schema, 401},
		{"reader", "POST", "/subjects/s/versions", schema, 403},
		{"reader", "POST", "/subjects/s/versions/", schema, 403},
		{"operator", "POST", "/subjects/s/versions", schema, 200},
		{"reader", "POST", "/subjects/s", schema, 200},
		{"reader", "POST", "/compatibility/subjects/s/versions/latest", schema, 200},
		{"reader", "DELETE", "/subjects/s", "", 403},
		{"reader", "PUT", "/config", `{"compatibility":"NONE"}`, 403},
		{"operator", "PUT", "/config", `{"compatibility":"NONE"}`, 403},
		{"operator", "PUT", "/mode/s", `{"mode":"READONLY"}`, 403},
		{"admin", "PUT", "/config/s", `{"compatibility":"NONE"}`, 200},
		{"operator", "DELETE", "/subjects/none", "", 404},
		{"operator", "DELETE", "/subjects/s", "", 200},
	} {
		if got := do(c.user, c.method, c.path, c.body); got != c.want {
			t.Errorf("%s: %s %s: %d, want %d", c.user, c.method, c.path, got, c.want)
		}
	}
	if err := errors.Join(r.Close(), b.Close()); err != nil { // waits for the requests
		t.Fatal(err)
	}
	close(told)
	var deeds []string
	for d := range told {
		if d.What != trail.Login || d.Error != "" {
			deeds = append(deeds, strings.TrimSpace(d.Who+" "+d.What+" "+d.On+" "+d.Error))
		}
	}
	want := []string{
		`login registry: password of "stranger" invalid credentials`,
		"reader denied registry: POST /subjects/s/versions not allowed: this needs the role operator",
		"reader denied registry: POST /subjects/s/versions not allowed: this needs the role operator",
		"operator schema-change POST /subjects/s/versions",
		"reader denied registry: DELETE /subjects/s not allowed: this needs the role operator",
		"reader denied registry: PUT /config not allowed: this needs the role admin",
		"operator denied registry: PUT /config not allowed: this needs the role admin",
		"operator denied registry: PUT /mode/s not allowed: this needs the role admin",
		"admin schema-change PUT /config/s",
		"operator schema-change DELETE /subjects/none Not Found",
		"operator schema-change DELETE /subjects/s",
	}
	if !slices.Equal(deeds, want) {
		t.Errorf("reported %q, want %q", deeds, want)
	}
}
