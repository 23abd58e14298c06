package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// Directories of a compaction in progress: creating links, links complete, compaction done.
const (
	linkingDir = "compacting.tmp"
	linkedDir  = "compacting"
	doneDir    = "compacted.tmp"
)

// linkPartition creates hard links to the files of a partition.
func linkPartition(dir string, at topicPartition) error {
	tmp := filepath.Join(dir, linkingDir)
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.MkdirAll(tmp, privateDir); err != nil {
		return err
	}
	from := partitionDir(filepath.Join(dir, dataDir), at.topic, at.id)
	if err := linkFiles(from, filepath.Join(tmp, filepath.Base(from))); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, linkedDir))
}

func linkFiles(from, to string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, privateDir); err != nil {
		return err
	}
	for _, e := range entries {
		if !isSegmentFile(e.Name()) {
			continue
		}
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func isSegmentFile(name string) bool {
	return slices.Contains([]string{".dat", ".idx"}, filepath.Ext(name))
}

func dropLinks(dir string) error {
	if err := os.Rename(filepath.Join(dir, linkedDir), filepath.Join(dir, doneDir)); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, doneDir))
}

// undoCompaction restores the files that a compaction was replacing when the process was killed.
func undoCompaction(dir string) error {
	for _, left := range []string{linkingDir, doneDir} {
		if err := os.RemoveAll(filepath.Join(dir, left)); err != nil {
			return err
		}
	}
	linked := filepath.Join(dir, linkedDir)
	saved, err := os.ReadDir(linked)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range saved {
		if err := replaceFiles(filepath.Join(linked, s.Name()), filepath.Join(dir, dataDir, "partitions", s.Name())); err != nil {
			return err
		}
	}
	return dropLinks(dir)
}

// replaceFiles replaces the segments of a partition with the linked ones. It links rather than
// moves, so that it can be repeated.
func replaceFiles(from, to string) error {
	entries, err := os.ReadDir(to)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if isSegmentFile(e.Name()) || e.Name() == "snapshot.json" {
			if err := os.Remove(filepath.Join(to, e.Name())); err != nil {
				return err
			}
		}
	}
	return linkFiles(from, to)
}
