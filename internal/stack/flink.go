package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"weir.example/weir/internal/retry"
)

// FlinkOptions configures a Flink cluster.
type FlinkOptions struct {
	TaskManagers int    // default 1
	Slots        int    // of each TaskManager; default 2
	Memory       int    // of each TaskManager's tasks, MiB of heap; default 512. RocksDB, network and JVM come on top
	Dir          string // checkpoints, savepoints and logs, which Close keeps; default a temporary folder, which Close removes
	Port         int    // first port: the JobManager's REST port, the gateway's, others; default free ones
	Detached     bool   // the processes outlive this one; needs Dir, where OpenFlink finds them
}

// Names of a Flink cluster's processes.
const (
	JobManager = "jobmanager"
	Gateway    = "gateway"
)

// TaskManager returns the name of a TaskManager, counted from 0.
func TaskManager(i int) string { return fmt.Sprintf("taskmanager-%d", i) }

// Flink is a cluster: a JobManager, TaskManagers and an SQL Gateway. It stores state in RocksDB and
// checkpoints in its folder. A killed JobManager restarts without its jobs, like any standalone one
// without ZooKeeper.
type Flink struct {
	flinkFile
	dir       string
	keep      bool // Close keeps the folder
	detached  bool
	processes []*flinkProcess
	starter   *starter
}

// flinkFile is the cluster file of Flink.
type flinkFile struct {
	Kind         string `json:"kind"`
	TaskManagers int    `json:"task_managers"`
	Slots        int    `json:"slots"`
	Memory       int    `json:"memory_mib"`
	Rest         int    `json:"rest_port"`
	Gate         int    `json:"gateway_port"`
	RPC          int    `json:"rpc_port"`
	Blob         int    `json:"blob_port"`
	Metrics      []int  `json:"metrics_ports"` // of each process, in their order
}

type flinkProcess struct {
	process
	class   string
	jvm     []string
	args    []string
	extra   string // more class path entries
	metrics int    // port of the Prometheus reporter; 0 none
}

