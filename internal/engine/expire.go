package engine

// expire lets tasks delete state that has expired, which they otherwise do in the transactions of
// their rows: the state of a partition without rows expires too.
func (s *session) expire() error {
	now := s.cfg.Now()
	for _, t := range s.tasks {
		if t.touched || !t.op.ExpiryDue(now) {
			continue
		}
		if err := s.begin(); err != nil {
			return err
		}
		t.touched = true
		if err := t.op.Expire(s.tx.at, &s.tx.out); err != nil {
			return stepError(err)
		}
		s.tx.send(t)
	}
	return nil
}
