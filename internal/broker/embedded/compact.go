package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kfake"
)

// kfake's compaction has two bugs that lose committed records.
//
// It removes the abort markers of producers that have no other records left, and still reports the
// transactions that these markers ended to readers. A reader drops the records of an aborted
// transaction's producer up to the marker: without the marker, that is everything that the producer
// commits later. So transactions without a marker are removed from kfake's memory in the same
// iteration of its loop.
//
// It deletes a partition's segments before it writes the compacted ones, and ignores errors while
// writing, such as a full disk. So each partition is compared with what the compaction should have
// written, and its old segments are restored if anything is missing.
//
// kfake's API supports neither. This code accesses its unexported fields by name and type, and Open
// fails if a new version of kfake has changed them.

// kfakeCompact compacts a partition. It must run in kfake's loop.
//
//go:linkname kfakeCompact github.com/twmb/franz-go/pkg/kfake.(*Cluster).compact
func kfakeCompact(c *kfake.Cluster, partition unsafe.Pointer, topic string)

// loop is kfake's event loop and the partitions that it owns.
type loop struct {
	cluster *kfake.Cluster
	run     chan func()
	die     chan struct{} // closed when the cluster stops
	topics  reflect.Value // map of topics to maps of partitions
	names   reflect.Value // map of topic ids to names
}

// abortedTransaction is kfake's abortedTxnEntry.
type abortedTransaction struct{ producerID, firstOffset, lastOffset int64 } //nolint:unused // kfake has them all

func openLoop(c *kfake.Cluster) (l *loop, err error) {
	defer catchUnknown(&err)
	v := reflect.ValueOf(c).Elem()
	run, ok := reach(v.FieldByName("adminCh")).Interface().(chan func())
	if !ok {
		return nil, errors.New("unsupported version of kfake: Cluster.adminCh has another type")
	}
	die, ok := reach(v.FieldByName("die")).Interface().(chan struct{})
	if !ok {
		return nil, errors.New("unsupported version of kfake: Cluster.die has another type")
	}
	l = &loop{cluster: c, run: run, die: die, topics: reach(v.FieldByName("data").FieldByName("tps")), names: reach(v.FieldByName("data").FieldByName("id2t"))}
	if names := l.names.Type(); !names.Key().ConvertibleTo(reflect.TypeFor[[16]byte]()) || names.Elem().Kind() != reflect.String {
		return nil, errors.New("unsupported version of kfake: data.id2t has another type")
	}
	partition := l.topics.Type().Elem().Elem().Elem()
	segment := field(partition, "segments").Elem()
	entry, index := field(partition, "abortedTxns").Elem(), field(segment, "index").Elem()
	for _, name := range compacts {
		field(partition, name)
	}
	for _, f := range []struct {
		of   reflect.Type
		name string
		kind reflect.Kind
	}{
		{partition, "nbytes", reflect.Int64}, {segment, "base", reflect.Int64}, {segment, "size", reflect.Int64},
		{index, "firstOffset", reflect.Int64}, {index, "nbytes", reflect.Int32},
	} {
		if field(f.of, f.name).Kind() != f.kind {
			return nil, fmt.Errorf("unsupported version of kfake: %s.%s has another type", f.of, f.name)
		}
	}
	want := reflect.TypeFor[abortedTransaction]()
	if entry.NumField() != want.NumField() {
		return nil, errors.New("unsupported version of kfake: abortedTxnEntry has other fields")
	}
	for i := range want.NumField() {
		if entry.Field(i).Name != want.Field(i).Name || entry.Field(i).Type != want.Field(i).Type {
			return nil, errors.New("unsupported version of kfake: abortedTxnEntry has other fields")
		}
	}
	return l, nil
}

// catchUnknown converts reflect's panic over a missing field into an error.
func catchUnknown(err *error) {
	if problem := recover(); problem != nil {
		*err = fmt.Errorf("unsupported version of kfake: %v", problem)
	}
}

func field(t reflect.Type, name string) reflect.Type {
	f, ok := t.FieldByName(name)
	if !ok {
		panic(fmt.Sprintf("%s has no field %s", t, name))
	}
	return f.Type
}

// reach returns an unexported field in a form that can be read and set.
func reach(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem() //nolint:gosec // that is what this file is for
}

