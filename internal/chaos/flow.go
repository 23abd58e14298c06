package chaos

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"weir.example/weir/internal/retry"
)

// member is a process that a run keeps alive: whenever it exits, it is restarted, unless a fault
// keeps it down.
type member struct {
	weir Weir
	dir  string
	name string
	args []string
	exit func(name string, code int, output string) // called for each unexpected exit

	mu   sync.Mutex
	now  *process
	down bool // kept down by a fault, or stopped for good
}

// restartDelay is the delay before a member that exited on its own is restarted, as under a service
// manager.
const restartDelay = 500 * time.Millisecond

// up starts the member.
func (m *member) up() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = false
	return m.start()
}

func (m *member) start() error {
	p, err := m.weir.start(m.dir, m.name, m.args...)
	if err != nil {
		return err
	}
	m.now = p
	go m.watch(p)
	return nil
}

// watch restarts the member when the process exits.
func (m *member) watch(p *process) {
	<-p.exited
	time.Sleep(restartDelay)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down || m.now != p {
		return
	}
	m.exit(m.name, p.cmd.ProcessState.ExitCode(), p.lastWords())
	if err := m.start(); err != nil {
		m.exit(m.name, -1, err.Error())
	}
}

// kill kills the member with kill -9 and keeps it down.
func (m *member) kill() {
	m.mu.Lock()
	m.down = true
	p := m.now
	m.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

// stop stops the member with SIGTERM and keeps it down.
func (m *member) stop(ctx context.Context, limit time.Duration) (code int, err error) {
	m.mu.Lock()
	m.down = true
	p := m.now
	m.mu.Unlock()
	if p == nil || !p.alive() {
		return 0, nil
	}
	return p.stop(ctx, limit)
}

// pause suspends the member with SIGSTOP.
func (m *member) pause() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.signal(syscall.SIGSTOP)
}

// proceed resumes a paused member.
func (m *member) proceed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.signal(syscall.SIGCONT)
}

// replace pauses the process, starts another one in its place, and returns the paused one.
func (m *member) replace() (zombie *process, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	zombie = m.now
	if err := zombie.signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	return zombie, m.start()
}

// pid returns the current process id.
func (m *member) pid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.cmd.Process.Pid
}

// exits counts unexpected exits of processes, by their last output.
type exits struct {
	mu  sync.Mutex
	all map[string]int
}

func (e *exits) add(name string, code int, output string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = make(map[string]int)
	}
	if len(output) > 300 {
		output = output[:300] + "…"
	}
	e.all[fmt.Sprintf("%s, exit %d: %s", name, code, output)]++
}

func (e *exits) list() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.all)
}

// flow is a pipeline under test and the topics around it.
type flow struct {
	name    string
	sources []string // topics of the readings
	results string   // topic to which every commit of the pipeline writes some records
	others  []string // topics of further results
	sql     func(bounded bool) string
}

// pipelines lists the pipelines that a run can test; the first is the default.
var pipelines = []flow{
	{name: flowName, sources: []string{"sensor_data_tx"}, results: flowDevices, others: []string{flowWindows, flowSensors}, sql: func(bool) string { return flowSQL }},
	{name: joinsName, sources: []string{joinsMeasured, joinsPlanned}, results: joinsTotals, others: []string{joinsWindows, joinsNear, joinsPairs}, sql: joinsSQL},
}

// The names that Config.Pipeline accepts.
const (
	PipelineGroups = "groups"
	PipelineJoins  = joinsName
)

// pipelineNamed returns the pipeline of a name; the first if it is empty.
func pipelineNamed(name string) (flow, error) {
	switch name {
	case "", PipelineGroups:
		return pipelines[0], nil
	case PipelineJoins:
		return pipelines[1], nil
	}
	return flow{}, fmt.Errorf("unknown pipeline %q: choose %s or %s", name, PipelineGroups, PipelineJoins)
}

// CheckPipeline returns an error for an unknown name of a pipeline.
func CheckPipeline(name string) error {
	_, err := pipelineNamed(name)
	return err
}

// joins reports whether the flow is that of joins.
func (f flow) joins() bool { return f.name == joinsName }

// watched returns topics to which every commit of the flow writes some records.
func (f flow) watched() []string { return append(slices.Clone(f.sources), f.results) }

func (f flow) topics() []string { return append(f.watched(), f.others...) }

// Names of the pipeline of groups and its topics.
const (
	flowName    = "chaos"
	flowWindows = flowName + ".windows"
	flowDevices = flowName + ".devices"
	flowSensors = flowName + ".sensors"
	flowWindow  = 10 * time.Second
	flowDelay   = 5 * time.Second // of the watermark
)

