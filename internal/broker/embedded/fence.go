package embedded

import (
	"errors"
	"math"
	"reflect"
	_ "unsafe" // for go:linkname

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fence keeps older producers of a transactional id out of the newer one's transactions, as Kafka
// does and kfake does not.
//
// kfake increments the epoch of a transactional id when a newer producer acquires it, and also when
// it ends a transaction (KIP-890) or aborts one that timed out. So it mistakes a takeover for the
// end of the older producer's transaction:
//
//   - The older one's EndTxn looks like a retry. kfake answers an abort with the epoch of the newer
//     producer, so that both have the same epoch, and a commit with INVALID_TXN_STATE, after which
//     a client takes the id back.
//   - An InitProducerID with the older one's epoch, by which a client recovers from an abort
//     (KIP-360), takes the id back as well.
//
// Here, a takeover raises the epoch by two. A request that is two epochs behind is then from an
// older producer, and a request that is one epoch behind is a retry or a recovery. This also works
// after a restart, since pids.log has the epoch. Kafka also raises it by two if it has to abort a
// transaction of the older producer, and returns PRODUCER_FENCED either way.
//
// Batches of an older producer are rejected before kfake receives them: it would begin a
// transaction of the newer producer before it checks the epoch, and the timeout of that transaction
// would fence the newer producer.
type Fence struct {
	loop *loop
	byID reflect.Value // producer ids to *pidinfo
	byTx reflect.Value // transactional ids to *pidinfo
}

// kfakeMaxTimeout is transaction.max.timeout.ms.
//
//go:linkname kfakeMaxTimeout github.com/twmb/franz-go/pkg/kfake.(*Cluster).transactionMaxTimeoutMs
func kfakeMaxTimeout(c *kfake.Cluster) int32

// NewFence returns the fence of a cluster, or an error if this version of kfake is unsupported.
func NewFence(c *kfake.Cluster) (*Fence, error) {
	l, err := openLoop(c)
	if err != nil {
		return nil, err
	}
	return newFence(l)
}

func newFence(l *loop) (f *Fence, err error) {
	defer catchUnknown(&err)
	pids := reflect.ValueOf(l.cluster).Elem().FieldByName("pids")
	f = &Fence{loop: l, byID: reach(pids.FieldByName("ids")), byTx: reach(pids.FieldByName("byTxid"))}
	info := f.byID.Type().Elem()
	if f.byTx.Type().Elem() != info || field(info.Elem(), "id").Kind() != reflect.Int64 || field(info.Elem(), "epoch").Kind() != reflect.Int16 {
		return nil, errors.New("unsupported version of kfake: pidinfo has other fields")
	}
	return f, nil
}

// OnRequest rejects requests of fenced producers. Call it in control functions of the cluster, for
// requests that the cluster handles next.
func (f *Fence) OnRequest(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	switch req := kreq.(type) {
	case *kmsg.InitProducerIDRequest:
		if f.admits(req) {
			break
		}
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = kerr.ProducerFenced.Code, -1, -1
		return resp, nil, true
	case *kmsg.ProduceRequest:
		if f.isStale(req) {
			return refuseProduce(req, kerr.InvalidProducerEpoch), nil, true
		}
	}
	return nil, nil, false
}

// admits reports whether a producer may acquire a transactional id, and raises the epoch if it
// takes the id over from another one.
func (f *Fence) admits(req *kmsg.InitProducerIDRequest) bool {
	if req.TransactionalID == nil || req.TransactionTimeoutMillis <= 0 || req.TransactionTimeoutMillis > kfakeMaxTimeout(f.loop.cluster) {
		return true // kfake rejects the timeout, and the older producer keeps its id
	}
	admitted := true
	f.loop.do(func() {
		id, epoch := lifeOf(f.byTx, *req.TransactionalID)
		switch {
		case !epoch.IsValid(): // the id is unused
		case req.ProducerID < 0 || req.ProducerEpoch < 0:
			if epoch.Int() < math.MaxInt16-1 { // at which kfake assigns a new producer id
				epoch.SetInt(epoch.Int() + 1)
			}
		case req.ProducerID == id:
			admitted = int64(req.ProducerEpoch) >= epoch.Int()-1
		}
	})
	return admitted
}

// isStale reports whether the batches are from an older producer of a transactional id.
func (f *Fence) isStale(req *kmsg.ProduceRequest) bool {
	if req.TransactionID == nil || req.Acks == 0 { // acks=0 gets no response
		return false
	}
	of, ok := producerOf(req)
	if !ok {
		return false
	}
	_, epoch := lifeOf(f.byID, of.id)
	return epoch.IsValid() && int64(of.epoch) < epoch.Int()
}

// lifeOf returns the id and the settable epoch of a producer in one of kfake's maps, or the zero
// Value if it is missing.
func lifeOf(producers reflect.Value, key any) (id int64, epoch reflect.Value) {
	p := producers.MapIndex(reflect.ValueOf(key))
	if !p.IsValid() {
		return 0, reflect.Value{}
	}
	return p.Elem().FieldByName("id").Int(), reach(p.Elem().FieldByName("epoch"))
}
