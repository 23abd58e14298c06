package engine

// skipped reports records of a source, the offsets from up to to, that are gone before the pipeline has read them.
func (p *pipeline) skipped(topic string, partition int32, from, to int64, why string) {
	p.Logger.Warn("records were skipped: "+why, "topic", topic, "partition", partition, "from", from, "to", to, "records", to-from)
	p.Status.skippedRecords(topic, to-from)
}

// skippedRecords counts records that were gone before they were read.
func (s *Status) skippedRecords(topic string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skipped[topic] += n
}

// Recreation is a topic that was deleted and created again under a running pipeline's state.
type Recreation struct {
	Topic string `json:"topic"`
	Was   string `json:"was"` // id
	Is    string `json:"is"`
}

// recreated notes that a topic is another one than the state has read.
func (s *Status) recreated(topic, was, is string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recreations[Recreation{topic, was, is}]++
}
