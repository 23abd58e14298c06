package mapping

import (
	"maps"
	"slices"
	"strings"
)

// preset is a rule for a well-known gateway. Settings of the rule itself take precedence.
type preset struct {
	settings settings
	times    []string                             // paths of the event time, instead of settings.TS
	zone     string                               // why the rule must set timezone; "" if it need not
	skip     []string                             // keys at the top that are not readings
	ignore   func(names captures) string          // why a topic has no readings
	other    func(root any) string                // why a message has no readings, such as a join
	unit     func(sensor string, root any) string // of a field without a unit
	hint     string                               // what to do if fields is missing
}

var presets = map[string]*preset{
	"zigbee2mqtt": {
		settings: settings{Device: "$device"},
		times:    []string{"$$.last_seen"},
		skip:     []string{"last_seen", "update"},
		ignore: func(names captures) string {
			device := names.get("device")
			last := device[strings.LastIndexByte(device, '/')+1:]
			switch {
			case device == "bridge" || strings.HasPrefix(device, "bridge/"):
				return "it is about the bridge"
			case device != last && (last == "availability" || last == "set" || last == "get"):
				return "it is not the state of a device"
			}
			return ""
		},
	},
	"tasmota": {
		settings: settings{Device: "$device"},
		times:    []string{"$$.Time"},
		zone:     "Tasmota sends local times without an offset",
		skip:     []string{"Time"},
		unit: func(sensor string, root any) string {
			object, _ := root.(map[string]any)
			switch {
			case sensor == "Temperature" || strings.HasSuffix(sensor, "_Temperature") || strings.HasSuffix(sensor, "_DewPoint"):
				switch object["TempUnit"] {
				case "C":
					return "Cel"
				case "F":
					return "[degF]"
				}
			case sensor == "Humidity" || strings.HasSuffix(sensor, "_Humidity"):
				return "%"
			}
			return ""
		},
	},
	"homie": { // also for ESPHome: each topic has a bare value
		settings: settings{Device: "$device", Sensor: "$sensor", Value: "payload"},
		ignore: func(names captures) string {
			for _, c := range names {
				if strings.HasPrefix(c.value, "$") || strings.Contains(c.value, "/$") {
					return "it is an attribute"
				}
			}
			return ""
		},
	},
	"ttn": {
		settings: settings{Device: "$$.end_device_ids.device_id", Fields: "$$.uplink_message.decoded_payload", Seq: "$$.uplink_message.f_cnt", Boot: "$$.uplink_message.session_key_id"},
		times:    []string{"$$.uplink_message.received_at", "$$.received_at"},
		hint:     ": set a payload formatter for the uplinks of the device or application",
		other: func(root any) string {
			object, ok := root.(map[string]any)
			if ok && object["uplink_message"] == nil && object["end_device_ids"] != nil {
				return "it is not an uplink"
			}
			return ""
		},
	},
	"chirpstack": {
		settings: settings{Device: "$$.deviceInfo.devEui", Fields: "$$.object", Seq: "$$.fCnt", Boot: "$$.devAddr"},
		times:    []string{"$$.time"},
		hint:     ": set a codec in the device profile",
		other: func(root any) string {
			object, ok := root.(map[string]any)
			if ok && object["deviceInfo"] != nil && object["object"] == nil && object["data"] == nil && object["fPort"] == nil {
				return "it is not an uplink"
			}
			return ""
		},
	},
	"senml":       {},
	"sparkplug-b": {},
}

func init() { presets["esphome"] = presets["homie"] }

func presetNames() []string { return slices.Sorted(maps.Keys(presets)) }

// ignore returns why a topic is ignored, or "".
func (r *rule) ignore(names captures) string {
	if r.preset != nil && r.preset.ignore != nil {
		return r.preset.ignore(names)
	}
	return ""
}

func (r *rule) hint() string {
	if r.preset != nil {
		return r.preset.hint
	}
	return ""
}
