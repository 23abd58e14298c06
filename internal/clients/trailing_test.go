package clients

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bytes after the last field of a request are ignored: librdkafka 2.16 sends one in Metadata.
func TestTrailingBytes(t *testing.T) { sendTrailingBytes(t, serveEmbedded(t)) }

// The control of TestTrailingBytes.
func TestTrailingBytesOfKafka(t *testing.T) {
	needsAll(t)
	needsTools(t, "java", "mvn")
	sendTrailingBytes(t, realKafka(t))
}

func sendTrailingBytes(t *testing.T, c cluster) {
	t.Helper()
	createTopics(t, c, 1, "topic")
	topic := "topic"
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	offsets := kmsg.NewPtrListOffsetsRequest()
	offsets.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{CurrentLeaderEpoch: -1, Timestamp: -1}}}}
	for _, req := range []struct {
		kmsg.Request
		versions []int16 // one of the old form, and one of the flexible form; Kafka's ApiVersions v3 has features in random order
	}{{metadata, []int16{8, 12}}, {offsets, []int16{5, 7}}, {kmsg.NewPtrListGroupsRequest(), []int16{2, 4}}, {kmsg.NewPtrApiVersionsRequest(), []int16{2}}} {
		for _, version := range req.versions {
			req.SetVersion(version)
			frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req.Request, 7)
			want := exchange(t, c.Address(), frame)
			if want == nil {
				t.Fatalf("%s version %d: no answer", kmsg.NameForKey(req.Key()), version)
			}
			for _, trailing := range []string{"\x00", "\x01\x02\x03\x04\x05"} {
				longer := append(bytes.Clone(frame), trailing...)
				binary.BigEndian.PutUint32(longer, uint32(len(longer)-4)) //nolint:gosec // a few bytes
				if have := exchange(t, c.Address(), longer); !bytes.Equal(have, want) {
					t.Errorf("%s version %d with %d bytes too many: answer %x, want %x", kmsg.NameForKey(req.Key()), version, len(trailing), have, want)
				}
			}
		}
	}
}

// exchange sends a request on a new connection and returns the answer, or nil if the broker closes
// the connection.
func exchange(t *testing.T, addr string, frame []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(frame); err != nil {
		return nil
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil
	}
	return answer
}
