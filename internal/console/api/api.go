// Package api defines the JSON of those parts of the console's HTTP API that programs read, too:
// weir top and weir status. Times are milliseconds since 1970, durations milliseconds and rates per
// second unless a field says otherwise.
package api

// Point holds the key figures at one moment.
type Point struct {
	At    int64   `json:"t"`
	In    float64 `json:"in"`  // readings written to the topic, per second
	Out   float64 `json:"out"` // readings processed, per second
	P50   float64 `json:"p50"` // latency; 0 if unknown
	P99   float64 `json:"p99"`
	Lag   int64   `json:"lag"`           // records, over all groups and topics
	Open  int     `json:"open"`          // open transactions; -1 if unknown
	Total int64   `json:"total"`         // readings in the topic
	Gap   bool    `json:"gap,omitempty"` // the broker did not respond: the figures are older
}

// Overview is the response of GET /api/overview.
type Overview struct {
	Now             Point        `json:"now"`
	Latency         string       `json:"latency"` // what P50 and P99 measure
	Flow            *FlowTotals  `json:"flow,omitempty"`
	Devices         DeviceCounts `json:"devices"`
	Brokers         []Broker     `json:"brokers"`
	Topics          int          `json:"topics"`
	Partitions      int          `json:"partitions"`
	UnderReplicated int          `json:"under_replicated"` // partitions
	Offline         int          `json:"offline"`          // partitions without a leader
	DeadLetters     int64        `json:"dead_letters"`     // excluding late rows
	Groups          []Group      `json:"groups"`
	Pipelines       []Pipeline   `json:"pipelines"`
	Error           string       `json:"error,omitempty"`    // error of the last request to the broker
	Answered        int64        `json:"answered,omitempty"` // time of the last response; the figures date from then
	Points          []Point      `json:"points,omitempty"`   // history, oldest first; not in the frames of a stream
}

// FlowTotals holds the totals of a process that runs the flow, since it started.
type FlowTotals struct {
	Elapsed      float64 `json:"elapsed"` // seconds
	Produced     int64   `json:"produced"`
	Consumed     int64   `json:"consumed"`
	Transactions int64   `json:"transactions"`
	DeadLetters  int64   `json:"dead_letters"`
}

// Broker is one broker of the cluster.
type Broker struct {
	ID         int32  `json:"id"`
	Host       string `json:"host"`
	Controller bool   `json:"controller"`
}

// Group is a consumer group.
type Group struct {
	Name    string     `json:"name"`
	State   string     `json:"state"`
	Members int        `json:"members"`
	Lag     int64      `json:"lag"` // records, over all its topics
	Rate    float64    `json:"rate"`
	Topics  []TopicLag `json:"topics"`
}

// Topic returns the lag of one topic; nil if the group does not read it.
func (g *Group) Topic(name string) *TopicLag {
	if g == nil {
		return nil
	}
	for i := range g.Topics {
		if g.Topics[i].Topic == name {
			return &g.Topics[i]
		}
	}
	return nil
}

// TopicLag is the progress of a group in one topic.
type TopicLag struct {
	Topic string  `json:"topic"`
	Lag   int64   `json:"lag"`  // records
	Rate  float64 `json:"rate"` // offsets committed per second
}

// Pipeline is a row of GET /api/pipelines.
type Pipeline struct {
	Name        string   `json:"name"`
	State       string   `json:"state"`                  // running, restoring, rebalancing, stopped, …
	Reason      string   `json:"reason,omitempty"`       // why it is not running
	Members     int      `json:"members"`                // workers, over all processes
	Here        bool     `json:"here"`                   // runs in this process; otherwise the fields after Lag are unknown
	Planned     bool     `json:"planned"`                // its plan is known
	Rate        float64  `json:"rate"`                   // records read from tables, per second
	Lag         int64    `json:"lag"`                    // records
	Delay       *float64 `json:"delay,omitempty"`        // seconds from its lowest watermark to now
	P99         float64  `json:"p99,omitempty"`          // latency from a record to its committed result
	Late        int64    `json:"late,omitempty"`         // rows
	DeadLetters int64    `json:"dead_letters,omitempty"` // records
	Dropped     int64    `json:"dropped,omitempty"`      // rows dropped by options such as json.ignore-parse-errors
	Skipped     int64    `json:"skipped,omitempty"`      // offsets deleted before they were read
	Sinks       []Sink   `json:"sinks,omitempty"`        // of its tables outside of Kafka, if it runs in this process
}

