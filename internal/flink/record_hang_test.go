package flink

import (
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
)

// A broker that accepts connections but stops answering does not block a command forever: the error
// names what it waited for. Here the limit is exceeded as soon as the broker has the request.
func TestHangingBroker(t *testing.T) {
	original := withLimit
	t.Cleanup(func() { withLimit = original })
	for name, x := range map[string]struct {
		at   kmsg.Key // the request that gets no answer
		want string
	}{
		"create": {kmsg.CreateTopics, "topic weir.flink;"},
		"open":   {kmsg.InitProducerID, "transactional id weir-flink-record-x;"},
		"write":  {kmsg.Produce, "the write to topic weir.flink;"},
		"commit": {kmsg.EndTxn, "the commit of transaction weir-flink-record-x;"},
		"read":   {kmsg.ListOffsets, "the records in topic weir.flink;"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1))
			if err != nil {
				t.Fatal(err)
			}
			release := make(chan struct{})
			t.Cleanup(c.Close)
			t.Cleanup(func() { close(release) })
			hangs, hang := context.WithCancel(context.Background())
			c.ControlKey(int16(x.at), func(kmsg.Request) (kmsg.Response, error, bool) {
				hang()
				<-release
				return nil, nil, false
			})
			withLimit = func(ctx context.Context) (context.Context, context.CancelFunc) {
				limited, cancel := context.WithCancel(ctx)
				context.AfterFunc(hangs, cancel)
				return limited, cancel
			}
			kafka := broker.Config{Brokers: c.ListenAddrs()}
			r, err := openRecorder(t.Context(), kafka, "x")
			if err == nil {
				defer r.close()
				if name == "read" {
					_, err = Deployments(t.Context(), kafka)
				} else {
					err = r.write(t.Context(), &Deployment{Name: "x"})
				}
			}
			if err == nil || !strings.Contains(err.Error(), "within 1m0s, waiting for "+x.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
