package files

import (
	"context"
	"errors"
	"io"
)

// store is where a table has its files, and the state that says which of them count.
type store interface {
	// load returns the state, or nil if there is none, and the version of it.
	load(ctx context.Context) (*state, string, error)
	// replace replaces this version of the state; "" stands for none. It returns errChanged if
	// there is another one by now. After any other error, either of them may be there.
	replace(ctx context.Context, version string, s *state) error
	stateName() string // for messages

	// create begins a file, which readers do not see before place. It refuses one that is there.
	create(ctx context.Context, name string, m metadata) (newFile, error)
	// place puts a file that the state lists where readers see it. It may have been put there
	// already.
	place(ctx context.Context, f pending) error
	// discard removes what was written of a file that the state does not list.
	discard(f pending)
	// clean removes what dead sessions have left of files of these partitions, except for kept
	// ones.
	clean(ctx context.Context, partitions []int32, kept []pending) error

	// names calls fn with the names of all files that are in place, until it returns false.
	names(ctx context.Context, fn func(name string) bool) error
	fileName(name string) string // for messages
	close()
}

// newFile is a file that is being written. After an error it is discarded.
type newFile interface {
	io.Writer
	pending() pending
	// sync makes what was written last.
	sync(ctx context.Context) error
	close() error
}

var errChanged = errors.New("another session has replaced the state of the table")