// Sink is the delivery of a pipeline's table to a target outside of Kafka.
type Sink struct {
	Table       string `json:"table"`
	Target      string `json:"target"` // without its address
	State       string `json:"state"`  // starting, delivering, waiting, refused or stopped
	Reason      string `json:"reason,omitempty"`
	Lag         int64  `json:"lag"`  // offsets that are not delivered yet
	Rows        int64  `json:"rows"` // written
	Deletes     int64  `json:"deletes,omitempty"`
	DeadLetters int64  `json:"dead_letters,omitempty"` // rows that the target refused
	Retries     int64  `json:"retries,omitempty"`
	LastError   int64  `json:"last_error,omitempty"` // when
}

// DeviceStatus is whether a device sends as often as usual.
type DeviceStatus string

// Device statuses.
const (
	Online DeviceStatus = "online"
	Late   DeviceStatus = "late"
	Silent DeviceStatus = "silent"
)

// DeviceCounts holds the number of devices by status.
type DeviceCounts struct {
	Total     int   `json:"total"`
	Online    int   `json:"online"`
	Late      int   `json:"late"`
	Silent    int   `json:"silent"`
	Sampled   bool  `json:"sampled"`             // there are more readings than the console reads
	Untracked int64 `json:"untracked,omitempty"` // readings of devices above the console's limit
	Unread    int64 `json:"unread,omitempty"`    // records that are not valid readings
	Until     int64 `json:"until,omitempty"`     // time up to which readings are known, if that is not now
}

// Count adds a device with a status.
func (c *DeviceCounts) Count(s DeviceStatus) {
	switch s {
	case Online:
		c.Online++
	case Late:
		c.Late++
	default:
		c.Silent++
	}
}

// DeviceList is the response of GET /api/devices: one page of the device list.
type DeviceList struct {
	Ask     string       `json:"ask,omitempty"` // in a stream's frame: the query that it responds to
	Counts  DeviceCounts `json:"counts"`
	Matched int          `json:"matched"`
	Offset  int          `json:"offset"`
	Rows    []Device     `json:"rows"`
}

// Device is a row of the device list.
type Device struct {
	ID      string       `json:"id"`
	Status  DeviceStatus `json:"status"`
	Seen    int64        `json:"seen"` // milliseconds since its last reading
	Sensors []Sensor     `json:"sensors"`
}

// Sensor is a sensor of a device with its latest values.
type Sensor struct {
	Name  string    `json:"name"`
	Unit  string    `json:"unit"`
	Last  float64   `json:"last"`
	Spark []float32 `json:"spark"` // oldest first
}

// TopicList is the response of GET /api/topics.
type TopicList struct {
	Topics []TopicRow `json:"topics"`
	Error  string     `json:"error,omitempty"` // error of the last request to the broker
}

// TopicRow is a topic with its readers.
type TopicRow struct {
	Topic
	Count   int      `json:"count"` // partitions
	Readers []string `json:"readers,omitempty"`
	Lag     int64    `json:"lag"` // records, over all readers
}

// Topic is a topic of the cluster.
type Topic struct {
	Name            string      `json:"name"`
	Internal        bool        `json:"internal"`
	Partitions      []Partition `json:"partitions,omitempty"` // not in a list
	Records         int64       `json:"records"`              // offsets from start to end, including aborted records and markers
	Rate            float64     `json:"rate"`                 // offsets per second
	Replicas        int         `json:"replicas"`
	UnderReplicated int         `json:"under_replicated"` // partitions
	Offline         int         `json:"offline"`          // partitions without a leader
}

// Partition is a partition of a topic.
type Partition struct {
	ID       int32   `json:"id"`
	Leader   int32   `json:"leader"` // -1 if there is none
	Replicas []int32 `json:"replicas"`
	ISR      []int32 `json:"isr"`
	Start    int64   `json:"start"`
	Stable   int64   `json:"stable"` // last stable offset
	End      int64   `json:"end"`
	Rate     float64 `json:"rate"` // offsets per second
}

// Error is the body of an error response.
type Error struct {
	Error string `json:"error"`
}
