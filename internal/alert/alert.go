// Package alert delivers alerts on readings. An alert is a row of a pipeline's table that has the
// columns severity and summary and a key. It fires while the row exists, and is resolved when the
// row is deleted or, in an append-only table, not renewed for some time.
//
//	alert.go         Alert, Notification and their ids
//	table.go         alert tables, and alerts from their records
//	config.go        receivers, routes and silences, as YAML
//	book.go          the state of all alerts: a pure state machine without clock and I/O
//	state.go         the topic that stores the state
//	route.go         grouping, and which notifications are due
//	silence.go       silences
//	deliver.go       Deliver: sessions and retries
//	session.go       the lifetime of one client: rows in, state and offsets in one transaction
//	send.go          notifications in flight and their results
//	health.go        readiness
//	metrics.go       Prometheus metrics
//	receiver.go      Receiver, and test alerts
//	webhook.go       the webhook receiver, also for Slack, Teams, PagerDuty and ntfy
//	alertmanager.go  the Alertmanager receiver
//	email.go         the mail receiver: messages
//	smtp.go          the mail receiver: protocol
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

// Alert is an alert from its first row until it is resolved. If it fires again, or with another
// severity, it is a new alert.
type Alert struct {
	ID          string            `json:"id"`
	Status      Status            `json:"status"`
	Name        string            `json:"name"` // of the pipeline
	Severity    string            `json:"severity"`
	Summary     string            `json:"summary"`
	Labels      map[string]string `json:"labels"`      // the key columns, alertname and severity
	Annotations map[string]string `json:"annotations"` // the other columns
	Since       time.Time         `json:"since"`
	ResolvedAt  time.Time         `json:"resolved_at,omitzero"`

	Origin  Origin          `json:"origin"`
	Seen    time.Time       `json:"seen"`            // of its newest row
	Quiet   bool            `json:"quiet,omitempty"` // silenced when resolved: receivers that were not notified of it are skipped
	Changed time.Time       `json:"changed"`         // when the status was detected; group_wait counts from here
	Sent    map[string]Sent `json:"sent,omitempty"`  // by receiver

	Failing map[string]Failing `json:"failing,omitempty"` // by receiver whose last notification failed
}

// Origin locates the rows of an alert: all rows of a key are in one partition.
type Origin struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Key       string `json:"key"` // of the records
}

// Sent is the last notification of an alert that a receiver has accepted.
type Sent struct {
	Status Status    `json:"status"`
	At     time.Time `json:"at"`
	N      int       `json:"n"` // number of accepted notifications
}

// Failing describes the failed attempts to notify a receiver of an alert.
type Failing struct {
	Since    time.Time `json:"since"` // the first consecutive failure
	At       time.Time `json:"at"`    // the last failure
	Attempts int       `json:"attempts"`
	Error    string    `json:"error"` // of the last failure
}

// newID derives an alert's id from its first row. It is the same whenever the row is read, so that
// a receiver can detect duplicates.
func newID(o Origin, offset int64, since time.Time) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%d\x00%s\x00%d\x00%d", o.Topic, o.Partition, o.Key, offset, since.UnixMilli())
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// Notification is a message to one receiver: the firing alerts of a group, and those resolved since
// the last notification.
type Notification struct {
	ID       string            `json:"id"` // unchanged if it is sent again because the response was lost
	Receiver string            `json:"receiver"`
	Status   Status            `json:"status"` // firing if any of its alerts is
	Group    map[string]string `json:"group"`  // the labels in the route's group_by, which its alerts share
	Alerts   []Entry           `json:"alerts"`

	group   string
	attempt int
}

// Entry is an alert in a notification.
type Entry struct {
	Alert
	N int `json:"n"` // 1 in the first notification of the alert to this receiver, and so on

	changed bool // the receiver has not been notified of this status
}

// setID derives the id of a notification from its contents.
func (n *Notification) setID() {
	h := sha256.New()
	h.Write([]byte(n.group))
	for _, a := range n.Alerts {
		h.Write([]byte(a.ID + string(a.Status) + strconv.Itoa(a.N)))
	}
	n.ID = hex.EncodeToString(h.Sum(nil)[:10])
}

// Count returns the number of alerts with a status.
func (n *Notification) Count(s Status) (count int) {
	for _, a := range n.Alerts {
		if a.Status == s {
			count++
		}
	}
	return count
}
