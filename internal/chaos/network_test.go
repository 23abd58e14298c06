package chaos

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// request returns a frame with a Kafka request header.
func request(key kmsg.Key, n uint32) []byte {
	frame := binary.BigEndian.AppendUint32(nil, 12)
	frame = binary.BigEndian.AppendUint16(frame, uint16(key)) //nolint:gosec // small
	frame = binary.BigEndian.AppendUint16(frame, 0)
	frame = binary.BigEndian.AppendUint32(frame, n)
	return append(frame, "body"...)
}

// An EndTxn is held until it is released, even if its client has given up by then. Earlier requests
// and other connections are not affected.
func TestHolderHoldsEndTxn(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	h, err := newHolder(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.close() }()
	dial := func() (client, at net.Conn) {
		client, err := net.Dial("tcp", h.addr())
		if err != nil {
			t.Fatal(err)
		}
		at, err = server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = at.SetDeadline(time.Now().Add(10 * time.Second))
		return client, at
	}
	send := func(c net.Conn, frame []byte) {
		if _, err := c.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(at net.Conn, frame []byte) {
		t.Helper()
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(at, got); err != nil || !bytes.Equal(got, frame) {
			t.Fatalf("the broker gets %x, %v, expected %x", got, err, frame)
		}
	}
	first, atFirst := dial()
	other, atOther := dial()
	defer other.Close()
	one := h.arm()
	send(first, request(kmsg.Produce, 1))
	send(first, request(kmsg.EndTxn, 2))
	expect(atFirst, request(kmsg.Produce, 1))
	<-one.met
	send(other, request(kmsg.EndTxn, 3)) // only one is held
	expect(atOther, request(kmsg.EndTxn, 3))
	select {
	case <-one.gone:
		t.Fatal("the holder reports that the client has given up, but it has not")
	default:
	}
	_ = atFirst.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := atFirst.Read(make([]byte, 1)); err == nil {
		t.Fatalf("the broker gets %d bytes of what is held back", n)
	}
	_ = atFirst.SetReadDeadline(time.Now().Add(10 * time.Second))
	_ = first.Close()
	<-one.gone
	h.release()
	expect(atFirst, request(kmsg.EndTxn, 2))
}