// flowSQL is the stateful pipeline under test: windows and groups by the key of the readings, and
// groups by another key through a repartition topic.
const flowSQL = `SET 'pipeline.name' = '` + flowName + `';
CREATE TABLE readings (
  device_id STRING,
  sensor STRING,
  ` + "`value`" + ` DOUBLE,
  seq BIGINT,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'sensor_data_tx', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE windows (
  device_id STRING, sensor STRING, window_start TIMESTAMP(3), window_end TIMESTAMP(3), readings BIGINT, minimum DOUBLE, maximum DOUBLE
) WITH (
  'connector' = 'kafka', 'topic' = '` + flowWindows + `', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'chaos-windows'
);
CREATE TABLE devices (
  k STRING, n BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '` + flowDevices + `', 'key.format' = 'raw', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'chaos-devices'
);
CREATE TABLE sensors (
  k STRING, n BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '` + flowSensors + `', 'key.format' = 'raw', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'chaos-sensors'
);
EXECUTE STATEMENT SET
BEGIN
INSERT INTO windows SELECT device_id, sensor, window_start, window_end, COUNT(*), MIN(` + "`value`" + `), MAX(` + "`value`" + `)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, sensor, window_start, window_end;
INSERT INTO devices SELECT device_id, COUNT(*), SUM(seq) FROM readings GROUP BY device_id;
INSERT INTO sensors SELECT sensor, COUNT(*), SUM(seq) FROM readings GROUP BY sensor;
END;
`

// Timeouts of the flow's processes; zombies are paused for longer.
const (
	flowSession = 6 * time.Second
	flowTx      = 8 * time.Second
)

// producerArgs returns the arguments of a producer of the flow. Those of joins send to a topic
// each, in order of event time, so that no reading is late.
func (r *run) producerArgs(i int) []string {
	if r.flow.joins() {
		start := time.Date(2026, 5, 1, 0, 0, 0, 300_000_000*i, time.UTC)
		return []string{
			"produce", "--brokers", r.clients(), "--topic", r.flow.sources[i], "--devices", fmt.Sprint(r.Devices), "--name", fmt.Sprintf("joins-%d", i),
			"--start", start.Format(time.RFC3339Nano), "--seed", fmt.Sprint(r.Seed), "--rate", fmt.Sprint(r.Rate / producers), "--mark",
			"--ack-log", r.ackLog(i), "--transaction-timeout", flowTx.String(),
		}
	}
	return []string{
		"produce", "--brokers", r.clients(), "--devices", fmt.Sprint(r.Devices), "--device-prefix", fmt.Sprintf("p%d-", i), "--name", fmt.Sprintf("chaos-%d", i),
		"--seed", fmt.Sprint(r.Seed + uint64(i)), "--rate", fmt.Sprint(r.Rate / producers), "--repeats", "0.01", "--out-of-order", "0.005", "--mark", //nolint:gosec // small
		"--ack-log", r.ackLog(i), "--transaction-timeout", flowTx.String(),
	}
}

// engineArgs returns the arguments of a process of the flow's pipeline.
func (r *run) engineArgs(instance string) []string {
	return []string{
		"run", r.file("chaos.sql"), "--brokers", r.clients(), "--instance", instance, "--parallelism", "2", "--state-dir", r.file("state-" + instance),
		"--session-timeout", flowSession.String(), "--transaction-timeout", flowTx.String(), "--log-level", "info",
	}
}

// drain quiesces the flow: it stops the producers, and lets the pipeline process all that they have
// written.
func (r *run) drain(ctx context.Context) error {
	for _, m := range r.producers {
		if _, err := m.stop(ctx, time.Minute); err != nil {
			return fmt.Errorf("stop %s: %w", m.name, err)
		}
	}
	for _, m := range r.engines {
		if code, err := m.stop(ctx, time.Minute); err != nil {
			return fmt.Errorf("stop %s: %w", m.name, err)
		} else if code != 0 {
			r.exits.add(m.name, code, "stopped with SIGTERM: "+m.now.lastWords())
		}
	}
	if err := r.cluster.rest(ctx); err != nil {
		return err
	}
	last := append(r.engineArgs("e0"), "--until-end")
	if r.flow.joins() { // bounded sources close all windows
		if err := os.WriteFile(r.file("chaos.sql"), []byte(r.flow.sql(true)), 0o600); err != nil {
			return err
		}
		last = r.engineArgs("e0")
	}
	for try := 0; ; try++ {
		p, err := r.Weir.start(r.Dir, "last", last...)
		if err != nil {
			return err
		}
		code, err := p.wait(ctx, 5*time.Minute)
		if err != nil {
			return fmt.Errorf("run the pipeline to the end: %w", err)
		}
		if code == 0 {
			return nil
		}
		if try == 3 {
			return fmt.Errorf("run the pipeline to the end: exit %d: %s", code, p.lastWords())
		}
		r.exits.add("last", code, p.lastWords())
		if err := retry.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}
