// Package flink runs pipelines on an Apache Flink cluster: the same SQL files that weir run
// executes, sent to the cluster's SQL Gateway and looked after through its JobManager.
//
//	script.go     a pipeline's file as Flink gets it
//	formats.go    formats that Flink has not
//	deploy.go     deployments: names, timeouts, topics, submission
//	lifecycle.go  stop, cancel, upgrade, recover
//	state.go      does the state of the running job fit new SQL?
//	record.go     what is deployed, kept in Kafka
//	status.go     a pipeline as it is
//	loss.go       what it may have lost
//	rest.go       JSON over HTTP: retries, errors of both services
//	gateway.go    SQL Gateway: sessions, statements, results
//	job.go        JobManager: jobs, checkpoints, savepoints, stop, cancel
//	health.go     JobManager: exceptions, metrics, backpressure, logs
//	translate.go  Flink's exceptions as what is wrong and what to do
//	redact.go     no password leaves the package in a log, an error or a plan
//	flink.go      Config, and what is wrong with one
package flink

import (
	"cmp"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// Config has the addresses of a cluster.
type Config struct {
	Gateway    string // URL of the SQL Gateway, such as http://127.0.0.1:8083
	JobManager string // URL of the JobManager's REST, such as http://127.0.0.1:8081

	Patience time.Duration // for which a lost connection is tried again; default 10 s
	HTTP     *http.Client  // default one that gives an answer 60 s
	Logger   *slog.Logger  // default none
}

// Cluster is a Flink cluster. Its methods can be called from several goroutines.
type Cluster struct {
	gateway rest
	jobs    rest
}

// NewCluster returns a cluster without contacting it.
func NewCluster(c Config) *Cluster {
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: time.Minute}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	service := func(name, url, flag string) rest {
		if url != "" && !strings.Contains(url, "://") {
			url = "http://" + url
		}
		return rest{
			name: name, url: strings.TrimSuffix(url, "/"), flag: flag,
			http: c.HTTP, patience: cmp.Or(c.Patience, 10*time.Second), log: c.Logger,
		}
	}
	return &Cluster{
		gateway: service("SQL Gateway", c.Gateway, "--gateway"),
		jobs:    service("JobManager", c.JobManager, "--jobmanager"),
	}
}
