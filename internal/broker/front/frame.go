package front

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// request is what the front must know of a request until its answer is written.
type request struct {
	key, version int16
	correlation  uint32
	answered     bool         // all are, except Produce with acks=0
	charge       int64        // bytes of memory until then
	parsed       kmsg.Request // if its answer depends on it, see repairs
}

// itemBytes is the memory that kmsg needs for an array element or a tagged field, roughly.
const itemBytes = 128

// headerBytes is the size of the fields that all request headers begin with: API key, version and
// correlation id.
const headerBytes = 8

// check returns the description of a request, or a *refusal. The frame, without its size, may be
// changed in place or replaced.
func (l *Listener) check(frame []byte) (request, []byte, error) {
	req := request{
		key:         int16(binary.BigEndian.Uint16(frame)),     //nolint:gosec // two's complement
		version:     int16(binary.BigEndian.Uint16(frame[2:])), //nolint:gosec // two's complement
		correlation: binary.BigEndian.Uint32(frame[4:]),
		answered:    true,
	}
	api := served()[req.key]
	form := api.at(req.version)
	switch {
	case api == nil:
		return req, nil, &refusal{ReasonUnknown, fmt.Sprintf("unknown API key %d", req.key)}
	case form == nil && req.key == int16(kmsg.ApiVersions) && req.version > api.to:
		return req, newerAPIVersions(req), nil
	case form == nil:
		return req, nil, &refusal{ReasonUnknown, fmt.Sprintf("%s version %d: versions %d to %d are supported", api.name, req.version, api.from, api.to)}
	}
	body, err := form.header(frame[headerBytes:])
	if err == nil {
		var items int
		items, err = form.walk(body, l.limits.Items)
		req.charge = int64(len(frame)) + int64(items)*itemBytes
	}
	if errors.Is(err, errTrailing) {
		err = nil // librdkafka 2.16 sends a byte too many in Metadata; Kafka ignores them, too
	}
	if err != nil {
		return req, nil, &refusal{ReasonMalformed, fmt.Sprintf("%s version %d: %v", api.name, req.version, err)}
	}
	switch kmsg.Key(req.key) {
	case kmsg.Produce:
		req.answered = acks(body, form.flexible) != 0
	case kmsg.Fetch:
		l.clampFetch(body, req.version)
	}
	if key := kmsg.Key(req.key); key == kmsg.LeaveGroup || key == kmsg.CreateTopics || l.trail != nil && deeds[key] != "" {
		req.parsed = kmsg.RequestForKey(req.key)
		req.parsed.SetVersion(req.version)
		if err := req.parsed.ReadFrom(body); err != nil {
			return req, nil, &refusal{ReasonMalformed, fmt.Sprintf("%s version %d: %v", api.name, req.version, err)}
		}
	}
	return req, frame, nil
}

// header skips the rest of a request's header: the client id and, in flexible versions, tagged
// fields.
func (c *compiled) header(rest []byte) (body []byte, err error) {
	w := walker{src: rest, maxItems: math.MaxInt}
	if err := w.item(&op{kind: opString, nullable: true}); err != nil {
		return nil, err
	}
	if c.flexible {
		if err := w.tags(nil); err != nil {
			return nil, err
		}
	}
	return w.src, nil
}

// newerAPIVersions returns the frame of an ApiVersions request with a version that kfake does not
// know, either. As in Kafka (KIP-511), its answer lists the versions of ApiVersions that the client
// can use. The client's own frame has an unknown form.
func newerAPIVersions(req request) []byte {
	r := kmsg.NewPtrApiVersionsRequest()
	r.ClientSoftwareName, r.ClientSoftwareVersion = "unknown", "unknown"
	r.SetVersion(math.MaxInt16)
	frame := kmsg.NewRequestFormatter().AppendRequest(nil, r, int32(req.correlation)) //nolint:gosec // two's complement
	return frame[4:]
}

// acks returns the acks field of a Produce request that was checked.
func acks(body []byte, flexible bool) int16 {
	w := walker{src: body, flexible: flexible}
	_ = w.item(&op{kind: opString, nullable: true}) // the transactional id; the body was checked
	return int16(binary.BigEndian.Uint16(w.src))    //nolint:gosec // two's complement
}

// leastFetch is what a Fetch may return even when memory is short. A broker returns at least one
// batch in any case (KIP-74).
const leastFetch = 64 << 10

// clampFetch lowers max_bytes of a Fetch request that was checked. kfake adds batches to the answer
// until max_bytes is exceeded, whatever the limits of single partitions.
func (l *Listener) clampFetch(body []byte, version int16) {
	at := body[12:] // after replica id, max wait and min bytes
	if version >= 15 {
		at = body[8:] // there is no replica id
	}
	limit := max(min(l.memory.free()/8, int64(l.limits.FetchBytes)), min(leastFetch, int64(l.limits.FetchBytes)))
	if asked := int32(binary.BigEndian.Uint32(at)); int64(asked) > limit { //nolint:gosec // two's complement
		binary.BigEndian.PutUint32(at, uint32(limit)) //nolint:gosec // at most 2^31-1, since it is less than asked
	}
}
