package embedded

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kfake"
)

// kfake's compaction takes the abort markers of producers that have no other records left, and goes on telling readers of the
// transactions that these markers end. A reader that is told of an aborted transaction drops what its producer
// has written from there on up to the marker: without one, all that the producer commits later, for ever. So what kfake
// remembers of transactions whose marker is gone is forgotten in the same turn of its loop.
//
// kfake has no way to do so from outside. This reaches into it, by name and type, and Open fails where a new version of kfake has
// others.

// kfakeCompactAll compacts all topics. It is for kfake's own loop.
//
//go:linkname kfakeCompactAll github.com/twmb/franz-go/pkg/kfake.(*Cluster).compactAll
func kfakeCompactAll(c *kfake.Cluster)

// loop is kfake's loop and the partitions that belong to it.
type loop struct {
	cluster *kfake.Cluster
	run     chan func()
	topics  reflect.Value // map of topics to maps of partitions
}

// abortedTransaction is kfake's abortedTxnEntry.
type abortedTransaction struct{ producerID, firstOffset, lastOffset int64 } //nolint:unused // kfake has them all

func openLoop(c *kfake.Cluster) (l *loop, err error) {
	defer func() { // reflect panics where a field is not there
		if problem := recover(); problem != nil {
			err = fmt.Errorf("this version of kfake is not the one that weir knows: %v", problem)
		}
	}()
	v := reflect.ValueOf(c).Elem()
	run, ok := reach(v.FieldByName("adminCh")).Interface().(chan func())
	if !ok {
		return nil, errors.New("this version of kfake is not the one that weir knows: Cluster.adminCh has another type")
	}
	l = &loop{cluster: c, run: run, topics: reach(v.FieldByName("data").FieldByName("tps"))}
	partition := l.topics.Type().Elem().Elem().Elem()
	entry, index := field(partition, "abortedTxns").Elem(), field(field(partition, "segments").Elem(), "index").Elem()
	if field(index, "firstOffset").Kind() != reflect.Int64 {
		return nil, errors.New("this version of kfake is not the one that weir knows: batchMeta.firstOffset has another type")
	}
	want := reflect.TypeFor[abortedTransaction]()
	if entry.NumField() != want.NumField() {
		return nil, errors.New("this version of kfake is not the one that weir knows: abortedTxnEntry has other fields")
	}
	for i := range want.NumField() {
		if entry.Field(i).Name != want.Field(i).Name || entry.Field(i).Type != want.Field(i).Type {
			return nil, errors.New("this version of kfake is not the one that weir knows: abortedTxnEntry has other fields")
		}
	}
	return l, nil
}

func field(t reflect.Type, name string) reflect.Type {
	f, ok := t.FieldByName(name)
	if !ok {
		panic(fmt.Sprintf("%s has no field %s", t, name))
	}
	return f.Type
}

// reach makes a field of kfake's usable.
func reach(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem() //nolint:gosec // that is what this file is for
}

// do runs a function in kfake's loop and waits for its end.
func (l *loop) do(fn func()) {
	done := make(chan struct{})
	l.run <- func() { defer close(done); fn() }
	<-done
}

// compact compacts all topics and forgets the transactions whose markers that has taken.
func (l *loop) compact() {
	l.do(func() {
		kfakeCompactAll(l.cluster)
		l.forget()
	})
}

// forget is for kfake's loop.
func (l *loop) forget() {
	for _, topic := range l.topics.MapKeys() {
		partitions := l.topics.MapIndex(topic)
		for _, id := range partitions.MapKeys() {
			p := partitions.MapIndex(id).Elem()
			entries := reach(p.FieldByName("abortedTxns"))
			aborted := (*[]abortedTransaction)(entries.Addr().UnsafePointer())
			if len(*aborted) > 0 {
				at := batchOffsets(p)
				*aborted = slices.DeleteFunc(*aborted, func(a abortedTransaction) bool { return !at[a.lastOffset] })
			}
		}
	}
}

// batchOffsets are the first offsets of a partition's batches.
func batchOffsets(partition reflect.Value) map[int64]bool {
	at := make(map[int64]bool)
	segments := partition.FieldByName("segments")
	for i := range segments.Len() {
		index := segments.Index(i).FieldByName("index")
		for j := range index.Len() {
			at[index.Index(j).FieldByName("firstOffset").Int()] = true
		}
	}
	return at
}
