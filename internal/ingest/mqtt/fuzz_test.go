package mqtt

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Packets are followed in the same way however they are divided into reads.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x10\x02ab\x30\x80\x01"))
	f.Add([]byte("\x30\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, parts := frames{max: 200}, frames{max: 200}
		open, err := whole.scan(data)
		var open2 int64
		var err2 error
		for i := 0; i < len(data) && err2 == nil; i++ {
			open2, err2 = parts.scan(data[i : i+1])
		}
		if open != open2 || err != err2 || whole != parts { //nolint:errorlint // never wrapped
			t.Fatalf("at once %d, %v, %+v; byte by byte %d, %v, %+v", open, err, whole, open2, err2, parts)
		}
		first, err := readConnect(bytes.NewReader(data))
		if err == nil && !bytes.HasPrefix(data, first) {
			t.Fatalf("CONNECT %q of %q", first, data)
		}
	})
}

// Whatever a client sends, its connection ends without a fault, and the next client is served.
func FuzzConnection(f *testing.F) {
	connect := func(version byte) []byte {
		var b bytes.Buffer
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: version, Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), Clean: true, ClientIdentifier: "fuzz", Keepalive: 60,
		}}
		if err := pk.ConnectEncode(&b); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	f.Add(true, []byte("\x32\x0d\x00\x06site/d\x00\x011x"))
	f.Add(false, []byte("\x82\x0b\x00\x01\x00\x06site/#\x01\xe0\x00"))
	f.Add(true, []byte("\x82\x0c\x00\x01\x00\x00\x06site/#\x01\x30\x0b\x00\x06site/d\x03\x23\x00\x011"))
	f.Add(true, []byte("\xa2\x0b\x00\x01\x00\x00\x06site/#\xc0\x00\xf0\x00\x40\x02\x00\x01\x62\x02\x00\x01"))
	w := &world{TB: f, dir: f.TempDir()} // for all inputs
	w.start()
	f.Cleanup(func() { w.stop() })
	<-w.b.listener.serving // the connections below don't pass through accept
	f.Fuzz(func(t *testing.T, five bool, data []byte) {
		version := byte(4)
		if five {
			version = 5
		}
		mine, theirs := net.Pipe()
		l := w.b.listener
		l.unknown.Add(1)
		ended := make(chan struct{})
		go func() { defer close(ended); l.serve(theirs) }()
		go func() { _, _ = io.Copy(io.Discard, mine) }()
		_ = mine.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = mine.Write(append(connect(version), data...)) // the broker may end the connection
		_ = mine.Close()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatal("the connection does not end")
		}
		if text := w.log.String(); strings.Contains(text, "has failed") {
			t.Fatal(text)
		}
	})
}
