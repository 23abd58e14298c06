package broker_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// onLog calls a function at the first log line of a client that starts with one of the given texts.
type onLog struct {
	once  sync.Once
	texts []string
	call  func()
}

func (l *onLog) Level() kgo.LogLevel { return kgo.LogLevelInfo }

func (l *onLog) Log(_ kgo.LogLevel, line string, _ ...any) {
	for _, text := range l.texts {
		if strings.HasPrefix(line, text) {
			l.once.Do(l.call)
		}
	}
}

// The client sends the records that wait for the partitions of a topic before it publishes these
// partitions. A commit right after the acknowledgement still commits the records.
func TestCommitRightAfterLookup(t *testing.T) {
	at := cluster(t)
	// The partitioner holds the client at the second record: it has sent the first one, and not yet
	// published the partitions. The commit releases it, either when it waits or when it has counted
	// the partitions.
	release := make(chan struct{})
	held := kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, _ int) int {
			if string(r.Value) == "second" {
				<-release
			}
			return 0
		}
	})
	logger := &onLog{texts: []string{"producer state set to aborting", "no produce succeeded", "ending transaction"}, call: func() { close(release) }}
	client := connect(t, at, kgo.TransactionalID("x"), kgo.RecordPartitioner(held), kgo.ProducerLinger(0), kgo.UnknownTopicRetries(-1), kgo.WithLogger(logger))
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	acknowledged := make(chan error, 1)
	client.Produce(t.Context(), &kgo.Record{Topic: "rows", Value: []byte("first")}, func(_ *kgo.Record, err error) { acknowledged <- err })
	client.Produce(t.Context(), &kgo.Record{Topic: "rows", Value: []byte("second")}, nil)
	if _, err := kadm.NewClient(connect(t, at)).CreateTopic(t.Context(), 1, 1, nil, "rows"); err != nil { // only now, so that both wait for it
		t.Fatal(err)
	}
	if err := <-acknowledged; err != nil {
		t.Fatal(err)
	}
	if err := broker.Commit(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if seen := values(t, at); seen["first"] != 1 {
		t.Errorf("the transaction is committed, but readers see %v", seen)
	}
}
