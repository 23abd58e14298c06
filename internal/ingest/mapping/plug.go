package mapping

import (
	"maps"
	"slices"

	"weir.example/weir/internal/ingest/spool"
)

// applySparkplug maps a Sparkplug B message.
func (m *Mapping) applySparkplug(msg *Message) (result Result) {
	r, err := m.plug.Map(msg.Topic, msg.Payload, msg.Arrived)
	if err != nil {
		result.reject(msg, msg.Payload, err)
	}
	if r == nil {
		return result
	}
	for _, key := range slices.Sorted(maps.Keys(r.Notes)) {
		result.Notes = append(result.Notes, spool.Note{Key: key, Value: r.Notes[key]})
	}
	result.Missing = r.Missing
	if r.Topic != "" {
		result.Reply = &Reply{r.Topic, r.Command}
	}
	if err != nil {
		return result
	}
	result.Skipped, result.Ignored = r.Skipped, r.Ignored
	for i := range r.Readings {
		v := r.Readings[i]
		if _, err := InRange(v.TS); err != nil {
			result.reject(msg, msg.Payload, err)
			continue
		}
		result.add(msg, msg.Payload, v)
	}
	return result
}
