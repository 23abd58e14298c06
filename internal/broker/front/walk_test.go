package front

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The walker accepts each request that kmsg encodes, in each version, as a whole: the tables agree
// with kmsg. Without its last byte, or with a further one, it refuses the request.
func TestFormsAgreeWithKmsg(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for key, api := range served() {
		for version := api.from; version <= api.to; version++ {
			form := api.at(version)
			if r := randomRequest(rnd, key, version); r.IsFlexible() != form.flexible {
				t.Errorf("%s version %d: kmsg's flexible is %t", api.name, version, r.IsFlexible())
			}
			for range 50 {
				req := randomRequest(rnd, key, version)
				body := req.AppendTo(nil)
				if _, err := form.walk(body, 1000); err != nil {
					t.Fatalf("%s version %d: %v\n%x\n%+v", api.name, version, err, body, req)
				}
				if _, err := form.walk(append(body, 0), 1000); !errors.Is(err, errTrailing) {
					t.Fatalf("%s version %d with a further byte: %v", api.name, version, err)
				}
				if len(body) == 0 {
					continue
				}
				if _, err := form.walk(body[:len(body)-1], 1000); err == nil {
					t.Fatalf("%s version %d: accepted a truncated body", api.name, version)
				}
			}
		}
	}
}

// kmsg neither panics nor loops on a mutated request that the walker accepts. It may return an
// error: some strings and tags are not valid in it, and kfake closes the connection.
func TestKmsgParsesWhatTheWalkerAccepts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	accepted, parsed := 0, 0
	for key, api := range served() {
		for version := api.from; version <= api.to; version++ {
			for range 60 {
				body := mutate(rnd, randomRequest(rnd, key, version).AppendTo(nil))
				if rnd.IntN(2) == 0 {
					body = hostileTags(rnd, key, version)
				}
				if _, err := api.at(version).walk(body, 1000); err != nil {
					continue
				}
				accepted++
				req := kmsg.RequestForKey(key)
				req.SetVersion(version)
				began := time.Now()
				if req.ReadFrom(body) == nil {
					parsed++
				}
				if took := time.Since(began); took > time.Second {
					t.Fatalf("%s version %d: kmsg took %s\n%x", api.name, version, took, body)
				}
			}
		}
	}
	if parsed < 1000 || parsed < accepted/10*9 {
		t.Fatalf("kmsg parsed %d of %d mutated requests that the walker accepts", parsed, accepted)
	}
}

// hostileTags returns a request whose structs have small tags, which kmsg may know, with contents
// that end in a huge count.
func hostileTags(rnd *rand.Rand, key, version int16) []byte {
	req := randomRequest(rnd, key, version)
	eachTags(reflect.ValueOf(req).Elem(), func(t *kmsg.Tags) {
		content := append(make([]byte, rnd.IntN(20)), 0xff, 0xff, 0xff, 0xff, 0x0f)
		t.Set(rnd.Uint32N(4), content[rnd.IntN(6):])
	})
	return req.AppendTo(nil)
}

// mutate changes a few bytes, or cuts or extends the body.
func mutate(rnd *rand.Rand, body []byte) []byte {
	for range 1 + rnd.IntN(3) {
		switch n := len(body); {
		case n == 0 || rnd.IntN(8) == 0:
			body = append(body, byte(rnd.Uint32()))
		case rnd.IntN(8) == 0:
			body = body[:rnd.IntN(n)]
		case rnd.IntN(4) == 0: // counts and lengths of billions
			at := rnd.IntN(n)
			body = append(body[:at:at], append([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, body[at:]...)...)
		default:
			body[rnd.IntN(n)] = byte(rnd.Uint32())
		}
	}
	return body
}

func TestWalkerRefuses(t *testing.T) {
	tests := []struct {
		name    string
		program string
		flex    bool
		body    string
		want    error
	}{
		{"array of billions", "[(s)]", false, "\x7f\xff\xff\xff\x00\x00", errShort},
		{"compact array of billions", "[(s)]", true, "\xff\xff\xff\xff\x0f\x00", errShort},
		{"array longer than its elements could be", "[(8)]", false, "\x00\x00\x00\x02123456789012345", errShort},
		{"negative length", "s?", false, "\xff\xfe", errShort},
		{"null", "s", false, "\xff\xff", errNull},
		{"compact null", "s", true, "\x00\x00", errNull},
		{"null array", "[4]", true, "\x00\x00", errNull},
		{"tags of billions", "4", true, "1234\xff\xff\xff\xff\x0f", errShort},
		{"tag longer than the body", "4", true, "1234\x01\x05\x02a", errShort},
		{"tags out of order", "4", true, "1234\x02\x05\x00\x05\x00", errTag},
		{"tagged field shorter than its length", "<0:4>", true, "\x01\x00\x05\x31\x32\x33\x34\x35", errTag},
		{"tagged field longer than its length", "<0:4>", true, "\x01\x00\x03\x31\x32\x33", errShort},
		{"overlong number", "s", true, "\x80\x80\x80\x80\x80\x01", errVarint},
		{"number of 64 bits", "s", true, "\xff\xff\xff\xff\x7f", errVarint},
		{"more elements than allowed", "[1]", false, "\x00\x00\x00\x0512345", errItems},
		{"more tags than allowed", "", true, "\x05\x05\x00\x06\x00\x07\x00\x08\x00\x09\x00", errItems},
		{"trailing byte", "4", false, "12345", errTrailing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := compileAll([]form{{1, "Test", 0, 0, tt.flex, tt.program}})[1].at(0)
			if _, err := c.walk([]byte(tt.body), 4); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func BenchmarkWalkProduce(b *testing.B) {
	req := kmsg.NewPtrProduceRequest()
	req.Version = 12
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "readings"
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = make([]byte, 1<<20)
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	body, form := req.AppendTo(nil), served()[0].at(12)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := form.walk(body, 1000); err != nil {
			b.Fatal(err)
		}
	}
}
