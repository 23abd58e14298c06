package engine

import "time"

// warnAheadEvery is how often it is logged at most that rows come from the future.
const warnAheadEvery = time.Minute

// warnAhead logs that a transaction had rows that were too far in the future to move the watermark:
// once when they begin to come, and then once a minute.
func (s *session) warnAhead(rows int) {
	if now := s.cfg.Now(); rows > 0 && now.Sub(s.warnedAhead) >= warnAheadEvery {
		s.warnedAhead = now
		s.cfg.Logger.Warn("rows from the future do not move the watermark: correct the clock of what sends them", "rows", rows, "max_ahead", s.cfg.Program.Settings.MaxAhead)
	}
}
