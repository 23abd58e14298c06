package front

import (
	"math/rand/v2"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// randomRequest returns a request of an API with random fields, including unknown tags.
func randomRequest(rnd *rand.Rand, key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	fill(rnd, reflect.ValueOf(req).Elem())
	req.SetVersion(version)
	return req
}

// fill sets a value of a kmsg request at random.
func fill(rnd *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			for range rnd.IntN(3) {
				tags.Set(100+rnd.Uint32N(50), []byte("unknown")[:rnd.IntN(8)])
			}
			return
		}
		if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
			d.Default()
		}
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				fill(rnd, f)
			}
		}
	case reflect.Pointer:
		if rnd.IntN(3) == 0 {
			v.SetZero()
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(rnd, v.Elem())
	case reflect.Slice:
		n := rnd.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rnd, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(rnd, v.Index(i))
		}
	case reflect.String:
		v.SetString("a string of some length"[:rnd.IntN(20)])
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(rnd.Float64())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(rnd.Uint32()))
	default:
		v.SetInt(rnd.Int64N(1<<16) - 1<<15)
	}
}

// eachTags calls visit with the tags of all structs within v.
func eachTags(v reflect.Value, visit func(*kmsg.Tags)) {
	switch v.Kind() {
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			visit(tags)
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				eachTags(v.Field(i), visit)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			eachTags(v.Elem(), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachTags(v.Index(i), visit)
		}
	}
}
