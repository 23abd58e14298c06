package produce

// Named returns the source under another name. Its position is then stored under that name, and it
// does not fence producers that use the source's own name.
func Named(src Source, name string) Source {
	if src.Name() == name {
		return src
	}
	return &named{Source: src, name: name}
}

type named struct {
	Source
	name string
}

// Name implements Source.
func (n *named) Name() string { return n.name }

// Recall implements Keeper.
func (n *named) Recall(facts map[string][]byte) {
	if k, ok := n.Source.(Keeper); ok {
		k.Recall(facts)
	}
}
