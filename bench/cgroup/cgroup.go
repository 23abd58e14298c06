package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const groups = "/sys/fs/cgroup"

// group limits the memory and the disk of the processes in it. It consists of one directory in
// version 2 of control groups, and of one for each controller in version 1.
type group struct{ dirs []string }

// newGroup creates a control group. The group is empty, and limits nothing, if there is an error.
func newGroup(cfg config) (*group, error) {
	g := new(group)
	name := fmt.Sprintf("weir-bench-%d", os.Getpid())
	memory := strconv.Itoa(cfg.memoryMB << 20)
	device, err := deviceOf(cfg.dir)
	if err != nil {
		return g, err
	}
	if _, err := os.Stat(filepath.Join(groups, "cgroup.controllers")); err == nil { // version 2
		settings := map[string]string{"memory.max": memory, "memory.swap.max": "0"}
		if cfg.readMBs > 0 {
			settings["io.max"] = fmt.Sprintf("%s rbps=%d", device, cfg.readMBs*1_000_000)
		}
		return g, g.create(filepath.Join(groups, name), settings)
	}
	err = g.create(filepath.Join(groups, "memory", name), map[string]string{"memory.limit_in_bytes": memory})
	if err == nil && cfg.readMBs > 0 {
		err = g.create(filepath.Join(groups, "blkio", name), map[string]string{
			"blkio.throttle.read_bps_device": fmt.Sprintf("%s %d", device, cfg.readMBs*1_000_000),
		})
	}
	return g, err
}

func (g *group) create(dir string, settings map[string]string) error {
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

// procs returns the files by which a process enters the group.
func (g *group) procs() (files []string) {
	for _, dir := range g.dirs {
		files = append(files, filepath.Join(dir, "cgroup.procs"))
	}
	return files
}

func (g *group) remove() (err error) {
	for _, dir := range g.dirs {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}

// deviceOf returns the major and minor number of the device of a file.
func deviceOf(path string) (string, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev)), nil
}
