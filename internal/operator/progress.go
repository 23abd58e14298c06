package operator

// progress forwards the watermarks of an operator that may have more rows due than fit into a
// transaction. While some are left, it forwards none, not even one before the next row: a session
// downstream could end although that row would extend it. The state keeps the last one that was
// forwarded, which a restored task forwards again.
type progress struct {
	forwarded int64
	kept      bool  // the state has an entry
	saved     int64 // its value
}

func (*progress) key(b *base) []byte {
	return appendInt([]byte("forwarded by "), int64(b.rel.State))
}

func (p *progress) rollback(b *base) {
	*p = progress{forwarded: minWatermark}
	var v []byte
	if v, p.kept = b.task.store.Get(watermarkEntry, 0, p.key(b)); p.kept {
		p.saved = (&reader{b: v}).int64()
		p.forwarded = p.saved
	}
}

// forward forwards a watermark unless rows are due.
func (p *progress) forward(b *base, due bool, watermark int64, idle bool) {
	switch {
	case !due:
		p.forwarded = max(p.forwarded, watermark)
		b.forwardWatermark(p.forwarded, idle)
	case b.task.restoring:
		b.forwardWatermark(p.forwarded, false)
	}
}

func (p *progress) finishTransaction(b *base, due bool) {
	switch {
	case due && (!p.kept || p.saved != p.forwarded):
		b.task.store.Put(watermarkEntry, 0, p.key(b), appendInt(nil, p.forwarded))
		p.kept, p.saved = true, p.forwarded
	case !due && p.kept:
		b.task.store.Delete(watermarkEntry, 0, p.key(b))
		p.kept = false
	}
}