// StartFlink starts a cluster and waits until its TaskManagers have registered and its gateway
// responds. A folder with a cluster keeps its checkpoints and savepoints, and its ports and sizes
// unless o sets them.
func StartFlink(ctx context.Context, o FlinkOptions) (*Flink, error) {
	if o.Detached && o.Dir == "" {
		return nil, errors.New("a cluster that outlives this process needs a folder")
	}
	if _, err := flinkKit.jars(ctx); err != nil { // before any file is created
		return nil, err
	}
	f, err := o.cluster()
	if err != nil {
		return nil, err
	}
	if err := f.start(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Flink) start(ctx context.Context) error {
	for _, p := range f.processes {
		if err := f.launch(ctx, p); err != nil {
			return err
		}
	}
	return f.Await(ctx)
}

// NewFlink starts a cluster for a test, and stops it when the test ends.
func NewFlink(tb TB, o FlinkOptions) *Flink {
	tb.Helper()
	f, err := StartFlink(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	return f
}

// OpenFlink opens the cluster of a folder, running or not.
func OpenFlink(dir string) (*Flink, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var file flinkFile
	if err := readCluster(dir, &file); err != nil {
		return nil, err
	}
	if file.Kind != "flink" || len(file.Metrics) != file.TaskManagers+1 {
		return nil, fmt.Errorf("%s has no Flink cluster", dir)
	}
	f := file.flink(dir)
	for _, p := range f.processes {
		if err := p.find(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// cluster creates a cluster's files in its folder. None of its processes may be running.
func (o *FlinkOptions) cluster() (*Flink, error) {
	var have flinkFile
	if o.Dir != "" {
		f, err := OpenFlink(o.Dir)
		switch {
		case err == nil && len(f.Running()) > 0:
			return nil, fmt.Errorf("a cluster already runs in %s, SQL Gateway %s", o.Dir, f.GatewayURL())
		case err == nil:
			have = f.flinkFile
		case !errors.Is(err, ErrNoCluster):
			return nil, err
		}
	}
	file := flinkFile{
		Kind: "flink", TaskManagers: first(o.TaskManagers, have.TaskManagers, 1),
		Slots: first(o.Slots, have.Slots, 2), Memory: first(o.Memory, have.Memory, 512),
	}
	ports, err := FreePorts(first(o.Port, have.Rest), 5+file.TaskManagers)
	if err != nil {
		return nil, err
	}
	file.Rest, file.RPC, file.Gate, file.Blob, file.Metrics = ports[0], ports[1], ports[2], ports[3], ports[4:]
	dir, keep := o.Dir, true
	if dir == "" {
		keep = false
		if dir, err = os.MkdirTemp("", "weir-flink-"); err != nil {
			return nil, err
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	for _, name := range []string{"checkpoints", "savepoints", "tmp", "conf"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	f := file.flink(dir)
	f.keep, f.detached = keep, o.Detached
	if err := f.configure(); err != nil {
		return nil, err
	}
	return f, writeCluster(dir, file)
}

// first returns the first of the values that is not zero, or zero.
func first(values ...int) int {
	for _, v := range values {
		if v != 0 {
			return v
		}
	}
	return 0
}

func (file *flinkFile) flink(dir string) *Flink {
	f := &Flink{flinkFile: *file, dir: dir, keep: true, starter: newStarter()}
	add := func(p flinkProcess) {
		p.dir = dir
		f.processes = append(f.processes, &p)
	}
	add(flinkProcess{
		process: process{name: JobManager}, class: "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
		jvm: []string{fmt.Sprintf("-Xmx%dm", jobManagerHeap), "-XX:MaxMetaspaceSize=256m"}, metrics: file.Metrics[0],
		args: []string{"-D", "executionMode=cluster"},
	})
	for i := range file.TaskManagers {
		add(flinkProcess{
			process: process{name: TaskManager(i)}, class: "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
			jvm: []string{
				fmt.Sprintf("-Xms%dm", file.Memory+frameworkMemory), fmt.Sprintf("-Xmx%dm", file.Memory+frameworkMemory),
				fmt.Sprintf("-XX:MaxDirectMemorySize=%dm", directMemory), "-XX:MaxMetaspaceSize=256m", "-XX:+UseG1GC",
			},
			metrics: file.Metrics[i+1],
		})
	}
	add(flinkProcess{
		process: process{name: Gateway}, class: "org.apache.flink.table.gateway.SqlGateway", extra: "opt/" + gatewayJar,
		jvm: []string{fmt.Sprintf("-Xmx%dm", gatewayHeap), "-XX:MaxMetaspaceSize=256m"},
	})
	return f
}

// opens lists the JDK packages that Flink accesses by reflection, as in its own scripts.
var opens = []string{
	"--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED", "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
	"--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.net=ALL-UNNAMED",
	"--add-opens=java.base/java.io=ALL-UNNAMED", "--add-opens=java.base/java.nio=ALL-UNNAMED",
	"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
	"--add-opens=java.base/java.text=ALL-UNNAMED", "--add-opens=java.base/java.time=ALL-UNNAMED",
	"--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
	"--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent.locks=ALL-UNNAMED",
}

func (f *Flink) launch(ctx context.Context, p *flinkProcess) error {
	home, err := flinkKit.jars(ctx)
	if err != nil {
		return err
	}
	jdbc, err := flinkJDBCKit.jars(ctx)
	if err != nil {
		return err
	}
	java, err := findJavaOf(ctx, 17, 21, 11)
	if err != nil {
		return err
	}
	conf := filepath.Join(f.dir, "conf")
	classPath := filepath.Join(home, "lib", "*") + ":" + filepath.Join(jdbc, "*")
	if p.extra != "" {
		classPath += ":" + filepath.Join(home, p.extra)
	}
	args := append([]string{}, p.jvm...)
	args = append(args, opens...)
	args = append(args, "-Duser.timezone=UTC", "-Djava.io.tmpdir="+filepath.Join(f.dir, "tmp"),
		"-Dlog.file="+filepath.Join(f.dir, p.name+".log"), "-Dlog4j2.configurationFile="+filepath.Join(conf, "log4j2.properties"),
		"-cp", classPath, p.class)
	if p.name != Gateway {
		args = append(args, "--configDir", conf)
	}
	args = append(args, p.args...)
	if p.metrics != 0 {
		args = append(args, "-D", fmt.Sprintf("metrics.reporter.prometheus.port=%d", p.metrics))
	}
	// The process outlives the context of the call that starts it: Close ends it.
	cmd := exec.CommandContext(context.Background(), java, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "FLINK_CONF_DIR="+conf, "FLINK_LIB_DIR="+filepath.Join(home, "lib"), "FLINK_PLUGINS_DIR="+filepath.Join(home, "plugins"))
	return p.start(f.starter, cmd, f.detached)
}

// Await waits until all TaskManagers have registered and the gateway responds.
func (f *Flink) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var overview struct {
			TaskManagers int `json:"taskmanagers"`
		}
		err := getJSON(ctx, f.RestURL()+"/overview", &overview)
		if err == nil && overview.TaskManagers < f.TaskManagers {
			err = fmt.Errorf("%d of %d TaskManagers have registered", overview.TaskManagers, f.TaskManagers)
		}
		if err == nil {
			err = getJSON(ctx, f.GatewayURL()+"/info", &struct{}{})
		}
		if err == nil {
			return nil
		}
		for _, p := range f.processes {
			if !p.alive() {
				return fmt.Errorf("%s ended while the cluster started: %s", p.name, p.lastWords())
			}
		}
		if retry.Sleep(ctx, 200*time.Millisecond) != nil {
			return fmt.Errorf("the cluster is not ready yet: %w; its logs are in %s", err, f.dir)
		}
	}
}

func getJSON(ctx context.Context, url string, v any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(v)
}

// RestURL returns the JobManager's REST address, without a trailing slash.
func (f *Flink) RestURL() string { return fmt.Sprintf("http://127.0.0.1:%d", f.Rest) }

// GatewayURL returns the SQL Gateway's REST address, without a trailing slash.
func (f *Flink) GatewayURL() string { return fmt.Sprintf("http://127.0.0.1:%d", f.Gate) }

// MetricsAddresses returns the processes' Prometheus endpoints, host:port.
func (f *Flink) MetricsAddresses() []string {
	var all []string
	for _, port := range f.Metrics {
		all = append(all, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return all
}

// Dir returns the cluster's folder, with checkpoints/, savepoints/ and a log per process.
func (f *Flink) Dir() string { return f.dir }

// Processes returns the names of the cluster's processes.
func (f *Flink) Processes() []string {
	var names []string
	for _, p := range f.processes {
		names = append(names, p.name)
	}
	return names
}

// Running returns the process ids of running processes, by name.
func (f *Flink) Running() map[string]int {
	running := make(map[string]int)
	for _, p := range f.processes {
		if p.alive() {
			running[p.name] = p.pid
		}
	}
	return running
}

func (f *Flink) named(name string) (*flinkProcess, error) {
	for _, p := range f.processes {
		if p.name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no process %q: it is one of %s", name, strings.Join(f.Processes(), ", "))
}

// Kill kills a process with SIGKILL.
func (f *Flink) Kill(name string) error {
	p, err := f.named(name)
	if err != nil {
		return err
	}
	return p.kill()
}

// Start restarts a process. It does not wait until it is ready: Await does.
func (f *Flink) Start(ctx context.Context, name string) error {
	p, err := f.named(name)
	if err != nil {
		return err
	}
	return f.launch(ctx, p)
}

// PID returns the process id of a process, or 0.
func (f *Flink) PID(name string) int {
	p, err := f.named(name)
	if err != nil {
		return 0
	}
	return p.pid
}

// Stop terminates all processes and waits for them. Running jobs end with them; their checkpoints
// are kept.
func (f *Flink) Stop(ctx context.Context) error {
	var errs []error
	for _, p := range f.processes {
		errs = append(errs, p.end(ctx, 20*time.Second))
	}
	f.starter.close()
	return errors.Join(errs...)
}

// Close kills all processes, and removes their data unless the caller chose the folder.
func (f *Flink) Close() error {
	for _, p := range f.processes {
		if p.alive() {
			_ = p.kill() // it may have exited
		}
	}
	f.starter.close()
	if f.keep {
		return nil
	}
	return os.RemoveAll(f.dir)
}
