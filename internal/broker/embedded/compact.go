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

// kfake's compaction has two faults that lose committed records.
//
// It removes the abort markers of producers that have no other records left, and keeps telling
// readers about the transactions that these markers ended. A reader that knows of an aborted
// transaction drops what its producer has written from there up to the marker: without the marker,
// that is everything that the producer commits later. So what kfake remembers of transactions
// without a marker is forgotten in the same turn of its loop.
//
// It deletes a partition's segments before it writes the compacted ones, and ignores what fails
// then, as on a full disk. So each partition is compared with what the compaction meant to write,
// and gets its old segments back where something is missing.
//
// kfake has no way to do either from outside. This reaches into it, by name and type, and Open
// fails where a new version of kfake has others.

// kfakeCompact compacts a partition. It is for kfake's own loop.
//
//go:linkname kfakeCompact github.com/twmb/franz-go/pkg/kfake.(*Cluster).compact
func kfakeCompact(c *kfake.Cluster, partition unsafe.Pointer, topic string)

// loop is kfake's loop and the partitions that belong to it.
type loop struct {
	cluster *kfake.Cluster
	run     chan func()
	die     chan struct{} // closed when the cluster ends
	topics  reflect.Value // map of topics to maps of partitions
}

// abortedTransaction is kfake's abortedTxnEntry.
type abortedTransaction struct{ producerID, firstOffset, lastOffset int64 } //nolint:unused // kfake has them all

func openLoop(c *kfake.Cluster) (l *loop, err error) {
	defer catchUnknown(&err)
	v := reflect.ValueOf(c).Elem()
	run, ok := reach(v.FieldByName("adminCh")).Interface().(chan func())
	if !ok {
		return nil, errors.New("this version of kfake is not the one that weir knows: Cluster.adminCh has another type")
	}
	die, ok := reach(v.FieldByName("die")).Interface().(chan struct{})
	if !ok {
		return nil, errors.New("this version of kfake is not the one that weir knows: Cluster.die has another type")
	}
	l = &loop{cluster: c, run: run, die: die, topics: reach(v.FieldByName("data").FieldByName("tps"))}
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
			return nil, fmt.Errorf("this version of kfake is not the one that weir knows: %s.%s has another type", f.of, f.name)
		}
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

// catchUnknown turns the panic of reflect where a field is not there into an error.
func catchUnknown(err *error) {
	if problem := recover(); problem != nil {
		*err = fmt.Errorf("this version of kfake is not the one that weir knows: %v", problem)
	}
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

// do runs a function in kfake's loop and waits for its end. It does not where the cluster is
// closed.
func (l *loop) do(fn func()) {
	done := make(chan struct{})
	select {
	case l.run <- func() { defer close(done); fn() }:
		<-done
	case <-l.die:
	}
}

// compact compacts topics and forgets the transactions whose markers that has removed. Before, the
// files of the topics' partitions must have been linked in links. A partition that could not be
// written has its old segments again; the error names the first one.
func (l *loop) compact(topics []topicState, data, links string) (failed error) {
	l.do(func() {
		for _, t := range topics {
			for id := range t.Partitions {
				p := l.partition(t.Name, id)
				if !p.IsValid() {
					continue // deleted meanwhile
				}
				saved := save(p)
				kfakeCompact(l.cluster, p.Addr().UnsafePointer(), t.Name)
				dir := partitionDir(data, t.Name, id)
				err := written(p, dir)
				if err == nil {
					continue
				}
				if failed == nil {
					failed = fmt.Errorf("compact %s-%d: %w", t.Name, id, err)
				}
				if err := replaceFiles(filepath.Join(links, filepath.Base(dir)), dir); err != nil {
					// The links bring the segments back when the directory is opened again; until
					// then this process must not serve what is left.
					panic(fmt.Sprintf("restore %s-%d after a failed compaction: %v; start weir again", t.Name, id, err))
				}
				saved.restore(p)
			}
		}
		l.forget()
	})
	return failed
}

// partition returns kfake's partData; the zero Value where there is none.
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

// compacts are the fields of a partition that a compaction changes, but for open files, which it
// closes.
var compacts = []string{"segments", "nbytes", "logStartOffset", "abortedTxns", "maxTimestampSeen", "maxTimestampSeg", "rolledAt"}

// savedPartition has the values of these fields before a compaction, which replaces slices and
// leaves their elements as they are.
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

// written reports whether the segments in dir have all batches that a partition should have: kfake
// counts the bytes before it writes them, and has the batches in its index that were written.
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
				return fmt.Errorf("%s has %d bytes, expected %d: no room on the disk?", filepath.Base(file), info.Size(), want)
			}
		}
	}
	if want := p.FieldByName("nbytes").Int(); indexed != want {
		return fmt.Errorf("%d bytes of %d were written: no room on the disk?", indexed, want)
	}
	return nil
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
