package embedded

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir.example/weir/internal/broker/front"
)

// Profile fits an embedded broker to its machine.
type Profile struct {
	// StoredBytes caps the bytes of all topics' records; 0 means no cap. The time of a start is
	// proportional to them, because kfake reads every segment.
	StoredBytes int64

	// SegmentBytes is the size of a segment, unless a topic sets segment.bytes. While a broker
	// starts, it has up to one segment of each partition in memory.
	SegmentBytes int64

	// FetchBytes caps the records of an answer to a fetch (fetch.max.bytes): all other requests
	// wait while they are read.
	FetchBytes int

	// MemoryBytes bounds the requests and answers in memory, over all connections. It allows
	// requests of a quarter of it.
	MemoryBytes int64
}

// DefaultProfile is the name of the profile for a Config without one.
const DefaultProfile = "default"

// Profiles are the profiles by name. FetchBytes of the default one is Kafka's.
var Profiles = map[string]Profile{
	DefaultProfile: {SegmentBytes: 4 << 20, FetchBytes: 55 << 20, MemoryBytes: 512 << 20},
	"edge":         {StoredBytes: 512 << 20, SegmentBytes: 1 << 20, FetchBytes: 1 << 20, MemoryBytes: 64 << 20},
}

// FindProfile returns the profile with a name; the empty name is DefaultProfile.
func FindProfile(name string) (Profile, error) {
	if name == "" {
		name = DefaultProfile
	}
	p, ok := Profiles[name]
	if !ok {
		return Profile{}, fmt.Errorf("unknown profile %q: choose %s", name, strings.Join(slices.Sorted(maps.Keys(Profiles)), " or "))
	}
	return p, nil
}

// limits returns the limits of clients. Those that are set take precedence over the profile's.
func (p Profile) limits(set front.Limits) front.Limits {
	set.FetchBytes = cmp.Or(set.FetchBytes, p.FetchBytes)
	set.MemoryBytes = cmp.Or(set.MemoryBytes, p.MemoryBytes)
	return set
}
