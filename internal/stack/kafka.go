package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// Options configures a Kafka cluster.
type Options struct {
	Brokers  int    // combined brokers and controllers; default 1
	Heap     string // of each; default 512m for one, 384m for more
	Dir      string // its data, which Close keeps; default a temporary folder, which Close removes
	Port     int    // first port; default free ones
	Detached bool   // the processes outlive this one; needs Dir, where OpenKafka finds them

	Properties []string // additional lines of server.properties, for a new cluster
}

// Kafka is a cluster of real brokers. Its methods are not safe for concurrent use, except those of
// different nodes.
type Kafka struct {
	dir      string
	keep     bool // Close keeps the folder
	detached bool
	nodes    []*node
	starter  *starter
	heap     string
	more     []string // lines of server.properties
}

type node struct {
	process
	id         int
	port       int // of clients
	controller int // port of the quorum
	proxied    int // for clients behind a proxy; 0 in clusters from before proxies were supported
	advertised int // port of that proxy
}

// kafkaFile is the cluster file of Kafka. Data folders identify their quorum by its ports, so the
// ports never change.
type kafkaFile struct {
	Kind  string      `json:"kind"`
	Heap  string      `json:"heap"`
	Nodes []kafkaNode `json:"nodes"`
}

type kafkaNode struct {
	Port       int `json:"port"`
	Controller int `json:"controller"`
	Proxied    int `json:"proxied,omitempty"`
	Advertised int `json:"advertised,omitempty"`
}

// directoryIDs identify the nodes' metadata logs at the first start (KIP-853): arbitrary, but
// fixed.
var directoryIDs = []string{"q1w2e3r4Qa-AAAAAAAAAAA", "a5s6d7f8Qb-BBBBBBBBBBA", "z9x8c7v6Qc-CCCCCCCCCCA"}

const clusterID = "weirTestClusterAAAAAAA"

