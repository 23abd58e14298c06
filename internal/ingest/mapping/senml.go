package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"weir.example/weir/reading"
)

// relativeTime is the first SenML time that is absolute: smaller ones are relative to now.
var relativeTime = big.NewRat(1<<28, 1)

// senml is the base of a SenML pack, which applies to the records that follow.
type senml struct {
	name, unit  string
	time, value *big.Rat
}

// applySenML maps a SenML pack. The device is the name up to the last / or :, and the sensor what
// follows; base names usually end with one of them. A record without a name of its own is the
// sensor "value".
func applySenML(msg *Message, root any, result *Result) error {
	pack, ok := root.([]any)
	if !ok || len(pack) == 0 {
		return errors.New("a SenML pack is an array of records")
	}
	base := senml{time: new(big.Rat), value: new(big.Rat)}
	for i, entry := range pack {
		raw, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		record, ok := entry.(map[string]any)
		if !ok {
			return fmt.Errorf("record %d is not an object", i)
		}
		if err := base.update(record); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		if err := base.record(msg, raw, record, result); err != nil {
			result.reject(msg, raw, fmt.Errorf("record %d: %w", i, err))
		}
	}
	return nil
}

// update takes over the base fields of a record. An error makes the rest of the pack meaningless.
func (b *senml) update(record map[string]any) error {
	for key, v := range record {
		var err error
		switch key {
		case "bn":
			b.name, err = textField(key, v)
		case "bu":
			b.unit, err = textField(key, v)
		case "bt":
			b.time, err = ratField(key, v)
		case "bv":
			b.value, err = ratField(key, v)
		default:
			if strings.HasSuffix(key, "_") { // RFC 8428, 4.4: must be understood
				err = fmt.Errorf("the field %s is unknown, and must be understood", key)
			}
		}
		if err != nil {
			return err
		}
	}
	if v, ok := record["bver"]; ok && v != json.Number("10") {
		return fmt.Errorf("version %v is unknown", v)
	}
	return nil
}

// record adds the reading of a record; one without a value only sets base fields.
func (b *senml) record(msg *Message, raw []byte, record map[string]any, result *Result) (err error) {
	v := reading.Reading{Unit: b.unit}
	name := b.name
	for key, field := range record {
		switch key {
		case "n":
			var own string
			if own, err = textField(key, field); err == nil {
				name += own
			}
		case "u":
			v.Unit, err = textField(key, field)
		}
		if err != nil {
			return err
		}
	}
	switch value := record["v"]; {
	case value != nil:
		sum, err := ratField("v", value)
		if err != nil {
			return err
		}
		v.Value, _ = new(big.Rat).Add(sum, b.value).Float64()
	case record["vb"] != nil:
		truth, ok := record["vb"].(bool)
		if !ok {
			return errors.New("vb is not a boolean")
		}
		v.Value, _ = number(truth)
	default:
		if record["vs"] != nil || record["vd"] != nil || record["s"] != nil {
			result.Skipped++
		}
		return nil
	}
	at := b.time
	if t := record["t"]; t != nil {
		own, err := ratField("t", t)
		if err != nil {
			return err
		}
		at = new(big.Rat).Add(at, own)
	}
	millis := new(big.Rat).Mul(at, big.NewRat(1000, 1))
	if at.Cmp(relativeTime) < 0 {
		millis.Add(millis, new(big.Rat).SetInt64(msg.Arrived.UnixMilli()))
	}
	ts := new(big.Int).Div(millis.Num(), millis.Denom())
	if !ts.IsInt64() {
		return errors.New("t is too large")
	}
	if v.TS, err = InRange(ts.Int64()); err != nil {
		return err
	}
	v.DeviceID, v.Sensor = splitName(name)
	result.add(msg, raw, v)
	return nil
}

func splitName(name string) (device, sensor string) {
	i := strings.LastIndexAny(name, "/:")
	switch {
	case i < 0:
		return name, "value"
	case i == len(name)-1:
		return name[:i], "value"
	}
	return name[:i], name[i+1:]
}

func textField(key string, v any) (string, error) {
	text, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s is not text", key)
	}
	return text, nil
}

// ratField returns a number, exactly if it has no exponent: with one, its digits could take any
// amount of memory.
func ratField(key string, v any) (*big.Rat, error) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, fmt.Errorf("%s is not a number", key)
	}
	f, err := n.Float64()
	if err != nil {
		return nil, fmt.Errorf("%s is not a number that can be represented", key)
	}
	if len(n) > 40 || strings.ContainsAny(n.String(), "eE") {
		return new(big.Rat).SetFloat64(f), nil
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		return nil, fmt.Errorf("%s is not a number", key)
	}
	return r, nil
}
