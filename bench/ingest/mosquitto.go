package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"weir.example/weir/bench/command"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/syncbuf"
)

// mosquitto is a mosquitto, usually with queues that are not limited, since its default loses
// messages.
type mosquitto struct {
	address string
	cmd     *exec.Cmd
	log     *syncbuf.Buffer
}

func startMosquitto(ctx context.Context, dir string, defaults bool) (*mosquitto, error) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // not in the path of every user
	}
	m := &mosquitto{log: &syncbuf.Buffer{}}
	if m.address, err = freeAddress(); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(m.address)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nsys_interval 1\nlog_type subscribe\nlog_type error\n", port)
	if !defaults {
		text += "max_queued_messages 0\n"
	}
	if os.Getuid() == 0 {
		text += "user root\n"
	}
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	m.cmd = exec.CommandContext(ctx, path, "-c", file) //nolint:gosec // the broker under test
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("mosquitto: %w: install the Debian package mosquitto", err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		if c, err := net.Dial("tcp", m.address); err == nil { //nolint:noctx // loopback
			return m, c.Close()
		}
		if time.Now().After(end) {
			m.stop()
			return nil, fmt.Errorf("mosquitto does not listen: %s", m.log.String())
		}
		if err := retry.Sleep(ctx, 5*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// subscribed reports whether the log has a subscription.
func (m *mosquitto) subscribed() bool { return strings.Contains(m.log.String(), "site/#") }

func (m *mosquitto) stop() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait() // it was killed
}

const telegrafVersion = "v1.37.2"

// buildTelegraf builds Telegraf with the plugins that are measured, once.
func buildTelegraf(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "weir-stack", "telegraf-"+telegrafVersion)
	program := filepath.Join(dir, "telegraf")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	command.Progress("build Telegraf %s, which takes some minutes", telegrafVersion)
	source := filepath.Join(dir, "source")
	if err := errors.Join(os.RemoveAll(source), os.MkdirAll(dir, 0o755)); err != nil { //nolint:gosec // as other caches
		return "", err
	}
	const tags = "custom,inputs.mqtt_consumer,inputs.http_listener_v2,outputs.kafka,parsers.json,serializers.json"
	script := `set -e
module=$(go mod download -json github.com/influxdata/telegraf@` + telegrafVersion + ` | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
cp -r "$module" source
chmod -R u+w source
cd source
go build -tags ` + tags + ` -o ../telegraf.new ./cmd/telegraf
cd ..
mv telegraf.new telegraf
rm -rf source`
	cmd := exec.CommandContext(ctx, "sh", "-c", script) //nolint:gosec // constant
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build Telegraf: %w: %s", err, out)
	}
	return program, nil
}
