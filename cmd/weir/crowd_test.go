package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.example/weir/internal/console/api"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/tlsconf/tlstest"
)

// crowd keeps connections to an address open that never become requests, and opens another one for
// each that is closed. Half of them say nothing; the others send the beginning of something.
type crowd struct {
	addr    string
	opened  atomic.Int64
	members sync.WaitGroup
}

// beginnings are halves of a TLS handshake, of an HTTP header, of a request of Kafka, and of a
// CONNECT.
var beginnings = [][]byte{
	{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
	[]byte("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "),
	{0, 0, 0, 100, 0, 18},
	{0x10, 100, 0, 4},
}

// gather starts n members, which have eight addresses of this machine.
func gather(ctx context.Context, addr string, n int, loud bool) *crowd {
	c := &crowd{addr: addr}
	for i := range n {
		c.members.Go(func() {
			at := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(2+i%8))}, Timeout: 5 * time.Second}
			for ctx.Err() == nil {
				conn, err := at.DialContext(ctx, "tcp", addr)
				if err == nil {
					c.opened.Add(1)
					end := context.AfterFunc(ctx, func() { _ = conn.Close() })
					if loud {
						_, _ = conn.Write(beginnings[i%len(beginnings)])
					}
					_, _ = io.Copy(io.Discard, conn)
					end()
					_ = conn.Close()
				}
				_ = retry.Sleep(ctx, time.Second)
			}
		})
	}
	return c
}

// Thousands of connections that say nothing, and hundreds that stop in the middle of a handshake,
// a header or a request, on one port after the other: the flow goes on, others are served, and
// memory is bounded.
func TestCrowd(t *testing.T) {
	if !longtest.Enabled() {
		t.Skip("opens six thousand connections to each port: make long runs it")
	}
	const silent, halfOpen, watch = 5000, 1000, 15 * time.Second
	certificates := t.TempDir()
	tlstest.Server(t, certificates, false)
	up := startBinary(t, buildWeir(t), "up", "--data-dir="+filepath.Join(t.TempDir(), "data"), "--rate=1000", "--insecure-listen",
		"--listen=127.0.0.1:0", "--console-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--registry-listen=127.0.0.1:0", "--http=127.0.0.1:0", "--mqtt=127.0.0.1:0",
		"--listen-cert="+filepath.Join(certificates, "server.pem"), "--listen-key="+filepath.Join(certificates, "server-key.pem"))
	ports := make(map[string]string)
	for name, pattern := range map[string]string{
		"Kafka": `broker at 127\.0\.0\.1:(\d+)`, "console": `https?://127\.0\.0\.1:(\d+) +live console`, "registry": `https?://127\.0\.0\.1:(\d+) +the schema registry`,
		"admin port": `https?://127\.0\.0\.1:(\d+)/metrics`, "HTTP": `http://127\.0\.0\.1:(\d+)/v1/readings`, "MQTT": `mqtts?://127\.0\.0\.1:(\d+)`,
	} {
		p := regexp.MustCompile(pattern)
		waitFor(t, name, func() bool { return p.MatchString(up.errOut.String()) })
		ports[name] = p.FindStringSubmatch(up.errOut.String())[1]
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,                                  // each request needs a connection in the crowd
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // its own server
	}}
	get := func(url string) ([]byte, error) {
		resp, err := client.Get(url)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	}
	// p99 returns the median of the flow's p99 during a time.
	p99 := func(during time.Duration) float64 {
		t.Helper()
		var seen []float64
		for deadline := time.Now().Add(during); time.Now().Before(deadline) || len(seen) == 0; {
			text, err := get("http://127.0.0.1:" + ports["console"] + "/api/overview")
			if err != nil {
				t.Fatalf("the console: %v", err)
			}
			var now api.Overview
			if err := json.Unmarshal(text, &now); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if now.Now.P99 > 0 {
				seen = append(seen, now.Now.P99)
			}
			time.Sleep(200 * time.Millisecond)
		}
		slices.Sort(seen)
		return seen[len(seen)/2]
	}
	waitFor(t, "readings", func() bool { return p99(0) > 0 })
	before := up.peak()
	for name, port := range ports {
		quiet := p99(watch) // other load on the machine changes: the windows alternate
		ctx, stop := context.WithCancel(t.Context())
		addr := "127.0.0.1:" + port
		crowds := []*crowd{gather(ctx, addr, silent, false), gather(ctx, addr, halfOpen, true)}
		waitFor(t, "the crowd at "+name, func() bool {
			return crowds[0].opened.Load()+crowds[1].opened.Load() >= int64(silent+halfOpen)
		})
		crowded := p99(watch)
		began := time.Now()
		switch name {
		case "Kafka", "MQTT":
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, client.Transport.(*http.Transport).TLSClientConfig) //nolint:forcetypeassert // above
			if name == "MQTT" && err != nil {                                                                                                    // without TLS on loopback
				var plain net.Conn
				if plain, err = net.DialTimeout("tcp", addr, 5*time.Second); err == nil {
					_ = plain.Close()
				}
			} else if err == nil {
				_ = c.Close()
			}
			if err != nil {
				t.Errorf("%s serves nobody else: %v", name, err)
			}
		case "HTTP":
			if _, err := get("http://" + addr + "/ping"); err != nil {
				t.Errorf("%s serves nobody else: %v", name, err)
			}
		default:
			if _, err := get("http://" + addr + "/"); err != nil {
				t.Errorf("the %s serves nobody else: %v", name, err)
			}
		}
		t.Logf("%s: p99 %.0f ms, quiet %.0f ms; another client waits %s; peak memory %d MiB, before %d MiB",
			name, crowded, quiet, time.Since(began).Round(time.Millisecond), up.peak()>>20, before>>20)
		stop()
		for _, c := range crowds {
			c.members.Wait()
		}
		if quiet = (quiet + p99(watch)) / 2; crowded > max(2*quiet, 1000) {
			t.Errorf("%s: p99 of the flow is %.0f ms, without the crowd %.0f ms", name, crowded, quiet)
		}
	}
	if limit := before + 512<<20; up.peak() > limit {
		t.Errorf("peak memory is %d MiB, before the crowds %d MiB", up.peak()>>20, before>>20)
	}
	if text := fmt.Sprint(up.errOut.String()); regexp.MustCompile(`panic|fatal error`).MatchString(text) {
		t.Error(text)
	}
}
