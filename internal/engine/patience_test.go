package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/broker"
)

// One of several brokers may be down while a pipeline starts; if none answers, the start fails at
// once.
func TestPatienceWithBrokers(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	p := newPipeline(Config{}.withDefaults())
	for _, c := range []struct {
		err     error
		patient bool
	}{
		{fmt.Errorf("fetch offsets of group g: unable to dial: %w", refused), true},
		{fmt.Errorf("list topics: %w", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}), true},
		{fmt.Errorf("describe group: %w", kerr.CoordinatorNotAvailable), true},
		{fmt.Errorf("list topics: %w", io.EOF), true},
		{&broker.UnreachableError{Brokers: []string{"b:9092"}, Err: refused}, false},
		{fmt.Errorf("list topics: %w", kerr.TopicAuthorizationFailed), false},
		{errors.New("the plan does not fit"), false},
	} {
		if got := p.patience(c.err) > 0; got != c.patient {
			t.Errorf("%v: patient %t, want %t", c.err, got, c.patient)
		}
	}
}
