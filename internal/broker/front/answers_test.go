package front

import (
	"encoding/binary"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// plausible gives the strings and counts of a random request values that the broker knows.
func plausible(rnd *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				plausible(rnd, f)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			plausible(rnd, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			plausible(rnd, v.Index(i))
		}
	case reflect.String:
		names := []string{"topic", "group", "0", "consumer", "range", "cleanup.policy", "compact", "other"}
		v.SetString(names[rnd.IntN(len(names))])
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rnd.Int64N(5) - 1)
	}
}

// Answers have the form of Kafka's definitions: above all no null where Java's clients expect an
// array or a string.
func TestAnswersHaveKafkasForm(t *testing.T) {
	forms := compileAll(responseForms)
	addr, _ := serve(t, Limits{}, "topic", "other")
	produceMiB(t, addr, "topic", 1)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	seen := make(map[int16]int)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { c.Close() }()
	for _, key := range slices.Sorted(maps.Keys(served())) {
		api := served()[key]
		for version := api.from; version <= api.to; version++ {
			for range 12 {
				req := randomRequest(rnd, key, version)
				plausible(rnd, reflect.ValueOf(req).Elem())
				req.SetVersion(version)
				answer := exchange(t, c, req)
				if answer == nil {
					_ = c.Close() // the broker has closed it
					if c, err = net.Dial("tcp", addr); err != nil {
						t.Fatal(err)
					}
					continue
				}
				seen[key]++
				form := forms[key].at(version)
				if form == nil && key == 18 && version == 5 {
					form = forms[key].at(4)
				}
				if form.flexible && key != 18 {
					answer = answer[1:]
				}
				if _, err := form.walk(answer, 1e6); err != nil {
					t.Errorf("%s version %d: %v", api.name, version, err)
					break
				}
			}
		}
	}
	for key, api := range served() {
		if seen[key] == 0 {
			t.Errorf("no answer to %s", api.name)
		}
	}
}

// exchange returns the answer to a request, without size and correlation id; nil if there is none.
func exchange(t *testing.T, c net.Conn, req kmsg.Request) []byte {
	t.Helper()
	send(t, c, frame(req))
	if err := c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	return body
}
