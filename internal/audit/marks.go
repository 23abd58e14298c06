package audit

import (
	"bytes"
	"math"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// headerTx marks the records of a transaction: id/ordinal/count, where id is the transactional id,
// ordinal counts the transactions of the id, and count is the number of records with this mark.
const headerTx = "weir-tx"

// marks counts the records of marked transactions (C3). A transaction is torn if the number of its
// records differs from its mark.
type marks struct {
	report    *Report
	open      map[mark]*tally     // incomplete
	completed map[string]*seqSet  // ordinals of the complete ones
	surplus   map[mark]struct{}   // complete ones with extra records, and malformed marks
	truncated []int32             // partitions whose beginning has been deleted
	earliest  map[deletable]int64 // lowest ordinal seen on a truncated partition
}

type mark struct {
	id      string
	ordinal int64
}

// tally counts the records of one transaction; partition and offset locate the first one.
type tally struct {
	count, seen int64
	partition   int32
	offset      int64
	conflict    bool // its marks disagree on the count
}

// deletable identifies a transactional id on a truncated partition.
type deletable struct {
	id        string
	partition int32
}

func newMarks(report *Report, truncated []int32) *marks {
	return &marks{
		report: report, truncated: truncated,
		open: make(map[mark]*tally), completed: make(map[string]*seqSet),
		surplus: make(map[mark]struct{}), earliest: make(map[deletable]int64),
	}
}

// record adds a record of the first read.
func (m *marks) record(r *kgo.Record) {
	text := header(r, headerTx)
	if text == nil {
		return
	}
	k, count, ok := parseMark(text)
	if !ok {
		k = mark{id: string(text), ordinal: -1}
		m.over(k, r, "malformed mark, expected id/ordinal/count")
		return
	}
	for _, id := range m.truncated {
		if at := (deletable{k.id, id}); id == r.Partition {
			if lowest, known := m.earliest[at]; !known || k.ordinal < lowest {
				m.earliest[at] = k.ordinal
			}
		}
	}
	if done := m.completed[k.id]; done != nil && done.has(k.ordinal) {
		m.over(k, r, "it has more records than its mark says")
		return
	}
	m.tally(k, count, r)
}

// complete adds a record after the end of the first read, for incomplete transactions only.
func (m *marks) complete(r *kgo.Record) {
	if k, count, ok := parseMark(header(r, headerTx)); ok && m.open[k] != nil {
		m.tally(k, count, r)
	}
}

func (m *marks) tally(k mark, count int64, r *kgo.Record) {
	t := m.open[k]
	if t == nil {
		t = &tally{count: count, partition: r.Partition, offset: r.Offset}
		m.open[k] = t
	}
	t.seen++
	t.conflict = t.conflict || t.count != count
	if t.seen == t.count && !t.conflict {
		delete(m.open, k)
		if m.completed[k.id] == nil {
			m.completed[k.id] = &seqSet{}
		}
		m.completed[k.id].add(k.ordinal)
		m.report.Transactions++
	}
}

func (m *marks) over(k mark, r *kgo.Record, why string) {
	if _, known := m.surplus[k]; known {
		return
	}
	m.surplus[k] = struct{}{}
	m.report.Torn++
	m.report.find("C3", "torn", "transaction %s/%d at partition %d offset %d: %s", k.id, k.ordinal, r.Partition, r.Offset, why)
}

// finish reports incomplete transactions, except those that may have been deleted in part with the
// beginning of a partition or that an open transaction may hide in part.
func (m *marks) finish(blocked bool) {
	for k, t := range m.open {
		if blocked && t.seen < t.count && !t.conflict {
			m.report.HiddenTransactions++
			continue
		}
		if t.seen < t.count && !t.conflict && m.mayBeDeleted(k) {
			continue
		}
		m.report.Transactions++
		m.report.Torn++
		m.report.find("C3", "torn", "transaction %s/%d, first at partition %d offset %d: %d of %d records found",
			k.id, k.ordinal, t.partition, t.offset, t.seen, t.count)
	}
}

// mayBeDeleted reports whether a truncated partition may have had records of a transaction. It
// can't if it still has an earlier transaction of the same id.
func (m *marks) mayBeDeleted(k mark) bool {
	for _, id := range m.truncated {
		lowest, known := m.earliest[deletable{k.id, id}]
		if !known || lowest >= k.ordinal {
			return true
		}
	}
	return false
}

// parseMark parses id/ordinal/count; the id may contain slashes.
func parseMark(text []byte) (k mark, count int64, ok bool) {
	last := bytes.LastIndexByte(text, '/')
	if last < 1 {
		return k, 0, false
	}
	middle := bytes.LastIndexByte(text[:last], '/')
	if middle < 1 {
		return k, 0, false
	}
	ordinal, err := strconv.ParseInt(string(text[middle+1:last]), 10, 64)
	count, err2 := strconv.ParseInt(string(text[last+1:]), 10, 64)
	if err != nil || err2 != nil || ordinal < 0 || ordinal == math.MaxInt64 || count < 1 {
		return k, 0, false
	}
	return mark{string(text[:middle]), ordinal}, count, true
}

// header returns the last value of a header; nil without one.
func header(r *kgo.Record, key string) []byte {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			if r.Headers[i].Value == nil {
				return []byte{}
			}
			return r.Headers[i].Value
		}
	}
	return nil
}
