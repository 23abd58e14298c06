package registry

import "fmt"

// ResolveImports fetches and vets the references of a schema, transitively, and returns them in
// compilation order, dependencies first. A schema with several referrers is fetched once. The error
// is an ErrHostile for circular references, too many references or chains that are too long.
func ResolveImports(s *Schema, fetch func(Reference) (*Schema, error)) ([]Import, error) {
	if err := Vet(s.Type, s.Text); err != nil {
		return nil, err
	}
	if len(s.References) == 0 {
		return nil, nil
	}
	r := resolver{t: s.Type, fetch: fetch, state: map[Reference]bool{}}
	if err := r.follow(s.References, 0); err != nil {
		return nil, err
	}
	return r.imports, nil
}

type resolver struct {
	t       Type
	fetch   func(Reference) (*Schema, error)
	state   map[Reference]bool // false while a reference is being resolved, true once its import is complete
	imports []Import
	bytes   int
}

func (r *resolver) follow(references []Reference, depth int) error {
	if depth > MaxChain {
		return fmt.Errorf("%w: references of references, more than %d deep", ErrHostile, MaxChain)
	}
	for _, ref := range references {
		if done, known := r.state[ref]; known {
			if !done {
				return fmt.Errorf("%w: reference %q to version %d of subject %s leads back to itself", ErrHostile, ref.Name, ref.Version, ref.Subject)
			}
			continue
		}
		if len(r.state) == MaxImports {
			return fmt.Errorf("%w: more than %d references", ErrHostile, MaxImports)
		}
		r.state[ref] = false
		s, err := r.fetch(ref)
		if err != nil {
			return err
		}
		if err := Vet(r.t, s.Text); err != nil {
			return fmt.Errorf("reference %q: %w", ref.Name, err)
		}
		if r.bytes += len(s.Text); r.bytes > MaxResponse {
			return fmt.Errorf("%w: more than %d bytes with its references", ErrHostile, MaxResponse)
		}
		if err := r.follow(s.References, depth+1); err != nil {
			return err
		}
		r.state[ref] = true
		r.imports = append(r.imports, Import{Name: ref.Name, Text: s.Text})
	}
	return nil
}
