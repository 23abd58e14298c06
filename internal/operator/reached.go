package operator

import "slices"

// reached is the watermark up to which an operator has merged those of its inputs. It never goes
// back: what it has closed stays closed for the rows of an input that was idle. The state keeps it
// where it does not follow from the inputs' own watermarks.
type reached struct {
	now, saved int64
	key        []byte
	always     bool // kept anyway: inputs can be added
}

// newReached returns that of an operator with state.
func newReached(b *base) reached {
	return reached{key: appendInt([]byte("merged by "), int64(b.rel.State))}
}

func (k *reached) rollback(b *base) {
	k.now, k.saved = minWatermark, minWatermark
	if v, ok := b.task.store.Get(watermarkEntry, 0, k.key); ok {
		k.saved = (&reader{b: v}).int64()
		k.now = k.saved
	}
}

func (k *reached) advance(watermark int64) int64 {
	k.now = max(k.now, watermark)
	return k.now
}

func (k *reached) finishTransaction(b *base, inputs *watermarkMerger) {
	follows := k.saved == minWatermark && slices.Min(inputs.inputs) == k.now && !k.always
	if b.task.stage.Stateful && k.now != k.saved && !follows {
		b.task.store.Put(watermarkEntry, 0, k.key, appendInt(nil, k.now))
		k.saved = k.now
	}
}
