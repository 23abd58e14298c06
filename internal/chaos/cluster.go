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

// cluster is the brokers that faults happen to. Its clients reach them through proxies.
type cluster interface {
	name() string
	size() int
	start(ctx context.Context) error
	direct() []string                      // addresses that bypass the proxies where there are such
	kill(i int) error                      // kill -9, and stays away
	back(ctx context.Context, i int) error // starts it again, and waits until it serves
	pause(i int) error                     // SIGSTOP
	proceed(i int) error                   // SIGCONT
	pid(i int) int
	rest(ctx context.Context) error // stops all writers except the run itself
	close(ctx context.Context) error
}

// upCluster is the embedded broker of a weir up, which also has a fleet and two pipelines of its
// own.
type upCluster struct {
	*run
	listen string // its own address; that which it tells clients is the proxy's
	up     *member
	dir    string
	last   *embedded.Broker // once the weir up has ended
}

func (c *upCluster) name() string     { return "embedded broker (weir up)" }
func (c *upCluster) size() int        { return 1 }
func (c *upCluster) direct() []string { return []string{c.listen} }

func (c *upCluster) start(ctx context.Context) error {
	c.up = c.member("up", []string{
		"up", "--data-dir", c.dir, "--listen", c.listen, "--advertise", c.proxies[0].listen, "--devices", fmt.Sprint(c.Devices), "--device-prefix", "up-",
		"--rate", fmt.Sprint(c.Rate / producers), "--repeats", "0.01", "--pipeline", c.file("chaos.sql"), "--admin-listen", "none",
	})
	if err := c.up.up(); err != nil {
		return err
	}
	return c.await(ctx)
}

// await waits until the broker answers.
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

// rest ends the weir up, whose fleet would go on, and serves its data without it.
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

// kafkaCluster is a cluster of weir kafka up.
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

// close leaves the cluster as it was: running.
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

// mountTmpfs mounts a file system in memory on a folder; it needs root.
func mountTmpfs(dir, size string) error {
	if err := syscall.Mount("weir-chaos", dir, "tmpfs", 0, "size="+size); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", dir, err)
	}
	return nil
}

func (r *run) file(name string) string { return filepath.Join(r.Dir, name) }

// unmount takes a file system off its folder.
func unmount(dir string) error {
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}
