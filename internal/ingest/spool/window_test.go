package spool

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"weir.example/weir/reading"
)

// A broker may send tens of thousands of messages before it sees an acknowledgement, and loses the
// acknowledgements that it has not read when the connection breaks: all of them are recognised when
// they come again, also after a restart.
func TestManyDeliveriesOfABroker(t *testing.T) {
	const messages = 30_000
	cfg := Config{Dir: t.TempDir()}
	send := func(again bool) (repeated int) {
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for n := range messages {
			d := &Delivery{Session: FromBroker + "127.0.0.1:1883/weir", Packet: uint16(n + 1), Again: again} //nolint:gosec // less than 65,536
			binary.BigEndian.PutUint64(d.Digest[:], uint64(n))                                               //nolint:gosec // not negative
			all.Add(1)
			s.Append(&Entry{Readings: []reading.Reading{{DeviceID: "d", Sensor: fmt.Sprint(n)}}, Delivery: d}, func(r Receipt, err error) {
				if err != nil {
					t.Error(err)
				}
				if r.Repeated {
					repeated++
				}
				all.Done()
			})
		}
		all.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return repeated
	}
	if n := send(false); n != 0 {
		t.Fatalf("%d new messages are taken for repeats", n)
	}
	if n := send(true); n != messages {
		t.Errorf("%d of %d repeats are recognised", n, messages)
	}
}
