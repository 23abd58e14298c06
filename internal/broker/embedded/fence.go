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

// Fence keeps the older producers of a transactional id out of the newer one's transactions, as
// Kafka does and kfake does not.
//
// kfake raises the epoch of a transactional id by one when a newer producer takes it, and also when
// it ends a transaction (KIP-890) or aborts one that took too long. So it mistakes a takeover for
// the end of the older producer's transaction:
//
//   - The older one's EndTxn looks repeated. kfake answers an abort with the epoch of the newer
//     producer, so that both have the same one, and a commit with INVALID_TXN_STATE, after which a
//     client takes the id back.
//   - An InitProducerID with the older one's epoch, which is how a client recovers from an abort
//     (KIP-360), takes the id back as well.
//
// Here a takeover raises the epoch by two. Whatever is two epochs behind is then of an older
// producer, and what is one behind is a repetition or a recovery, also after a restart, since
// pids.log has the epoch. Kafka raises it by two as well where it has to abort a transaction of the
// older producer, and answers PRODUCER_FENCED either way.
//
// Batches of an older producer are refused before kfake sees them: it would begin a transaction of
// the newer producer before it looks at the epoch, and the timeout of that transaction would fence
// the newer producer.
type Fence struct {
	loop *loop
	byID reflect.Value // producer ids to *pidinfo
	byTx reflect.Value // transactional ids to *pidinfo
}

// kfakeMaxTimeout is transaction.max.timeout.ms.
//
//go:linkname kfakeMaxTimeout github.com/twmb/franz-go/pkg/kfake.(*Cluster).transactionMaxTimeoutMs
func kfakeMaxTimeout(c *kfake.Cluster) int32

// NewFence returns the fence of a cluster. The error says that this version of kfake is unknown.
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
		return nil, errors.New("this version of kfake is not the one that weir knows: pidinfo has other fields")
	}
	return f, nil
}

// OnRequest answers requests of producers that are fenced. It is for control functions of the
// cluster, and for requests that the cluster handles next.
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

// admits reports whether a producer may have a transactional id, and raises the epoch where it
// takes the id from another one.
func (f *Fence) admits(req *kmsg.InitProducerIDRequest) bool {
	if req.TransactionalID == nil || req.TransactionTimeoutMillis <= 0 || req.TransactionTimeoutMillis > kfakeMaxTimeout(f.loop.cluster) {
		return true // kfake refuses the timeout, and the older producer keeps its id
	}
	admitted := true
	f.loop.do(func() {
		id, epoch := lifeOf(f.byTx, *req.TransactionalID)
		switch {
		case !epoch.IsValid(): // nobody has it
		case req.ProducerID < 0 || req.ProducerEpoch < 0:
			if epoch.Int() < math.MaxInt16-1 { // at which kfake gives out another producer id
				epoch.SetInt(epoch.Int() + 1)
			}
		case req.ProducerID == id:
			admitted = int64(req.ProducerEpoch) >= epoch.Int()-1
		}
	})
	return admitted
}

// isStale reports whether the batches of a transaction are of an older producer.
func (f *Fence) isStale(req *kmsg.ProduceRequest) bool {
	if req.TransactionID == nil || req.Acks == 0 { // the latter gets no answer
		return false
	}
	of, ok := producerOf(req)
	if !ok {
		return false
	}
	_, epoch := lifeOf(f.byID, of.id)
	return epoch.IsValid() && int64(of.epoch) < epoch.Int()
}

// lifeOf returns the producer id and the epoch, which can be set, of a producer in one of kfake's
// maps; the zero Value where it is not there.
func lifeOf(producers reflect.Value, key any) (id int64, epoch reflect.Value) {
	p := producers.MapIndex(reflect.ValueOf(key))
	if !p.IsValid() {
		return 0, reflect.Value{}
	}
	return p.Elem().FieldByName("id").Int(), reach(p.Elem().FieldByName("epoch"))
}
