package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"
)

// Each command that has --log-level refuses an unknown level, whether or not it logs.
func TestUnknownLogLevel(t *testing.T) {
	t.Setenv("WEIR_BROKERS", "127.0.0.1:1") // nothing may start a broker
	count := 0
	var check func(c *cobra.Command, path []string)
	check = func(c *cobra.Command, path []string) {
		for _, sub := range c.Commands() {
			check(sub, append(path[:len(path):len(path)], sub.Name()))
		}
		if c.Flag("log-level") == nil {
			return
		}
		count++
		root := newRoot()
		root.SilenceErrors = true
		root.SetOut(io.Discard)
		root.SetArgs(append(path[:len(path):len(path)], "--log-level", "loud"))
		if err := root.Execute(); exitCode(err) != exitUsage || !strings.Contains(fmt.Sprint(err), "choose debug, info, warn or error") {
			t.Errorf("weir %s: %v", strings.Join(path, " "), err)
		}
	}
	check(newRoot(), nil)
	if count < 20 {
		t.Errorf("found only %d commands with --log-level", count)
	}
}

// weir check logs which records it samples.
func TestCheckLogs(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "readings"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	file := writeSQL(t, fmt.Sprintf(checkedKeys, "readings"))
	brokers := "--brokers=" + strings.Join(c.ListenAddrs(), ",")
	for level, logged := range map[string]bool{"warn": false, "info": true} {
		code, out, errOut := do(t, "check", file, brokers, "--log-level", level)
		if code != exitOK {
			t.Fatalf("exit %d\n%s%s", code, out, errOut)
		}
		if got := strings.Contains(errOut, `"msg":"topic sampled","topic":"readings"`); got != logged {
			t.Errorf("level %s: sampling is logged: %t\n%s", level, got, errOut)
		}
	}
}
