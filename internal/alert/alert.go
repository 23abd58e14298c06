// Package alert delivers alerts on the readings: an alert is a row of a pipeline's table with the
// columns severity and summary and a key. While the row is there the alert fires; when it goes, or
// no new one comes for a while, it is resolved.
//
//	alert.go     what an alert is, and its id
//	table.go     which tables hold alerts, and their records as alerts
//	config.go    receivers, routes and silences, as YAML
//	book.go      the state of all alerts: a pure machine, without clock and I/O
//	state.go     the topic that keeps it
//	route.go     which alerts are due for which receiver, together with which others
//	silence.go   alerts that nobody wants to hear of for a while
//	deliver.go   the delivery: sessions and retries
//	send.go      notifications in flight and their results
//	session.go   one life of its client: alerts in, state and offsets in one transaction
//	health.go    whether it works, and why not; metrics.go what it does, for Prometheus
//	receiver.go  where notifications go: webhook.go, alertmanager.go, email.go
//	post.go      JSON over HTTP
//	smtp.go      mail
package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// Status of an alert.
type Status string

// The states of an alert.
const (
	Firing   Status = "firing"
	Resolved Status = "resolved"
)

// Alert is one alert from its first row until it is resolved. When it fires again, or with another
// severity, that is another one.
type Alert struct {
	ID          string            `json:"id"`
	Status      Status            `json:"status"`
	Name        string            `json:"name"` // of the pipeline
	Severity    string            `json:"severity"`
	Summary     string            `json:"summary"`
	Labels      map[string]string `json:"labels"`      // the columns of the key, alertname and severity
	Annotations map[string]string `json:"annotations"` // the other columns
	Since       time.Time         `json:"since"`
	ResolvedAt  time.Time         `json:"resolved_at,omitzero"`

	Origin  Origin          `json:"origin"`
	Seen    time.Time       `json:"seen"`            // of its newest row
	Quiet   bool            `json:"quiet,omitempty"` // it was silenced when it was resolved: who has not heard of it need not
	Changed time.Time       `json:"changed"`         // when its status was learnt; groups wait from there
	Sent    map[string]Sent `json:"sent,omitempty"`  // by receiver

	Failing map[string]Failing `json:"failing,omitempty"` // by receiver whose last notification of the alert failed
}

// Origin is where an alert's rows are: all rows of a key lie in one partition.
type Origin struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Key       string `json:"key"` // of the records
}

// Sent is what a receiver has been told last, and has answered.
type Sent struct {
	Status Status    `json:"status"`
	At     time.Time `json:"at"`
	N      int       `json:"n"` // how many times it was told of the alert
}

// Failing is a receiver that does not take what it should hear.
type Failing struct {
	Since    time.Time `json:"since"` // the first failure in a row
	At       time.Time `json:"at"`    // the last one
	Attempts int       `json:"attempts"`
	Error    string    `json:"error"` // of the last one
}

// newID makes an id of an alert's first row. It is the same whenever the row is read, so that a
// receiver can tell what it has heard.
func newID(o Origin, offset int64, since time.Time) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%d\x00%s\x00%d\x00%d", o.Topic, o.Partition, o.Key, offset, since.UnixMilli())
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// Notification is a message to one receiver: all alerts of a group that fire, and those that are
// newly resolved.
type Notification struct {
	ID       string            `json:"id"` // the same when it is sent again because its answer was lost
	Receiver string            `json:"receiver"`
	Status   Status            `json:"status"` // firing while any of its alerts is
	Group    map[string]string `json:"group"`  // labels that its alerts have in common, by the route's group_by
	Alerts   []Told            `json:"alerts"`

	group   string
	attempt int
}

// Told is an alert in a notification.
type Told struct {
	Alert
	N int `json:"n"` // 1 the first time that this receiver is told of the alert, and so on

	fresh bool // it has not been told this status
}

// name makes the id of a notification from what it says.
func (n *Notification) name() {
	h := sha256.New()
	h.Write([]byte(n.group))
	for _, a := range n.Alerts {
		h.Write([]byte(a.ID + string(a.Status) + strconv.Itoa(a.N)))
	}
	n.ID = hex.EncodeToString(h.Sum(nil)[:10])
}

// Count is how many of the alerts have a status.
func (n *Notification) Count(s Status) (count int) {
	for _, a := range n.Alerts {
		if a.Status == s {
			count++
		}
	}
	return count
}
