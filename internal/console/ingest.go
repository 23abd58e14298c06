package console

import (
	"net/http"

	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/mqtt"
	"weir.example/weir/internal/ingest/spool"
)

// Ingest is the state of what takes readings of devices.
type Ingest struct {
	Addresses []string                 `json:"addresses"`
	Spool     spool.Stats              `json:"spool"`
	Protocols map[string]intake.Counts `json:"protocols"`
	Broker    *mqtt.Stats              `json:"mqtt,omitempty"`    // the embedded MQTT broker
	Sources   []IngestSource           `json:"sources,omitempty"` // other MQTT brokers
	Samples   []intake.Sample          `json:"samples"`           // of the last messages
	Rejected  []intake.Sample          `json:"rejected"`          // with dead letters
	Reasons   []intake.Reason          `json:"reasons"`           // of dead letters
	Problems  []string                 `json:"problems"`          // of the disk
}

// IngestSource is an MQTT broker whose messages are taken.
type IngestSource struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"` // why it is not connected
}

// ingest serves GET /api/ingest.
func (c *Console) ingest(*http.Request) (any, error) {
	if c.cfg.Ingest == nil {
		return map[string]any{"off": true}, nil
	}
	return c.cfg.Ingest(), nil
}
