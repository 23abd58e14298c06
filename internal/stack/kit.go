package stack

import (
	"context"
	"crypto/sha256"
	_ "embed" // the lists of jars
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

var (
	//go:embed kafka.xml
	kafkaPom []byte
	//go:embed kafka.sum
	kafkaSums string

	//go:embed streams.xml
	streamsPom []byte

	//go:embed connect.xml
	connectPom []byte

	//go:embed flink.xml
	flinkPom []byte
	//go:embed flink.sum
	flinkSums string

	//go:embed flink-jdbc.xml
	flinkJDBCPom []byte
	//go:embed flink-jdbc.sum
	flinkJDBCSums string

	//go:embed apicurio.xml
	apicurioPom []byte
)

// dependencyPlugin copies the jars that a pom names.
const dependencyPlugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

// kit is a set of jars in one folder of the cache.
type kit struct {
	name   string // with the version
	folder string
	from   string                                      // its origin, for errors
	fetch  func(ctx context.Context, dir string) error // fills dir, an empty folder
	sums   string                                      // lines "SHA-256  path" of all its files; empty: not checked
}

var (
	kafkaKit   = kit{name: "Kafka " + KafkaVersion, folder: "kafka-" + KafkaVersion, from: "Maven Central", fetch: maven(kafkaPom), sums: kafkaSums}
	streamsKit = kit{name: "Kafka Streams " + KafkaVersion, folder: "kafka-streams-" + KafkaVersion, from: "Maven Central", fetch: maven(streamsPom)}
	connectKit = kit{name: "Kafka Connect " + KafkaVersion, folder: "kafka-connect-" + KafkaVersion, from: "Maven Central", fetch: maven(connectPom)}
	flinkKit   = kit{name: "Flink " + FlinkVersion, folder: "flink-" + FlinkVersion, from: "PyPI and Maven Central", fetch: fetchFlink, sums: flinkSums}

	// flinkJDBCKit is not part of flinkKit, so that its jars can change without Flink's.
	flinkJDBCKit = kit{name: "Flink's JDBC connector " + flinkJDBCVersion, folder: "flink-jdbc-" + flinkJDBCVersion, from: "Maven Central", fetch: maven(flinkJDBCPom), sums: flinkJDBCSums}

	apicurioKit = kit{name: "Apicurio " + ApicurioVersion, folder: "apicurio-" + ApicurioVersion, from: "Maven Central and PyPI", fetch: fetchApicurio}
)

// cacheDir returns the folder for jars: $WEIR_STACK, or one in the user's cache.
func cacheDir() (string, error) {
	if dir := os.Getenv("WEIR_STACK"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(dir, "weir-stack"), nil
}

// jars returns the folder with the kit's jars, and fetches them the first time. Concurrent
// processes wait for each other.
func (k kit) jars(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, k.folder)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(dir + ".lock")
	if err := lock.Lock(); err != nil {
		return "", fmt.Errorf("lock the cache: %w", err)
	}
	defer func() { _ = lock.Unlock() }() // the lock is released with the process in any case
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // leftovers are harmless
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := k.fetch(ctx, tmp); err != nil {
		return "", fmt.Errorf("fetch %s from %s: %w", k.name, k.from, err)
	}
	if err := k.verify(tmp); err != nil {
		return "", fmt.Errorf("check %s from %s: %w", k.name, k.from, err)
	}
	return dir, os.Rename(tmp, dir)
}

// verify compares the files of dir with the kit's checksums. Missing and unlisted files are errors.
func (k kit) verify(dir string) error {
	if k.sums == "" {
		return nil
	}
	want := make(map[string]string) // path → sum
	for line := range strings.Lines(k.sums) {
		sum, path, _ := strings.Cut(strings.TrimSpace(line), "  ")
		want[path] = sum
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		sum, ok := want[filepath.ToSlash(name)]
		if !ok {
			return fmt.Errorf("%s is not a file of this kit", name)
		}
		delete(want, filepath.ToSlash(name))
		have, err := sha256Of(path)
		if err == nil && have != sum {
			err = fmt.Errorf("%s has the SHA-256 %s, want %s: the download is corrupt, or not the version that Weir was tested with", name, have, sum)
		}
		return err
	})
	for name := range want {
		if err == nil {
			err = fmt.Errorf("%s is missing", name)
		}
	}
	return err
}

func sha256Of(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// maven fetches the jars that a pom names, and their dependencies.
func maven(pom []byte) func(ctx context.Context, dir string) error {
	return func(ctx context.Context, dir string) error { return mavenGoal(ctx, pom, "copy-dependencies", dir) }
}

// mavenGoal copies or unpacks what a pom names into a folder.
func mavenGoal(ctx context.Context, pom []byte, goal, dir string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("no mvn: install Maven and a JDK 17 (Debian: apt-get install maven openjdk-17-jdk-headless)")
	}
	tmp, err := os.MkdirTemp("", "weir-pom-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // leftovers are harmless
	file := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(file, pom, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, mvn, "--batch-mode", "--quiet", "-f", file,
		dependencyPlugin+":"+goal, "-DincludeScope=runtime", "-DoutputDirectory="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn: %w: %s", err, lastLines(out))
	}
	return nil
}

// lastLines returns the end of a process's output, where errors usually are.
func lastLines(out []byte) string {
	const n = 5
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
