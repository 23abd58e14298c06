package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker/front"
)

// serveSide runs kfake with or without a front. It prints its address, and for each line of stdin
// the CPU time that it has used, in nanoseconds.
func serveSide(name string) (err error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.SeedTopics(partitions, topic),
		kfake.ListenFn(func(network, addr string) (net.Listener, error) {
			l, err := net.Listen(network, addr) //nolint:noctx // kfake's signature has no context
			if err != nil || name != "front" {
				return l, err
			}
			return front.Wrap(l, front.Limits{}, slog.New(slog.DiscardHandler)), nil
		}))
	if err != nil {
		return err
	}
	defer c.Close()
	if name == "front" {
		check(c)
	}
	fmt.Println(c.ListenAddrs()[0])
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return err
		}
		fmt.Println(u.Utime.Nano() + u.Stime.Nano())
	}
	return nil
}

// check registers the front's checks. That of Produce is left out: the embedded broker calls it in
// a control function that it has in any case.
func check(c *kfake.Cluster) {
	for key, check := range front.Checks(func([16]byte) string { return topic }) {
		if key == kmsg.Produce {
			continue
		}
		c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			return check(req)
		})
	}
}
