package embedded

import (
	"errors"
	"os"
	"path/filepath"

	"weir.example/weir/internal/durable"
)

// onWrite is called before recovery changes a file. Tests set it, to copy the directory as a kill
// at that moment would leave it. appended is nil unless the change appends to the file.
var onWrite = func(path string, appended []byte) {}

func appendFile(path string, data []byte) error {
	onWrite(path, data)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, privateFile) //nolint:gosec // inside the data directory
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// writeFile replaces a file's content. A kill can leave it incomplete.
func writeFile(path string, data []byte) error {
	onWrite(path, nil)
	return os.WriteFile(path, data, privateFile)
}

func truncateFile(path string, size int64) error {
	onWrite(path, nil)
	return os.Truncate(path, size)
}

// removeFile removes a file, if there is one.
func removeFile(path string) error {
	onWrite(path, nil)
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// writeSynced atomically replaces a file's content and syncs it to disk.
func writeSynced(path string, data []byte) error {
	onWrite(path, nil)
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, privateFile) //nolint:gosec // inside the data directory
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	onWrite(path, nil)
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// syncDirectory syncs the file system of dir: one call instead of one for each file.
func syncDirectory(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // the data directory is the user's choice
	if err != nil {
		return err
	}
	return errors.Join(syncFilesystem(f), f.Close())
}