// topicNames returns the names of all topics, by id.
func (l *loop) topicNames() map[[16]byte]string {
	all := make(map[[16]byte]string)
	l.do(func() {
		for each := l.names.MapRange(); each.Next(); {
			id := each.Key().Convert(reflect.TypeFor[[16]byte]()).Interface().([16]byte) //nolint:forcetypeassert // checked in openLoop
			all[id] = each.Value().String()
		}
	})
	return all
}

// do runs a function in kfake's loop and waits for it. It does nothing if the cluster is closed.
func (l *loop) do(fn func()) {
	done := make(chan struct{})
	select {
	case l.run <- func() { defer close(done); fn() }:
		<-done
	case <-l.die:
	}
}

// errOpenTransaction means that a partition is not compacted: a record of an open transaction would
// replace the committed value of its key, although the transaction may abort.
var errOpenTransaction = errors.New("a transaction stayed open: compaction is retried later")

// compact compacts a partition and forgets the transactions whose markers were removed. The
// partition's files must already be linked in links. If the compacted segments could not be
// written, the partition keeps the old ones. It returns errOpenTransaction, and changes nothing, if
// a transaction is open on the partition: requests are handled until the loop runs it.
func (l *loop) compact(at topicPartition, data, links string) (failed error) {
	l.do(func() {
		p := l.partition(at.topic, at.id)
		if !p.IsValid() {
			return // deleted meanwhile
		}
		if p.FieldByName("lastStableOffset").Int() < p.FieldByName("highWatermark").Int() {
			failed = errOpenTransaction
			return
		}
		saved := save(p)
		kfakeCompact(l.cluster, p.Addr().UnsafePointer(), at.topic)
		dir := partitionDir(data, at.topic, at.id)
		if failed = written(p, dir); failed != nil {
			if err := replaceFiles(filepath.Join(links, filepath.Base(dir)), dir); err != nil {
				// The links restore the segments when the directory is reopened; until then this
				// process must not serve the remains.
				panic(fmt.Sprintf("restore %s-%d after a failed compaction: %v; start weir again", at.topic, at.id, err))
			}
			saved.restore(p)
		}
		l.forget()
	})
	return failed
}

// partition returns kfake's partData, or the zero Value if there is none.
func (l *loop) partition(topic string, id int32) reflect.Value {
	partitions := l.topics.MapIndex(reflect.ValueOf(topic))
	if !partitions.IsValid() {
		return reflect.Value{}
	}
	p := partitions.MapIndex(reflect.ValueOf(id))
	if !p.IsValid() {
		return reflect.Value{}
	}
	return p.Elem()
}

// compacts lists the fields of a partition that a compaction changes, except open files, which it
// closes.
var compacts = []string{"segments", "nbytes", "logStartOffset", "abortedTxns", "maxTimestampSeen", "maxTimestampSeg", "rolledAt"}

// savedPartition holds the values of these fields from before a compaction, which replaces slices
// without modifying their elements.
type savedPartition map[string]reflect.Value

func save(p reflect.Value) savedPartition {
	saved := make(savedPartition)
	for _, name := range compacts {
		value := reach(p.FieldByName(name))
		saved[name] = reflect.New(value.Type()).Elem()
		saved[name].Set(value)
	}
	return saved
}

func (s savedPartition) restore(p reflect.Value) {
	for name, value := range s {
		reach(p.FieldByName(name)).Set(value)
	}
}

// written returns an error unless the segments in dir have all batches of the partition: kfake
// counts bytes before it writes them, and its index has the batches that were written.
func written(p reflect.Value, dir string) error {
	var indexed int64
	segments := p.FieldByName("segments")
	for i := range segments.Len() {
		segment := segments.Index(i)
		base, size, index := segment.FieldByName("base").Int(), segment.FieldByName("size").Int(), segment.FieldByName("index")
		for j := range index.Len() {
			indexed += index.Index(j).FieldByName("nbytes").Int()
		}
		files := &partition{dir: dir}
		for file, want := range map[string]int64{files.segment(base): size, files.index(base): int64(index.Len()) * indexEntrySize} {
			info, err := os.Stat(file)
			if err != nil {
				return err
			}
			if info.Size() != want {
				return fmt.Errorf("%s has %d bytes, expected %d: is the disk full?", filepath.Base(file), info.Size(), want)
			}
		}
	}
	if want := p.FieldByName("nbytes").Int(); indexed != want {
		return fmt.Errorf("%d bytes of %d were written: is the disk full?", indexed, want)
	}
	return nil
}

// forget must run in kfake's loop.
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

// batchOffsets returns the base offsets of a partition's batches.
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
