package guard

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzUsers reads a file of users: it is refused with a way forward, or has users, which are
// written back unchanged.
func FuzzUsers(f *testing.F) {
	for _, users := range []map[string]User{{}, {"alice": {Name: "alice", Role: Admin, Token: "ab"}, "bob": {Name: "bob", Unseen: true, SCRAM: []Keys{{Mechanism: "SCRAM-SHA-256"}}}}} {
		data, err := encodeUsers(users)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, other := range []string{``, `null`, `{}`, `7`, `{"version":2}`, `{"version":1,"users":[{}]}`, `{"version":1,"users":[{"name":"a"},{"name":"a","role":"admin"}]}`} {
		f.Add([]byte(other))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		users, err := decodeUsers(data)
		if err != nil {
			if users != nil || !strings.Contains(err.Error(), "restore the file") {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		written, err := encodeUsers(users)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeUsers(written)
		if err != nil || !strings.Contains(string(data), `"version"`) {
			t.Fatalf("%q is taken for %s: %v", data, written, err)
		}
		if diff := cmp.Diff(users, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-read +written and read)\n%s", diff)
		}
	})
}
