// Package cgroup limits the memory and the disk of processes with Linux control groups, to measure
// on a machine like an edge box.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	groups    = "/sys/fs/cgroup"
	procsFile = "cgroup.procs"
)

// Group limits the processes in it. It consists of one directory in version 2 of control groups,
// and of one for each controller in version 1.
type Group struct{ dirs []string }

// New creates a control group that limits memory, without swap, and how fast its processes read
// from the disk that dir is on: megabytes (10^6 bytes) per second, 0 for no limit. Data in the page
// cache is not limited (see Evict), and neither are writes. After an error, the group is empty and
// limits nothing.
func New(dir string, memoryMB, readMBs int) (*Group, error) {
	g := new(Group)
	name := fmt.Sprintf("weir-bench-%d", os.Getpid())
	memory := strconv.Itoa(memoryMB << 20)
	device, err := deviceOf(dir)
	if err != nil {
		return g, err
	}
	if _, err := os.Stat(filepath.Join(groups, "cgroup.controllers")); err == nil { // version 2
		settings := map[string]string{"memory.max": memory, "memory.swap.max": "0"}
		if readMBs > 0 {
			settings["io.max"] = fmt.Sprintf("%s rbps=%d", device, readMBs*1_000_000)
		}
		return g, g.create(filepath.Join(groups, name), settings)
	}
	err = g.create(filepath.Join(groups, "memory", name), map[string]string{"memory.limit_in_bytes": memory})
	if err == nil && readMBs > 0 {
		err = g.create(filepath.Join(groups, "blkio", name), map[string]string{
			"blkio.throttle.read_bps_device": fmt.Sprintf("%s %d", device, readMBs*1_000_000),
		})
	}
	return g, err
}

func (g *Group) create(dir string, settings map[string]string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for file, value := range settings {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o600); err != nil {
			return errors.Join(err, os.Remove(dir))
		}
	}
	g.dirs = append(g.dirs, dir)
	return nil
}

// Procs returns the files with which a process enters the group (see Enter).
func (g *Group) Procs() (files []string) {
	for _, dir := range g.dirs {
		files = append(files, filepath.Join(dir, procsFile))
	}
	return files
}

// Enter moves this process into a group.
func Enter(procs []string) error {
	for _, file := range procs {
		if err := os.WriteFile(file, []byte("0"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Leave moves this process into the group's parent.
func (g *Group) Leave() error {
	var parents []string
	for _, dir := range g.dirs {
		parents = append(parents, filepath.Join(filepath.Dir(dir), procsFile))
	}
	return Enter(parents)
}

// Remove removes the group, which must have no processes.
func (g *Group) Remove() (err error) {
	for _, dir := range g.dirs {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}

// Evict writes the files in dir to disk and drops them from the page cache.
func Evict(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		f, err := os.Open(path) //nolint:gosec // directory of the benchmark
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
	})
}

// deviceOf returns the major and minor number of the device of a file.
func deviceOf(path string) (string, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev)), nil
}
