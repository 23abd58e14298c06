// Package flink runs pipelines on an Apache Flink cluster: it submits the SQL files that weir run
// executes to the cluster's SQL Gateway, and monitors their jobs through the JobManager.
//
//	script.go     a pipeline's file as submitted to Flink
//	formats.go    formats that Flink lacks
//	deploy.go     deployments: names, timeouts, topics, submission
//	lifecycle.go  stop, cancel, upgrade, recover
//	state.go      whether the state of a running job fits new SQL
//	record.go     deployments recorded in Kafka
//	status.go     current status of a pipeline
//	loss.go       results that a pipeline may have lost
//	rest.go       JSON over HTTP: retries, errors of both services
//	gateway.go    SQL Gateway: sessions, statements, results
//	job.go        JobManager: jobs, checkpoints, savepoints, stop, cancel
//	health.go     JobManager: exceptions, metrics, backpressure, logs
//	translate.go  Flink's exceptions as causes and remedies
//	flink.go      Config and its validation
package flink

import (
	"cmp"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"weir.example/weir/internal/secret"
)

// Config has the addresses of a cluster.
type Config struct {
	Gateway    string // URL of the SQL Gateway, such as http://127.0.0.1:8083
	JobManager string // URL of the JobManager's REST API, such as http://127.0.0.1:8081

	Secrets secret.Source // to which statements refer; default: the environment

	Patience time.Duration // how long to retry a lost connection; default 10 s
	HTTP     *http.Client  // default: a client with a timeout of 60 s
	Logger   *slog.Logger  // default: none
}

// Cluster is a Flink cluster. Its methods may be called concurrently.
type Cluster struct {
	secrets secret.Source
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
		secrets: c.Secrets,
		gateway: service("SQL Gateway", c.Gateway, "--gateway"),
		jobs:    service("JobManager", c.JobManager, "--jobmanager"),
	}
}
