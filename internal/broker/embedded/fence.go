package embedded

import (
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
	producers *producers
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
	p, err := newProducers(l)
	if err != nil {
		return nil, err
	}
	return &Fence{producers: p}, nil
}

// OnRequest rejects requests of fenced producers. Call it in control functions of the cluster, for
// requests that the cluster handles next.
func (f *Fence) OnRequest(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	switch req := kreq.(type) {
	case *kmsg.InitProducerIDRequest:
		claim := f.claim(req)
		if claim.refused {
			return refuseInit(req, kerr.ProducerFenced), nil, true
		}
		f.admit(claim)
	case *kmsg.ProduceRequest:
		if f.isStale(req) {
			return refuseProduce(req, kerr.InvalidProducerEpoch), nil, true
		}
	}
	return nil, nil, false
}

func refuseInit(req *kmsg.InitProducerIDRequest, err *kerr.Error) *kmsg.InitProducerIDResponse {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = err.Code, -1, -1
	return resp
}

// claim describes what an InitProducerID does to the producer that has the transactional id.
type claim struct {
	refused  bool         // its sender is fenced
	takeover bool         // its sender is another producer
	holder   liveProducer // who has the id; zero if it is unused, or if the broker rejects the request
	timeout  int32        // of the sender's transactions, milliseconds
}

func (f *Fence) claim(req *kmsg.InitProducerIDRequest) claim {
	if req.TransactionalID == nil || *req.TransactionalID == "" ||
		req.TransactionTimeoutMillis <= 0 || req.TransactionTimeoutMillis > kfakeMaxTimeout(f.producers.loop.cluster) {
		return claim{} // kfake rejects the timeout, and the older producer keeps its id
	}
	if req.ProducerID < 0 || req.ProducerEpoch < 0 {
		holder, ok := f.producers.withTransactionalID(*req.TransactionalID)
		return claim{takeover: ok, holder: holder, timeout: req.TransactionTimeoutMillis}
	}
	// KIP-360: kfake finds the producer by its id.
	holder, ok := f.producers.withID(req.ProducerID)
	if !ok || req.ProducerEpoch > holder.epoch {
		return claim{} // kfake rejects it
	}
	of, ok := f.producers.withTransactionalID(*req.TransactionalID)
	if ok && of.id == req.ProducerID && int(req.ProducerEpoch) < int(holder.epoch)-1 {
		return claim{refused: true}
	}
	if !ok || of.id != req.ProducerID {
		return claim{holder: holder, timeout: holder.timeout()}
	}
	return claim{holder: holder, timeout: req.TransactionTimeoutMillis}
}

// nextEpoch is the epoch of the producer once the broker has handled the claim.
func (c *claim) nextEpoch() int16 {
	step := 1
	if c.takeover {
		step = 2
	}
	return int16(min(int(c.holder.epoch)+step, maxEpoch)) //nolint:gosec // bounded
}

// admit raises the epoch if the sender takes the id over from another producer, and sets the
// timeout of the sender's transactions, which kfake sets for new ids only.
func (f *Fence) admit(c claim) {
	if !c.holder.state.IsValid() {
		return
	}
	f.producers.loop.do(func() {
		reach(c.holder.state.FieldByName("txTimeout")).SetInt(int64(c.timeout))
		if c.takeover && c.holder.epoch < maxEpoch-1 { // at which kfake assigns a new producer id
			reach(c.holder.state.FieldByName("epoch")).SetInt(int64(c.holder.epoch) + 1)
		}
	})
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
	holder, ok := f.producers.withID(of.id)
	return ok && of.epoch < holder.epoch
}
