package operator

// touched remembers what a transaction has changed: for each key, in the order of their first
// changes, what the state held before.
type touched[T any] struct {
	before map[string]T
	order  []string
}

func (t *touched[T]) has(key []byte) bool {
	_, found := t.before[string(key)]
	return found
}

func (t *touched[T]) add(key []byte, before T) {
	if t.before == nil {
		t.before = make(map[string]T)
	}
	k := string(key)
	t.before[k], t.order = before, append(t.order, k)
}

func (t *touched[T]) clear() {
	clear(t.before)
	t.order = t.order[:0]
}
