package engine

// expire lets tasks delete state that has expired, which they otherwise do in the transactions of
// their rows: the state of a partition without rows expires too.
func (s *session) expire() error {
	now := s.cfg.Now()
	for _, t := range s.tasks {
		if t.touched || !t.op.ExpiryDue(now) {
			continue
		}
		if err := s.call(t, t.op.Expire); err != nil {
			return err
		}
	}
	return nil
}