// StartKafka starts a cluster and waits until it responds and has transaction.version 2. A folder
// with a cluster keeps its number of brokers, ports and data.
func StartKafka(ctx context.Context, o Options) (*Kafka, error) {
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.Brokers > len(directoryIDs) {
		return nil, fmt.Errorf("%d brokers: the maximum is %d", o.Brokers, len(directoryIDs))
	}
	if o.Detached && o.Dir == "" {
		return nil, errors.New("a cluster that outlives this process needs a folder")
	}
	if _, err := kafkaKit.jars(ctx); err != nil { // before any file is created
		return nil, err
	}
	k, err := o.cluster()
	if err != nil {
		return nil, err
	}
	if err := k.start(ctx); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

func (k *Kafka) start(ctx context.Context) error {
	for _, n := range k.nodes {
		if _, err := os.Stat(filepath.Join(n.dir, "data", "meta.properties")); err == nil {
			continue
		}
		if err := k.format(ctx, n); err != nil {
			return fmt.Errorf("format node %d: %w", n.id, err)
		}
	}
	for _, n := range k.nodes {
		if err := k.launch(n); err != nil {
			return err
		}
	}
	for _, n := range k.nodes {
		if err := n.await(ctx); err != nil {
			return err
		}
	}
	client, err := broker.Connect(ctx, broker.Config{Brokers: k.Brokers()})
	if err != nil {
		return err
	}
	defer client.Close()
	return broker.RequireTransactionV2(ctx, client)
}

// cluster returns the folder's cluster, or creates a new one. None of its processes may be running.
func (o *Options) cluster() (*Kafka, error) {
	if o.Dir != "" {
		have, err := OpenKafka(o.Dir)
		switch {
		case err == nil && len(have.Running()) > 0:
			return nil, fmt.Errorf("a cluster already runs in %s, brokers %s", o.Dir, strings.Join(have.Brokers(), ","))
		case err == nil && len(have.nodes) != o.Brokers:
			return nil, fmt.Errorf("%s has a cluster of %d brokers, not %d: choose another folder, or remove this one", o.Dir, len(have.nodes), o.Brokers)
		case err == nil:
			have.detached = o.Detached
			return have, nil
		case !errors.Is(err, ErrNoCluster):
			return nil, err
		}
	}
	file := kafkaFile{Kind: "kafka", Heap: o.Heap}
	if file.Heap == "" {
		file.Heap = "512m"
		if o.Brokers > 1 {
			file.Heap = "384m"
		}
	}
	ports, err := FreePorts(o.Port, 4*o.Brokers)
	if err != nil {
		return nil, err
	}
	for i := range o.Brokers { // clients' ports first
		file.Nodes = append(file.Nodes, kafkaNode{
			Port: ports[i], Controller: ports[o.Brokers+i], Proxied: ports[2*o.Brokers+i], Advertised: ports[3*o.Brokers+i],
		})
	}
	dir, keep := o.Dir, true
	if dir == "" {
		keep = false
		if dir, err = os.MkdirTemp("", "weir-kafka-"); err != nil {
			return nil, err
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	k := file.kafka(dir)
	k.keep, k.detached, k.more = keep, o.Detached, o.Properties
	return k, writeCluster(dir, file)
}

func (file *kafkaFile) kafka(dir string) *Kafka {
	k := &Kafka{dir: dir, keep: true, heap: file.Heap, starter: newStarter()}
	for i, n := range file.Nodes {
		name := fmt.Sprint(i + 1)
		k.nodes = append(k.nodes, &node{
			process: process{name: "server", dir: filepath.Join(dir, name)}, id: i + 1, port: n.Port, controller: n.Controller,
			proxied: n.Proxied, advertised: n.Advertised,
		})
	}
	return k
}

// OpenKafka opens the cluster of a folder, running or not.
func OpenKafka(dir string) (*Kafka, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var file kafkaFile
	if err := readCluster(dir, &file); err != nil {
		return nil, err
	}
	if file.Kind != "kafka" || len(file.Nodes) == 0 || len(file.Nodes) > len(directoryIDs) {
		return nil, fmt.Errorf("%s has no Kafka cluster", dir)
	}
	k := file.kafka(dir)
	k.detached = true // it has outlived its starter, and restarted nodes must do the same
	for _, n := range k.nodes {
		if err := n.find(); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// New starts a cluster for a test, with additional lines of server.properties, and stops it when
// the test ends.
func New(tb TB, brokers int, properties ...string) *Kafka {
	tb.Helper()
	k, err := StartKafka(tb.Context(), Options{Brokers: brokers, Properties: properties})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := k.Close(); err != nil {
			tb.Error(err)
		}
	})
	return k
}

func (k *Kafka) properties(n *node) string {
	var quorum []string
	for _, m := range k.nodes {
		quorum = append(quorum, fmt.Sprintf("127.0.0.1:%d", m.controller))
	}
	replicas := len(k.nodes)
	insync := max(1, replicas-1)
	var more, map1, advertised string
	if n.proxied > 0 {
		more, map1 = fmt.Sprintf(",PROXIED://127.0.0.1:%d", n.proxied), ",PROXIED:PLAINTEXT"
		advertised = fmt.Sprintf(",PROXIED://127.0.0.1:%d", n.advertised)
	}
	return fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.bootstrap.servers=%s
listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d%[8]s
advertised.listeners=PLAINTEXT://127.0.0.1:%[3]d,CONTROLLER://127.0.0.1:%[4]d%[10]s
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT%[9]s
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=%[5]s/data
auto.create.topics.enable=false
unclean.leader.election.enable=false
default.replication.factor=%[6]d
min.insync.replicas=%[7]d
offsets.topic.replication.factor=%[6]d
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=%[6]d
transaction.state.log.min.isr=%[7]d
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=%[6]d
share.coordinator.state.topic.min.isr=%[7]d
group.initial.rebalance.delay.ms=0
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
broker.session.timeout.ms=6000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=33554432
%[11]s
`, n.id, strings.Join(quorum, ","), n.port, n.controller, n.dir, replicas, insync, more, map1, advertised, strings.Join(k.more, "\n"))
}

func (k *Kafka) format(ctx context.Context, n *node) error {
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(n.dir, "server.properties")
	if err := os.WriteFile(file, []byte(k.properties(n)), 0o600); err != nil {
		return err
	}
	args := []string{"format", "-t", clusterID, "-c", file}
	if len(k.nodes) == 1 {
		args = append(args, "--standalone")
	} else {
		var initial []string
		for i, m := range k.nodes {
			initial = append(initial, fmt.Sprintf("%d@127.0.0.1:%d:%s", m.id, m.controller, directoryIDs[i]))
		}
		args = append(args, "--initial-controllers", strings.Join(initial, ","))
	}
	cmd, err := JavaTool(ctx, "256m", "kafka.tools.StorageTool", args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, lastLines(out))
	}
	return nil
}

// launch starts a node's process.
func (k *Kafka) launch(n *node) error {
	// The process outlives the context of the call that starts it: Close ends it.
	cmd, err := JavaTool(context.Background(), k.heap, "kafka.Kafka", filepath.Join(n.dir, "server.properties"))
	if err != nil {
		return err
	}
	return n.start(k.starter, cmd, k.detached)
}

// await waits until the node's log shows that it has started.
func (n *node) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for {
		log, err := os.ReadFile(n.output())
		if err != nil {
			return err
		}
		if bytes.Contains(log, []byte("Kafka Server started")) {
			return nil
		}
		if !n.alive() {
			return fmt.Errorf("node %d ended while it started: %s", n.id, n.lastWords())
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("node %d is not ready yet: %s", n.id, n.lastWords())
		}
	}
}

// Brokers returns the addresses for clients, host:port.
func (k *Kafka) Brokers() []string {
	var all []string
	for _, n := range k.nodes {
		all = append(all, fmt.Sprintf("127.0.0.1:%d", n.port))
	}
	return all
}

// ProxiedListener is a node's listener for clients behind a proxy: the node advertises the proxy's
// address, so that all of their connections go through it. The caller has to start the proxy.
type ProxiedListener struct {
	Listens    string // host:port of the node
	Advertised string // host:port that the proxy must listen on
}

// Proxied returns the listeners for proxies, by node; none in clusters from before proxies were
// supported.
func (k *Kafka) Proxied() []ProxiedListener {
	var all []ProxiedListener
	for _, n := range k.nodes {
		if n.proxied > 0 {
			all = append(all, ProxiedListener{fmt.Sprintf("127.0.0.1:%d", n.proxied), fmt.Sprintf("127.0.0.1:%d", n.advertised)})
		}
	}
	return all
}

// Running returns the process ids of running nodes, by address.
func (k *Kafka) Running() map[string]int {
	running := make(map[string]int)
	for i, address := range k.Brokers() {
		if k.nodes[i].alive() {
			running[address] = k.nodes[i].pid
		}
	}
	return running
}

// Kill kills node i (from 0) with SIGKILL.
func (k *Kafka) Kill(i int) error { return k.nodes[i].kill() }

// Start restarts node i on its ports and data, and waits until it is ready.
func (k *Kafka) Start(ctx context.Context, i int) error {
	if err := k.launch(k.nodes[i]); err != nil {
		return err
	}
	return k.nodes[i].await(ctx)
}

// Pause suspends node i (SIGSTOP).
func (k *Kafka) Pause(i int) error { return k.nodes[i].signal(syscall.SIGSTOP) }

// Resume continues a paused node (SIGCONT).
func (k *Kafka) Resume(i int) error { return k.nodes[i].signal(syscall.SIGCONT) }

// PID returns the process id of node i.
func (k *Kafka) PID(i int) int { return k.nodes[i].pid }

// Stop shuts all nodes down cleanly, so that the next start needs no recovery, and waits for them.
func (k *Kafka) Stop(ctx context.Context) error {
	for _, n := range k.nodes { // all together: the last nodes of a quorum can't shut down alone
		if n.alive() {
			_ = n.signal(syscall.SIGTERM) // it may have exited
		}
	}
	var errs []error
	for _, n := range k.nodes {
		errs = append(errs, n.end(ctx, 20*time.Second))
	}
	k.starter.close()
	return errors.Join(errs...)
}

// Close kills all nodes, and removes their data unless the caller chose the folder.
func (k *Kafka) Close() error {
	for _, n := range k.nodes {
		if n.alive() {
			_ = n.kill() // it may have exited
		}
	}
	k.starter.close()
	if k.keep {
		return nil
	}
	return os.RemoveAll(k.dir)
}
