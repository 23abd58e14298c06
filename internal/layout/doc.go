// Package layout contains only tests of the repository's own files: comments wrap at 100 columns,
// the map of files in a package comment names each file once, ARCHITECTURE.md lists each package,
// imports go one way, links and paths in documents work, and public packages do not expose internal
// types.
package layout
