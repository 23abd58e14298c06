package engine

import (
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

func TestValidate(t *testing.T) {
	p, err := plan.Compile(counting, "p")
	if err != nil {
		t.Fatal(err)
	}
	valid := Config{Broker: broker.Config{Brokers: []string{"localhost:9092"}}, Program: p, Instances: []string{"a", "b"}}
	if err := valid.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"no program":                    func(c *Config) { c.Program = nil },
		"no instance":                   func(c *Config) { c.Instances = nil },
		"an instance has no name":       func(c *Config) { c.Instances = []string{""} },
		"unique, got b, a, b":           func(c *Config) { c.Instances = []string{"b", "a", "b"} },
		"shorter than the transaction":  func(c *Config) { c.CommitInterval, c.TransactionTimeout = time.Second, time.Second },
		"commit interval must be":       func(c *Config) { c.CommitInterval = -1 },
		"timeouts must not be negative": func(c *Config) { c.SessionTimeout = -1 },
		"stop timeout -1ns":             func(c *Config) { c.StopTimeout = -1 },
		"max records":                   func(c *Config) { c.MaxRecords = -1 },
		"size of a transaction":         func(c *Config) { c.MaxBytes = 1000 },
		"cache size":                    func(c *Config) { c.CacheBytes = -1 },
		`unknown compression "lz5"`:     func(c *Config) { c.Compression = "lz5" },
		"no broker":                     func(c *Config) { c.Broker.Brokers = nil },
	} {
		c := valid
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, expected %q", err, want)
		}
		if _, err := Run(t.Context(), c); err == nil {
			t.Errorf("%s: Run accepts it", want)
		}
	}
}
