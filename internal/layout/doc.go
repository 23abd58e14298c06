// Package layout has tests of the repository's own files and no code: comments wrap at 100 columns,
// and the map of files in a package comment names each file once.
package layout
