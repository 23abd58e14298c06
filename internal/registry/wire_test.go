package registry_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"slices"
	"testing"

	"weir.example/weir/internal/registry"
)

func writePEM(t *testing.T, file string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHeader(t *testing.T) {
	b := append(registry.AppendHeader(nil, 0x01020304), "payload"...)
	if want := "\x00\x01\x02\x03\x04payload"; string(b) != want {
		t.Fatalf("got %q, want %q", b, want)
	}
	id, rest, err := registry.ReadHeader(b)
	if err != nil || id != 0x01020304 || string(rest) != "payload" {
		t.Errorf("got %d, %q, %v", id, rest, err)
	}
	for name, b := range map[string]string{
		"empty": "", "short": "\x00\x00\x00\x01", "JSON": `{"device_id":"a"}`, "id of 32 bits": "\x00\xff\xff\xff\xff",
	} {
		if _, _, err := registry.ReadHeader([]byte(b)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMessagePath(t *testing.T) {
	for _, c := range []struct {
		path []int
		wire string
	}{
		{[]int{0}, "\x00"},
		{[]int{1}, "\x02\x02"},
		{[]int{0, 0}, "\x04\x00\x00"},
		{[]int{1, 0, 70}, "\x06\x02\x00\x8c\x01"},
	} {
		if got := registry.AppendMessagePath(nil, c.path); string(got) != c.wire {
			t.Errorf("%v: got %q, want %q", c.path, got, c.wire)
		}
		got, rest, err := registry.ReadMessagePath(nil, []byte(c.wire+"rest"))
		if err != nil || !slices.Equal(got, c.path) || string(rest) != "rest" {
			t.Errorf("%q: got %v, %q, %v", c.wire, got, rest, err)
		}
	}
	// Readers must also accept the long form of the first message.
	if got, rest, err := registry.ReadMessagePath(nil, []byte("\x02\x00x")); err != nil || !slices.Equal(got, []int{0}) || string(rest) != "x" {
		t.Errorf("got %v, %q, %v", got, rest, err)
	}
	for name, b := range map[string]string{
		"empty": "", "negative count": "\x01", "huge count": "\xfe\xff\xff\xff\x0f", "cut off": "\x04\x00", "negative index": "\x02\x01",
		"endless varint": "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		if got, _, err := registry.ReadMessagePath(nil, []byte(b)); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01\x00payload"))
	f.Add([]byte("\x00\x00\x00\x00\x01\x06\x02\x00\x8c\x01payload"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, rest, err := registry.ReadHeader(b)
		if err != nil {
			return
		}
		if again := append(registry.AppendHeader(nil, id), rest...); !bytes.Equal(again, b) {
			t.Fatalf("%q becomes %q", b, again)
		}
		path, payload, err := registry.ReadMessagePath(nil, rest)
		if err != nil {
			return
		}
		again, left, err := registry.ReadMessagePath(nil, append(registry.AppendMessagePath(nil, path), payload...))
		if err != nil || !slices.Equal(again, path) || !bytes.Equal(left, payload) {
			t.Fatalf("%v %q becomes %v %q, %v", path, payload, again, left, err)
		}
	})
}

func TestSubject(t *testing.T) {
	for _, c := range []struct {
		strategy registry.Strategy
		key      bool
		want     string
	}{
		{registry.TopicName, true, "t-key"}, {registry.TopicName, false, "t-value"}, {"", false, "t-value"},
		{registry.RecordName, false, "weir.R"}, {registry.TopicRecordName, true, "t-weir.R"},
	} {
		if got, err := c.strategy.Subject("t", "weir.R", c.key); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.strategy, got, err, c.want)
		}
	}
	if _, err := registry.RecordName.Subject("t", "", false); err == nil {
		t.Error("a schema without a record's name: no error")
	}
	if _, err := registry.ParseStrategy("TopicNameStrategy"); err == nil {
		t.Error("unknown strategy: no error")
	}
}
