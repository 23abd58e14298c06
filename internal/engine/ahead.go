package engine

import "time"

// warnAheadInterval is the minimum time between two warnings about rows from the future.
const warnAheadInterval = time.Minute

// warnAhead logs that a transaction had rows too far in the future to advance the watermark: with
// the first of them, and then once a minute.
func (s *session) warnAhead(rows int) {
	if now := s.cfg.Now(); rows > 0 && now.Sub(s.aheadWarned) >= warnAheadInterval {
		s.aheadWarned = now
		s.cfg.Logger.Warn("rows from the future do not advance the watermark: correct the clock of their sender", "rows", rows, "max_ahead", s.cfg.Program.Settings.MaxAhead)
	}
}
