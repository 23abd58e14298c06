package subscribe

import (
	"context"
	"strconv"
	"strings"
)

// brokerDropped takes note of how many messages the broker has dropped. The number is that of all
// its clients since it was started, so only a rise says something.
func (s *Subscriber) brokerDropped(ctx context.Context, payload []byte) {
	now, err := strconv.ParseInt(strings.TrimSpace(string(payload)), 10, 64)
	if err != nil || now < 0 {
		return
	}
	before, known := int64(0), false
	if text, ok := s.spool.Notes(s.name)[s.name+"/dropped"]; ok {
		before, err = strconv.ParseInt(string(text), 10, 64)
		known = err == nil
	}
	if known && now == before {
		return
	}
	if known && now > before {
		s.mu.Lock()
		s.state.dropped += now - before
		s.mu.Unlock()
		s.log.Error("the MQTT broker has dropped messages for one of its clients, perhaps this one: with mosquitto, set max_queued_messages 0 (no limit) in mosquitto.conf, or a number above 1000",
			"dropped", now-before)
	}
	_ = s.note(ctx, "/dropped", []byte(strconv.FormatInt(now, 10))) // only a closed spool refuses, and then nothing matters
}

// forgotten reports that the broker has no session although it should.
func (s *Subscriber) forgotten() {
	s.mu.Lock()
	s.state.forgotten++
	s.mu.Unlock()
	s.log.Error("the MQTT broker has forgotten the session: what devices sent while Weir was not connected is lost; with mosquitto, set persistence true and autosave_interval 1 with autosave_on_changes true, check persistent_client_expiration, and keep Weir's session setting above the longest time that it is away")
}
