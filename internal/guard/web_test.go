package guard

import "testing"

// A name that a web page can let resolve to this machine is unknown; addresses and names that no
// public DNS has are known.
func TestHosts(t *testing.T) {
	h := NewHosts("edge.factory.example:8081", "weir.monitoring.svc")
	for host, want := range map[string]bool{
		"127.0.0.1:8081": true, "[::1]:8081": true, "192.0.2.7": true, "localhost:8081": true, "weir:9600": true, "EDGE.factory.example:8081": true,
		"edge.factory.example.": true, "weir.monitoring.svc:9600": true, "": true,
		"evil.example": false, "evil.example:8081": false, "127.0.0.1.evil.example": false, "localhost.evil.example:80": false, "127.0.0.1.": true, "evil.example.": false,
	} {
		if got := h.Known(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
