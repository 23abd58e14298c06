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
	"syscall"
	"time"

	"weir.example/weir/bench/usage"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/site"
)

// side is a program with a configuration.
type side struct {
	name     string
	telegraf bool
	through  bool   // messages go through mosquitto
	http     bool   // messages come by HTTP
	batch    int    // of them in a request
	config   string // with ADDRESS at which it listens, MOSQUITTO, BROKER, TOPIC and DIR
}

const telegrafOutput = `
[agent]
  interval = "1s"
  flush_interval = "100ms"
  flush_jitter = "0s"
  metric_batch_size = 1000
  metric_buffer_limit = 1000000
  omit_hostname = true
[[outputs.kafka]]
  brokers = ["BROKER"]
  topic = "TOPIC"
  required_acks = -1
  idempotent_writes = true
  max_retry = 10
  data_format = "json"
`

const telegrafHTTP = telegrafOutput + `
[[inputs.http_listener_v2]]
  service_address = "tcp://ADDRESS"
  paths = ["/v1/readings"]
  data_format = "json"
  tag_keys = ["device_id"]
`

const weirHTTP = "http: { listen: \"ADDRESS\" }\nspool: { dir: DIR/spool }\n"

const weirRules = "topics: { \"site/+device/+sensor\": { value: $.n } }\nspool: { dir: DIR/spool }\n"

var sides = []*side{
	{name: "telegraf-mqtt", telegraf: true, through: true, config: telegrafOutput + `
[[inputs.mqtt_consumer]]
  servers = ["tcp://MOSQUITTO"]
  topics = ["site/#"]
  qos = 1
  client_id = "bench"
  persistent_session = true
  max_undelivered_messages = 1000
  data_format = "json"
`},
	{name: "weir-subscribe", through: true, config: "subscribe: [{ url: \"mqtt://MOSQUITTO\", client_id: bench, topics: [\"site/#\"] }]\n" + weirRules},
	{name: "weir-mqtt", config: "mqtt: { listen: \"ADDRESS\" }\n" + weirRules},
	{name: "weir-mqtt-ack-kafka", config: "ack: kafka\nmqtt: { listen: \"ADDRESS\" }\n" + weirRules},
	{name: "telegraf-http", telegraf: true, http: true, batch: 1, config: telegrafHTTP},
	{name: "weir-http", http: true, batch: 1, config: weirHTTP},
	{name: "telegraf-http-50", telegraf: true, http: true, batch: 50, config: telegrafHTTP},
	{name: "weir-http-50", http: true, batch: 50, config: weirHTTP},
}

// trial is one measurement of a side.
type trial struct {
	*bench
	*side
	dir     string
	file    string
	address string // to publish to
	listen  string // of the program
	admin   string // of Weir
	topic   string
	log     *os.File
	cmd     *exec.Cmd
	spent   time.Duration // CPU time of processes that have ended
	peak    int64
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// start starts a side, and waits until it takes messages.
func (b *bench) start(ctx context.Context, s *side) (t *trial, err error) {
	b.count++
	t = &trial{bench: b, side: s, dir: filepath.Join(b.dir, fmt.Sprint(b.count)), topic: fmt.Sprintf("bench-%d", b.count)}
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return nil, err
	}
	if !s.telegraf {
		t.topic = site.DefaultReadings + "_" + fmt.Sprint(b.count)
	}
	if err := createTopic(ctx, b.brokers, t.topic); err != nil {
		return nil, err
	}
	if t.listen, err = freeAddress(); err != nil {
		return nil, err
	}
	if t.admin, err = freeAddress(); err != nil {
		return nil, err
	}
	t.address = t.listen
	if s.through {
		if b.mosquitto, err = startMosquitto(ctx, t.dir, b.defaults); err != nil {
			return nil, err
		}
		t.address = b.mosquitto.address
	}
	through := ""
	if s.through {
		through = b.mosquitto.address
	}
	text := strings.NewReplacer("ADDRESS", t.listen, "MOSQUITTO", through, "BROKER", b.brokers[0], "TOPIC", t.topic, "DIR", t.dir).Replace(s.config)
	t.file = filepath.Join(t.dir, "config")
	if err := os.WriteFile(t.file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if t.log, err = os.Create(filepath.Join(t.dir, "log")); err != nil {
		return nil, err
	}
	if err := t.begin(ctx); err != nil {
		return nil, err
	}
	return t, t.ready(ctx)
}

// begin starts the process.
func (t *trial) begin(ctx context.Context) error {
	if t.telegraf {
		t.cmd = exec.CommandContext(ctx, t.bench.telegraf, "--config", t.file) //nolint:gosec // the program under test
	} else {
		t.cmd = exec.CommandContext(ctx, t.weir, "ingest", t.file, "--brokers", t.brokers[0], "--data-dir", t.dir, "--topic", t.topic, "--admin-listen", t.admin, "--pprof") //nolint:gosec // likewise
	}
	t.cmd.Stdout, t.cmd.Stderr = t.log, t.log
	return t.cmd.Start()
}

// ready waits until the process takes messages.
func (t *trial) ready(ctx context.Context) error {
	for end := time.Now().Add(time.Minute); ; {
		if t.through && t.mosquitto.subscribed() {
			return nil
		}
		if !t.through {
			if c, err := net.DialTimeout("tcp", t.listen, time.Second); err == nil {
				return c.Close()
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("it does not take messages after a minute:\n%s", t.output())
		}
		if err := retry.Sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func (t *trial) output() string {
	text, _ := os.ReadFile(t.log.Name())
	return usage.Tail(text)
}

// killAndRestart kills the process and starts it again. mosquitto keeps its session.
func (t *trial) killAndRestart(ctx context.Context) error {
	t.peak = max(t.peak, usage.PeakKB(t.cmd.Process.Pid))
	_ = t.cmd.Process.Kill()
	_ = t.cmd.Wait() // it was killed
	t.spent += t.cmd.ProcessState.UserTime() + t.cmd.ProcessState.SystemTime()
	return t.begin(ctx)
}

// used returns the CPU time and the peak memory so far.
func (t *trial) used() (time.Duration, int64, error) {
	cpu, err := usage.CPU(t.cmd.Process.Pid)
	return t.spent + cpu, max(t.peak, usage.PeakKB(t.cmd.Process.Pid)), err
}

// usedBetween returns the CPU time of mosquitto so far; 0 without it.
func (t *trial) usedBetween() (time.Duration, error) {
	if !t.through {
		return 0, nil
	}
	return usage.CPU(t.mosquitto.cmd.Process.Pid)
}

// stop ends the process, and mosquitto.
func (t *trial) stop() error {
	err := t.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = t.cmd.Wait() // Telegraf reports an error when it is stopped
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		err = errors.Join(err, fmt.Errorf("it does not end:\n%s", t.output()), t.cmd.Process.Kill())
	}
	if t.through {
		t.mosquitto.stop()
	}
	return errors.Join(err, t.log.Close())
}

// kill ends what is left of a measurement that failed.
func (t *trial) kill() error {
	if t == nil || t.cmd == nil || t.cmd.Process == nil {
		return nil
	}
	_ = t.cmd.Process.Kill()
	if t.through && t.mosquitto != nil {
		t.mosquitto.stop()
	}
	return fmt.Errorf("its output:\n%s", t.output())
}
