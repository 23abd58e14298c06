package mapping

import (
	"strings"
	"testing"
)

// The proposed rules are valid and match the messages that they were made from.
func TestGuess(t *testing.T) {
	messages := [][2]string{
		{"site/d1/temperature", "21.5"}, {"site/d2/humidity", "40"}, {"lonely", "7"},
		{"home/bridge/state", `{"state":"online"}`}, {"home/kitchen/th1", `{"temperature":1,"battery":2}`},
		{"zigbee2mqtt/a", `{"temperature":1}`},
		{"tele/plug/SENSOR", `{"Time":"2018-02-15T01:00:50","BME280":{"Temperature":21.3}}`},
		{"homie/dev/node/temp", "3"}, {"node1/sensor/temp/state", "4"},
		{"v3/app@ttn/devices/eui-1/up", `{"end_device_ids":{"device_id":"eui-1"},"uplink_message":{"f_cnt":1,"decoded_payload":{"temp":21.5},"received_at":"2026-02-01T10:00:00Z"}}`},
		{"application/1/device/0101/event/up", `{"deviceInfo":{"devEui":"0101"},"fCnt":4,"object":{"temperature":22.5}}`},
		{"senml/x", `[{"bn":"dev/","n":"a","v":1}]`},
		{"factory/1/data", `{"t":1,"ts":1700000000,"seq":1,"boot":"x"}`}, {"factory/2/data", `{"t":1,"ts":1700000000,"seq":1,"boot":"x"}`},
		{"plant/a/b/c", `{"v":1,"time":"2026-02-01T10:00:00Z"}`}, {"plant/d/e/c", `{"v":2,"time":"2026-02-01T10:00:00Z"}`},
		{"fleet/x", `{"device_id":"d9","speed":3,"timestamp":1700000000000}`},
	}
	g := NewGuess()
	for _, m := range messages {
		g.Add(m[0], []byte(m[1]))
	}
	g.Add("text/a", []byte("only words"))
	g.Add("odd/\"\n# quoted", []byte("5"))
	text := g.Rules()
	m, err := parse(t, strings.ReplaceAll(text, "\n  ", "\n")[2:])
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, msg := range messages {
		if r := m.Map(&Message{Topic: msg[0], Payload: []byte(msg[1]), Arrived: arrived}); len(r.Rejected) > 0 || len(r.Readings) == 0 && r.Ignored == "" {
			t.Errorf("%s: %s", msg[0], show(r))
		}
	}
	for _, want := range []string{
		`"site/+device/+sensor": { value: payload }`, `"home/#device": { preset: zigbee2mqtt }`, `"factory/+device/data": { ts: $.ts, ts_format: unix, seq: $.seq, boot: $.boot }`,
		`"plant/+level2/+level3/c": { ts: $.time, device: "$level2-$level3" }`, `"fleet/x": { device: $.device_id, ts: $.timestamp, ts_format: unix-ms }`,
		`# no numbers; for SQL: "text/a": { to: mqtt_raw }`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func FuzzGuess(f *testing.F) {
	f.Add("a/b", []byte(`{"x":1,"ts":5}`), "a/c", []byte("7"))
	f.Fuzz(func(t *testing.T, topic string, payload []byte, topic2 string, payload2 []byte) {
		g := NewGuess()
		g.Add(topic, payload)
		g.Add(topic2, payload2)
		g.Rules()
	})
}
