package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/stack"
)

// cluster is the set of brokers under test. Their clients connect through proxies.
type cluster interface {
	name() string
	size() int
	start(ctx context.Context) error
	direct() []string                      // addresses that bypass the proxies, if any
	kill(i int) error                      // kill -9; the broker stays down
	back(ctx context.Context, i int) error // restarts it and waits until it is ready
	pause(i int) error                     // SIGSTOP
	proceed(i int) error                   // SIGCONT
	pid(i int) int
	rest(ctx context.Context) error // stops all writers except the run itself
	close(ctx context.Context) error
}

// upCluster is the embedded broker of a weir up process, which also runs a fleet and two pipelines.
type upCluster struct {
	*run
	listen string // the broker's own address; it advertises that of the proxy
	up     *member
	dir    string
	last   *embedded.Broker // serves the data after weir up has stopped
}

func (c *upCluster) name() string     { return "embedded broker (weir up)" }
func (c *upCluster) size() int        { return 1 }
func (c *upCluster) direct() []string { return []string{c.listen} }

func (c *upCluster) start(ctx context.Context) error {
	rate := c.Rate / producers
	if c.flow.joins() {
		rate = 1 // its readings are not those of the flow
	}
	c.up = c.member("up", []string{
		"up", "--data-dir", c.dir, "--listen", c.listen, "--advertise", c.proxies[0].listen, "--devices", fmt.Sprint(c.Devices), "--device-prefix", "up-",
		"--rate", fmt.Sprint(rate), "--repeats", "0.01", "--pipeline", c.file("chaos.sql"), "--admin-listen", "none",
	})
	if err := c.up.up(); err != nil {
		return err
	}
	return c.await(ctx)
}

// await waits until the broker accepts connections.
func (c *upCluster) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", c.listen)
		if err == nil {
			return conn.Close()
		}
		if retry.Sleep(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("embedded broker does not respond: %w: %s", err, c.up.now.lastWords())
		}
	}
}

func (c *upCluster) kill(int) error { c.up.kill(); return nil }

func (c *upCluster) back(ctx context.Context, _ int) error {
	if err := c.up.up(); err != nil {
		return err
	}
	return c.await(ctx)
}

func (c *upCluster) pause(int) error   { return c.up.pause() }
func (c *upCluster) proceed(int) error { return c.up.proceed() }
func (c *upCluster) pid(int) int       { return c.up.pid() }

// rest stops weir up, whose fleet would keep writing, and serves its data without it.
func (c *upCluster) rest(ctx context.Context) (err error) {
	if code, err := c.up.stop(ctx, time.Minute); err != nil {
		return err
	} else if code != 0 {
		c.exits.add("up", code, "stopped with SIGTERM: "+c.up.now.lastWords())
	}
	c.last, err = embedded.Open(embedded.Config{Dir: c.dir, Addr: c.listen, Advertise: c.proxies[0].listen, Logger: c.Logger})
	return err
}

func (c *upCluster) close(context.Context) error {
	if c.up != nil {
		c.up.kill()
	}
	if c.last != nil {
		return c.last.Close()
	}
	return nil
}

// kafkaCluster is a cluster started by weir kafka up.
type kafkaCluster struct {
	*run
	kafka *stack.Kafka
}

func (c *kafkaCluster) name() string {
	return fmt.Sprintf("Kafka %s, %d brokers", stack.KafkaVersion, c.size())
}
func (c *kafkaCluster) size() int        { return len(c.kafka.Brokers()) }
func (c *kafkaCluster) direct() []string { return c.kafka.Brokers() }

func (c *kafkaCluster) start(context.Context) error {
	if running := len(c.kafka.Running()); running < c.size() {
		return fmt.Errorf("%d of %d brokers are running: start them with weir kafka up", running, c.size())
	}
	return nil
}

func (c *kafkaCluster) kill(i int) error                      { return c.kafka.Kill(i) }
func (c *kafkaCluster) back(ctx context.Context, i int) error { return c.kafka.Start(ctx, i) }
func (c *kafkaCluster) pause(i int) error                     { return c.kafka.Pause(i) }
func (c *kafkaCluster) proceed(i int) error                   { return c.kafka.Resume(i) }
func (c *kafkaCluster) pid(i int) int                         { return c.kafka.PID(i) }
func (c *kafkaCluster) rest(context.Context) error            { return nil }

// close leaves all brokers running, as they were before.
func (c *kafkaCluster) close(ctx context.Context) error {
	var errs []error
	running := c.kafka.Running()
	for i, address := range c.kafka.Brokers() {
		if _, ok := running[address]; !ok {
			errs = append(errs, c.kafka.Start(ctx, i))
			continue
		}
		errs = append(errs, c.kafka.Resume(i))
	}
	return errors.Join(errs...)
}

// mountTmpfs mounts an in-memory file system on a directory; requires root.
func mountTmpfs(dir, size string) error {
	if err := syscall.Mount("weir-chaos", dir, "tmpfs", 0, "size="+size); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", dir, err)
	}
	return nil
}

func (r *run) file(name string) string { return filepath.Join(r.Dir, name) }

// unmount detaches the file system from its directory.
func unmount(dir string) error {
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}
