package embedded

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"weir.example/weir/internal/guard"
)

// Clients of other machines need an address that is not a wildcard.
func TestAddresses(t *testing.T) {
	tests := []struct {
		listen, advertise string
		want              string // in the error; "" for none
	}{
		{"127.0.0.1:9092", "", ""},
		{"127.0.0.1:0", "", ""},
		{"[::1]:9092", "", ""},
		{"192.0.2.1:9092", "", ""},
		{"0.0.0.0:9092", "broker.example:9092", ""},
		{":9092", "127.0.0.1:19092", ""},
		{"0.0.0.0:9092", "", "add --advertise HOST:9092"},
		{":9092", "", "add --advertise HOST:9092"},
		{"[::]:9092", "", "add --advertise HOST:9092"},
		{"0.0.0.0:9092", "0.0.0.0:9092", "clients cannot connect to 0.0.0.0:9092"},
		{"127.0.0.1:9092", ":9092", "clients cannot connect to :9092"},
		{"127.0.0.1:9092", "broker.example:0", "invalid address"},
		{"127.0.0.1:9092", "broker.example", "invalid address"},
		{"127.0.0.1:kafka", "", "invalid address"},
		{"127.0.0.1:90920", "", "invalid address"},
	}
	for _, tt := range tests {
		cfg := Config{Dir: t.TempDir(), Addr: tt.listen, Advertise: tt.advertise}
		err := cfg.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("--listen %s --advertise %q: %v, want %q", tt.listen, tt.advertise, err, tt.want)
		}
	}
}

// A broker that other machines can reach is refused without TLS and a login, unless the operator
// insists.
func TestExposed(t *testing.T) {
	for addr, exposed := range map[string]bool{"0.0.0.0:0": true, "127.0.0.1:0": false} {
		var log bytes.Buffer
		cfg := Config{Dir: t.TempDir(), Addr: addr, Advertise: "127.0.0.1:1", Logger: slog.New(slog.NewTextHandler(&log, nil)), MaintainEvery: -1}
		b, err := Open(cfg)
		if refused := errors.As(err, new(*guard.ExposedError)); refused != exposed || err != nil && !refused {
			t.Errorf("%s: %v", addr, err)
		}
		if err == nil {
			err = b.Close()
		} else {
			cfg.InsecureListen = true
			err = open(t, cfg).Close()
		}
		if warned := strings.Contains(log.String(), "--insecure-listen"); err != nil || warned != exposed {
			t.Errorf("%s: warned %t, %v", addr, warned, err)
		}
	}
}

// Bytes that are not requests reach nothing but the front, and are counted.
func TestFrontProtectsBroker(t *testing.T) {
	b := open(t, Config{Dir: t.TempDir()})
	defer b.Close()
	conn, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("\x00\x00\x00\x0a\x27\x0f\x00\x00\x00\x00\x00\x01\xff\xff")); err != nil { // API key 9999
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("an unknown API key is answered")
	}
	createTopic(t, client(t, b), "topic", nil)
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(NewCollector(b)); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	refused := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != "weir_broker_refused_connections_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			refused[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	if refused["unknown"] != 1 || refused["malformed"] != 0 || len(refused) != 10 {
		t.Errorf("refused connections: %v", refused)
	}
}
