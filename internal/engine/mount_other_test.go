//go:build !linux

package engine

import "errors"

func mountTmpfs(string, int) error { return errors.ErrUnsupported }
func unmount(string) error         { return nil }
