package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// weir status finds the console, with its token, at the address in weir.yaml, whether it is set for
// all commands or for weir up alone. The environment and --console take precedence.
func TestStatusFindsTheConsole(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sesame" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"now":{"lag":4711}}`)
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	anywhere := "0.0.0.0:" + addr[strings.LastIndex(addr, ":")+1:]
	for _, c := range []struct {
		name, file, env string
		args            []string
		want            string
	}{
		{"for all commands", "console-token: sesame\nconsole-listen: " + addr, "", nil, "4711"},
		{"for weir up", "up:\n  console-listen: " + addr + "\n  console-token: sesame", "", nil, "4711"},
		{"for weir console", "console-token: sesame\nconsole:\n  console-listen: " + anywhere, "", nil, "4711"},
		{"up wins over all", "console-token: sesame\nconsole-listen: 127.0.0.1:1\nup:\n  console-listen: " + addr, "", nil, "4711"},
		{"environment", "console-token: sesame\nconsole-listen: 127.0.0.1:1", addr, nil, "4711"},
		{"--console", "console-token: sesame\nconsole-listen: " + addr, "", []string{"--console=http://127.0.0.1:1"}, "at http://127.0.0.1:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := os.WriteFile("weir.yaml", []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.env != "" {
				t.Setenv("WEIR_CONSOLE_LISTEN", c.env)
			}
			var out bytes.Buffer
			root := newRoot()
			root.SetArgs(append([]string{"status", "--output=json"}, c.args...))
			root.SetOut(&out)
			root.SetErr(&out)
			err := root.Execute()
			if got := fmt.Sprint(out.String(), err); !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %q", got, c.want)
			}
		})
	}
	for listen, want := range map[string]string{
		"": "127.0.0.1:8080", "none": "127.0.0.1:8080", "127.0.0.1:0": "127.0.0.1:8080", ":90": "127.0.0.1:90", "0.0.0.0:90": "127.0.0.1:90",
		"[::]:90": "[::1]:90", "edge-7:90": "edge-7:90",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("a console that listens at %q: got %s, want %s", listen, got, want)
		}
	}
}
