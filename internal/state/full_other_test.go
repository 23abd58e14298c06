//go:build !linux

package state

import "testing"

func smallDisk(t *testing.T, _ int) string {
	t.Skip("NOT TESTED on a real full disk: it is a tmpfs of Linux")
	return ""
}
