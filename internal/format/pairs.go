package format

import "weir.example/weir/internal/column"

// pairs collects the entries of a map, whose keys are strings, numbers or booleans. Of several
// entries with a key, the last one wins.
type pairs struct {
	column.Dict
	at map[any]int // places of the keys, once there are many
}

const manyPairs = 16

func (p *pairs) add(key, value any) {
	if i := p.place(key); i >= 0 {
		p.Values[i] = value
		return
	}
	if p.at != nil {
		p.at[key] = len(p.Keys)
	}
	p.Keys, p.Values = append(p.Keys, key), append(p.Values, value)
}

// place returns the place of a key; -1 without it.
func (p *pairs) place(key any) int {
	if p.at == nil && len(p.Keys) < manyPairs {
		for i, k := range p.Keys {
			if k == key {
				return i
			}
		}
		return -1
	}
	if p.at == nil {
		p.at = make(map[any]int)
		for i, k := range p.Keys {
			p.at[k] = i
		}
	}
	if i, ok := p.at[key]; ok {
		return i
	}
	return -1
}
