package intake

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/source"
)

func TestMap(t *testing.T) {
	var rules mapping.Rules
	if err := yaml.Unmarshal([]byte("site/+device/+sensor: { value: payload }\nzigbee2mqtt/#device: { preset: zigbee2mqtt }\n"), &rules); err != nil {
		t.Fatal(err)
	}
	m, err := mapping.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	in := New(m, nil)
	at := time.UnixMilli(1_800_000_000_000)
	message := func(topic, payload string) *Message {
		at = at.Add(sampleEvery)
		return &Message{Protocol: MQTT, Client: "press\x00", Topic: topic, Payload: []byte(payload), Arrived: at, QoS: 1, Retain: true}
	}
	if e, _ := in.Map(message("site/d1/temp", "21.5")); len(e.Readings) != 1 || e.Readings[0].DeviceID != "d1" {
		t.Errorf("entry %+v", e)
	}
	e, _ := in.Map(message("other", "\xff\x001"))
	if len(e.Rejected) != 1 {
		t.Fatalf("entry %+v", e)
	}
	want := []source.Attribute{{Name: mapping.HeaderTopic, Value: "other"}, {Name: HeaderClient, Value: "press\x00"}, {Name: HeaderQoS, Value: "1"}, {Name: HeaderRetain, Value: "true"}}
	if got := e.Rejected[0]; string(got.Raw) != "\xff\x001" || fmt.Sprint(got.Origin) != fmt.Sprint(want) {
		t.Errorf("dead letter %+v", got)
	}
	if e, r := in.Map(message("zigbee2mqtt/bridge/state", "online")); e != nil || r.Ignored == "" {
		t.Errorf("an ignored message has the entry %+v", e)
	}
	if c := in.Counts()[MQTT]; c != (Counts{Messages: 3, Readings: 1, Rejected: 1, Ignored: 1}) {
		t.Errorf("counts %+v", c)
	}
	all, rejected, reasons := in.Samples()
	if len(all) != 3 || all[1].Payload != `\xff\x001` || all[1].Client != `press\x00` || len(rejected) != 1 || len(reasons) != 1 || !strings.Contains(all[2].Readings[0], `"value":21.5`) {
		t.Errorf("samples %+v, rejected %+v, reasons %+v", all, rejected, reasons)
	}
	for i := range 2 * maxReasons { // what senders invent does not fill the memory
		in.countReason(fmt.Sprint("reason ", i), 1)
	}
	if _, _, reasons := in.Samples(); len(reasons) != maxReasons+1 {
		t.Errorf("%d reasons are counted apart", len(reasons))
	}
}

// A topic and a payload have another digest than those that another division of the bytes gives.
func TestDigest(t *testing.T) {
	if Digest("a", []byte("bc")) == Digest("ab", []byte("c")) {
		t.Error("two messages have the same digest")
	}
}

// BenchmarkMap maps a message with one reading.
func BenchmarkMap(b *testing.B) {
	var rules mapping.Rules
	if err := yaml.Unmarshal([]byte("site/+device/+sensor: { value: $.n }\n"), &rules); err != nil {
		b.Fatal(err)
	}
	m, err := mapping.New(rules)
	if err != nil {
		b.Fatal(err)
	}
	in := New(m, nil)
	payload := []byte(`{"n":21.5}`)
	b.ReportAllocs()
	for b.Loop() {
		if e, _ := in.Map(&Message{Protocol: MQTT, Client: "press", Topic: "site/d1/temp", Payload: payload, Arrived: time.Now(), QoS: 1}); len(e.Readings) != 1 {
			b.Fatalf("entry %+v", e)
		}
	}
}
