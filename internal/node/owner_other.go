//go:build !unix

package node

import "io/fs"

// ownedByUser is true where a directory for temporary files is the user's own.
func ownedByUser(fs.FileInfo) bool { return true }
