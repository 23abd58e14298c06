package embedded

import (
	"errors"
	"math"
	"reflect"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// producers gives access to kfake's producers. Only handlers and functions in kfake's loop may read
// them: kfake changes them between requests.
type producers struct {
	loop *loop
	pids reflect.Value // kfake's pids
	byID reflect.Value // producer ids to *pidinfo
	byTx reflect.Value // transactional ids to *pidinfo

	mayRead func(topic string) bool // whether the client of the current request may
}

// kfakeUpdateTimer aborts the transactions that have timed out and schedules the next timeout. It
// must run in kfake's loop.
//
//go:linkname kfakeUpdateTimer github.com/twmb/franz-go/pkg/kfake.(*pids).updateTimer
func kfakeUpdateTimer(pids unsafe.Pointer)

// maxEpoch is the highest epoch of a producer. A broker assigns a new producer id before it.
const maxEpoch = math.MaxInt16

func newProducers(l *loop) (p *producers, err error) {
	defer catchUnknown(&err)
	pids := reflect.ValueOf(l.cluster).Elem().FieldByName("pids")
	p = &producers{loop: l, pids: pids, byID: reach(pids.FieldByName("ids")), byTx: reach(pids.FieldByName("byTxid"))}
	info := p.byID.Type().Elem().Elem()
	if p.byTx.Type().Elem().Elem() != info || field(info, "id").Kind() != reflect.Int64 || field(info, "epoch").Kind() != reflect.Int16 ||
		field(info, "txid").Kind() != reflect.String || field(info, "txTimeout").Kind() != reflect.Int32 || field(info, "inTx").Kind() != reflect.Bool ||
		field(info, "txStart") != reflect.TypeFor[time.Time]() || field(info, "txParts") != l.topics.Type() {
		return nil, errors.New("unsupported version of kfake: pidinfo has other fields")
	}
	return p, checkWindows(info)
}

// liveProducer is the state of a producer in the running broker.
type liveProducer struct {
	producer
	transactionalID string // empty if it is only idempotent
	inTransaction   bool
	started         time.Time     // of the transaction
	state           reflect.Value // kfake's pidinfo
}

// timeout returns the timeout of the producer's transactions, in milliseconds.
func (p *liveProducer) timeout() int32 {
	return int32(p.state.FieldByName("txTimeout").Int()) //nolint:gosec // its type
}

func (p *producers) withID(id int64) (liveProducer, bool) { return find(p.byID, id) }

func (p *producers) withTransactionalID(id string) (liveProducer, bool) { return find(p.byTx, id) }

func find(in reflect.Value, key any) (liveProducer, bool) {
	found := in.MapIndex(reflect.ValueOf(key))
	if !found.IsValid() {
		return liveProducer{}, false
	}
	v := found.Elem()
	return liveProducer{
		producer:        producer{id: v.FieldByName("id").Int(), epoch: int16(v.FieldByName("epoch").Int())}, //nolint:gosec // its type
		transactionalID: v.FieldByName("txid").String(),
		inTransaction:   v.FieldByName("inTx").Bool(),
		started:         *(*time.Time)(v.FieldByName("txStart").Addr().UnsafePointer()),
		state:           v,
	}, true
}

// hasPartition reports whether a topic has a partition.
func (p *producers) hasPartition(topic string, id int32) bool {
	return p.loop.partition(topic, id).IsValid()
}

// restore completes the open transactions that kfake has loaded: it sets when they began, and adds
// the partitions without records, which kfake does not load. It then aborts those that have timed
// out while the broker was down, as kfake does with a running one: with the next epoch, so that
// their producers notice.
func (p *producers) restore(all []*transaction) {
	p.loop.do(func() {
		for _, t := range all {
			live, ok := p.withID(t.id)
			if !ok || live.epoch != t.epoch || !live.inTransaction {
				continue
			}
			reach(live.state.FieldByName("txStart")).Set(reflect.ValueOf(t.started()))
			added := reach(live.state.FieldByName("txParts"))
			if added.IsNil() {
				added.Set(reflect.MakeMap(added.Type()))
			}
			for at := range t.partitions {
				partition := p.loop.partition(at.topic, at.id)
				if !partition.IsValid() {
					continue // deleted since
				}
				of := added.MapIndex(reflect.ValueOf(at.topic))
				if !of.IsValid() {
					of = reflect.MakeMap(added.Type().Elem())
					added.SetMapIndex(reflect.ValueOf(at.topic), of)
				}
				of.SetMapIndex(reflect.ValueOf(at.id), partition.Addr())
			}
		}
		kfakeUpdateTimer(p.pids.Addr().UnsafePointer())
	})
}

// kfakeOpenProducers returns the producers with an open transaction that has a partition.
//
//go:linkname kfakeOpenProducers github.com/twmb/franz-go/pkg/kfake.(*pids).txnProducers
func kfakeOpenProducers(pids unsafe.Pointer, topic string, partition int32) []kmsg.DescribeProducersResponseTopicPartitionActiveProducer

//go:linkname kfakeUnstableOffsets github.com/twmb/franz-go/pkg/kfake.(*pids).hasUnstableOffsets
func kfakeUnstableOffsets(pids unsafe.Pointer, group string) bool

// unstable reports whether a transaction is open that commits offsets of a group.
func (p *producers) unstable(group string) (is bool) {
	p.loop.do(func() { is = kfakeUnstableOffsets(p.pids.Addr().UnsafePointer(), group) })
	return is
}

// onDescribeProducers answers from the partitions, as Kafka does. kfake asks the coordinator, which
// also has transactions without records in the partition, and those that an administrator has ended
// with WriteTxnMarkers.
func (p *producers) onDescribeProducers(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.DescribeProducersRequest)
	if !ok {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse) //nolint:forcetypeassert // kmsg pairs them
	allowed := make(map[string]bool)
	for _, t := range req.Topics {
		allowed[t.Topic] = p.mayRead(t.Topic)
	}
	p.loop.do(func() {
		for _, t := range req.Topics {
			topic := kmsg.NewDescribeProducersResponseTopic()
			topic.Topic = t.Topic
			for _, id := range t.Partitions {
				if !allowed[t.Topic] {
					refused := kmsg.NewDescribeProducersResponseTopicPartition()
					refused.Partition, refused.ErrorCode = id, kerr.TopicAuthorizationFailed.Code
					topic.Partitions = append(topic.Partitions, refused)
					continue
				}
				topic.Partitions = append(topic.Partitions, p.describe(t.Topic, id))
			}
			resp.Topics = append(resp.Topics, topic)
		}
	})
	return resp, nil, true
}

// describe must run in kfake's loop.
func (p *producers) describe(topic string, id int32) kmsg.DescribeProducersResponseTopicPartition {
	described := kmsg.NewDescribeProducersResponseTopicPartition()
	described.Partition = id
	partition := p.loop.partition(topic, id)
	if !partition.IsValid() {
		described.ErrorCode = kerr.UnknownTopicOrPartition.Code
		return described
	}
	open := partition.FieldByName("uncommittedPIDs")
	for _, producer := range kfakeOpenProducers(p.pids.Addr().UnsafePointer(), topic, id) {
		if open.MapIndex(reflect.ValueOf(producer.ProducerID)).IsValid() {
			described.ActiveProducers = append(described.ActiveProducers, producer)
		}
	}
	return described
}
