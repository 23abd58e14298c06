package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/broker"
)

// Options of a cluster.
type Options struct {
	Brokers int    // combined brokers and controllers; default 1
	Heap    string // of each; default 512m for one, 384m for more
}

// Kafka is a cluster of real brokers. Its methods are for one goroutine, but for those that take a node
// while others run.
type Kafka struct {
	dir     string
	nodes   []*node
	starter *starter
	heap    string
}

type node struct {
	id         int
	port       int // of clients
	controller int // port of the quorum
	dir        string
	cmd        *exec.Cmd
	exited     chan struct{}
}

// directoryIDs identify the nodes' metadata logs at the first start (KIP-853); they are random but fixed.
var directoryIDs = []string{"q1w2e3r4Qa-AAAAAAAAAAA", "a5s6d7f8Qb-BBBBBBBBBBA", "z9x8c7v6Qc-CCCCCCCCCCA"}

const clusterID = "weirTestClusterAAAAAAA"

// StartKafka starts a cluster and waits until it answers and has transaction.version 2.
func StartKafka(ctx context.Context, o Options) (k *Kafka, err error) {
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.Brokers > len(directoryIDs) {
		return nil, fmt.Errorf("%d brokers: the most is %d", o.Brokers, len(directoryIDs))
	}
	k = &Kafka{starter: newStarter(), heap: o.Heap}
	if k.heap == "" {
		k.heap = "512m"
		if o.Brokers > 1 {
			k.heap = "384m"
		}
	}
	if k.dir, err = os.MkdirTemp("", "weir-kafka-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Close())
		}
	}()
	ports, err := freePorts(2 * o.Brokers)
	if err != nil {
		return nil, err
	}
	for i := range o.Brokers {
		k.nodes = append(k.nodes, &node{
			id: i + 1, port: ports[2*i], controller: ports[2*i+1], dir: filepath.Join(k.dir, fmt.Sprint(i+1)),
		})
	}
	for _, n := range k.nodes {
		if err := k.format(ctx, n); err != nil {
			return nil, fmt.Errorf("format node %d: %w", n.id, err)
		}
	}
	for _, n := range k.nodes {
		if err := k.launch(ctx, n); err != nil {
			return nil, err
		}
	}
	for _, n := range k.nodes {
		if err := n.await(ctx); err != nil {
			return nil, err
		}
	}
	client, err := broker.Connect(ctx, broker.Config{Brokers: k.Brokers()})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return k, broker.RequireTransactionV2(ctx, client)
}

// New starts a cluster for a test, and stops it when the test ends.
func New(tb testing.TB, brokers int) *Kafka {
	tb.Helper()
	k, err := StartKafka(tb.Context(), Options{Brokers: brokers})
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

// freePorts returns ports that nobody listens on. They are below the range from which the system takes
// ports for outgoing connections: a broker that is killed must get its own back.
func freePorts(n int) ([]int, error) {
	var ports []int
	start := 20000 + os.Getpid()*37%10000
	for port := start; len(ports) < n && port < start+2000; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // returns at once
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("no %d free ports from %d on", n, start)
	}
	return ports, nil
}

func (k *Kafka) properties(n *node) string {
	var quorum []string
	for _, m := range k.nodes {
		quorum = append(quorum, fmt.Sprintf("127.0.0.1:%d", m.controller))
	}
	replicas := len(k.nodes)
	insync := max(1, replicas-1)
	return fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.bootstrap.servers=%s
listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d
advertised.listeners=PLAINTEXT://127.0.0.1:%[3]d,CONTROLLER://127.0.0.1:%[4]d
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
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
`, n.id, strings.Join(quorum, ","), n.port, n.controller, n.dir, replicas, insync)
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

// launch starts a node's process. Its output goes to a file in its folder.
func (k *Kafka) launch(_ context.Context, n *node) error {
	// The process outlives the context of the call that starts it: Close ends it.
	cmd, err := JavaTool(context.Background(), k.heap, "kafka.Kafka", filepath.Join(n.dir, "server.properties"))
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(n.dir, "server.log"))
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := k.starter.start(cmd); err != nil {
		return errors.Join(fmt.Errorf("start node %d: %w", n.id, err), log.Close())
	}
	n.cmd, n.exited = cmd, make(chan struct{})
	go func() {
		defer close(n.exited)
		_ = cmd.Wait() // killed is how most end
		_ = log.Close()
	}()
	return nil
}

// await waits until the node says that it serves.
func (n *node) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	path := filepath.Join(n.dir, "server.log")
	for {
		log, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(log, []byte("Kafka Server started")) {
			return nil
		}
		select {
		case <-n.exited:
			return fmt.Errorf("node %d ended while it started: %s", n.id, lastLines(log))
		default:
		}
		if err := broker.Sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("node %d does not serve yet: %s", n.id, lastLines(log))
		}
	}
}

// Brokers are the clients' addresses, host:port.
func (k *Kafka) Brokers() []string {
	var all []string
	for _, n := range k.nodes {
		all = append(all, fmt.Sprintf("127.0.0.1:%d", n.port))
	}
	return all
}

// Kill ends node i (from 0) with kill -9.
func (k *Kafka) Kill(i int) error {
	n := k.nodes[i]
	if err := n.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill node %d: %w", n.id, err)
	}
	<-n.exited
	return nil
}

// Start starts node i again, on its ports and data, and waits until it serves.
func (k *Kafka) Start(ctx context.Context, i int) error {
	if err := k.launch(ctx, k.nodes[i]); err != nil {
		return err
	}
	return k.nodes[i].await(ctx)
}

// Pause stops node i where it is (SIGSTOP), Resume lets it go on.
func (k *Kafka) Pause(i int) error { return k.nodes[i].cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused node go on (SIGCONT).
func (k *Kafka) Resume(i int) error { return k.nodes[i].cmd.Process.Signal(syscall.SIGCONT) }

// PID is the process id of node i.
func (k *Kafka) PID(i int) int { return k.nodes[i].cmd.Process.Pid }

// Close ends all nodes and removes their data.
func (k *Kafka) Close() error {
	for _, n := range k.nodes {
		if n.cmd == nil {
			continue
		}
		_ = n.cmd.Process.Kill() // it may have ended
		<-n.exited
	}
	k.starter.close()
	return os.RemoveAll(k.dir)
}
