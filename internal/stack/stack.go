// Package stack runs real Kafka, Flink, PostgreSQL and a schema registry as child processes: for
// tests, for benchmarks, and for the development clusters of weir kafka up and weir flink up. No
// Docker: all but PostgreSQL are Java processes with their jars from package registries, fetched
// once into a cache.
//
//	stack.go         Java processes, ports, the file that describes a cluster in its folder
//	kit.go           the jars and their checksums
//	process.go       one process: child or detached; killing it, finding it again
//	kafka.go         a cluster of KRaft nodes that can be killed, paused and started again
//	flink.go         a Flink cluster with its SQL Gateway
//	apicurio.go      a schema registry
//	postgres.go      a PostgreSQL server
//	python.go        clients for Python
//	node.go          clients for Node.js
//	librdkafka.go    librdkafka's own tests, built from source
//	streams.go       programs written with Kafka Streams; Kafka Connect
//	flink_kit.go     download of Flink
//	flink_config.go  settings and memory of its processes
package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Versions in kafka.xml, flink.xml and apicurio.xml.
const (
	KafkaVersion    = "4.3.1"
	FlinkVersion    = "2.2.1"
	ApicurioVersion = "3.3.3"
)

// TB is the part of testing.TB that a cluster for a test needs.
type TB interface {
	Helper()
	Context() context.Context
	Fatal(args ...any)
	Error(args ...any)
	Cleanup(fn func())
}

// ErrNoCluster means that a folder has no cluster.
var ErrNoCluster = errors.New("no cluster")

// clusterFile, in a cluster's folder, describes its processes.
const clusterFile = "cluster.json"

func writeCluster(dir string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, clusterFile), append(text, '\n'), 0o600)
}

func readCluster(dir string, v any) error {
	text, err := os.ReadFile(filepath.Join(dir, clusterFile))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w in %s", ErrNoCluster, dir)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(dir, clusterFile), err)
	}
	return nil
}

// FreePorts returns n free ports from start on; 0 chooses a start. They are below the range of
// ephemeral ports, so that a killed process gets its ports back.
func FreePorts(start, n int) ([]int, error) {
	var ports []int
	if start == 0 {
		start = 20000 + os.Getpid()*37%10000
	}
	for port := start; len(ports) < n && port < start+2000; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // returns immediately
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("no %d free ports from %d on", n, start)
	}
	return ports, nil
}

// quiet is a log configuration that keeps Kafka's tools from logging to standard output.
const quiet = `status=error
appender.c.type=Console
appender.c.name=C
appender.c.target=SYSTEM_ERR
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.c.ref=C
logger.server.name=kafka.server
logger.server.level=info
`

// KafkaJars returns the folder of Kafka's jars, which are fetched the first time.
func KafkaJars(ctx context.Context) (string, error) { return kafkaKit.jars(ctx) }

// JavaTool returns a command that runs a class of Kafka's jars with a maximum heap such as "512m".
func JavaTool(ctx context.Context, heap, class string, args ...string) (*exec.Cmd, error) {
	libs, err := kafkaKit.jars(ctx)
	if err != nil {
		return nil, err
	}
	return java(ctx, libs, heap, filepath.Join(libs, "*"), class, args...)
}

// java returns a command that runs a class of a class path; its log configuration is stored next to
// libs.
func java(ctx context.Context, libs, heap, classPath, class string, args ...string) (*exec.Cmd, error) {
	java, err := findJava()
	if err != nil {
		return nil, err
	}
	logging := libs + ".log4j2.properties"
	if have, err := os.ReadFile(logging); err != nil || !bytes.Equal(have, []byte(quiet)) {
		if err := os.WriteFile(logging, []byte(quiet), 0o600); err != nil {
			return nil, err
		}
	}
	all := append([]string{"-Xmx" + heap, "-Dlog4j2.configurationFile=" + logging, "-cp", classPath, class}, args...)
	return exec.CommandContext(ctx, java, all...), nil
}

func findJava() (string, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return "", errors.New("no java: install a JDK 17 (Debian: apt-get install openjdk-17-jdk-headless)")
	}
	return java, nil
}

// findJavaOf returns the first Java of one of the major versions: that of $JAVA_HOME, that of the
// path, those of Debian.
func findJavaOf(ctx context.Context, majors ...int) (string, error) {
	candidates := []string{"java"}
	if home := os.Getenv("JAVA_HOME"); home != "" {
		candidates = append([]string{filepath.Join(home, "bin", "java")}, candidates...)
	}
	installed, err := filepath.Glob("/usr/lib/jvm/*/bin/java")
	if err != nil {
		return "", err
	}
	var found []string
	for _, name := range append(candidates, installed...) {
		java, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		major, err := javaMajor(ctx, java)
		if err != nil {
			return "", err
		}
		if slices.Contains(majors, major) {
			return java, nil
		}
		found = append(found, fmt.Sprintf("%s is Java %d", java, major))
	}
	if len(found) == 0 {
		found = []string{"no java found"}
	}
	return "", fmt.Errorf("no Java %d, %s: install a JDK %[1]d (Debian: apt-get install openjdk-%[1]d-jdk-headless) or set JAVA_HOME",
		majors[0], strings.Join(found, ", "))
}

// javaMajor returns the major version of a Java, such as 17.
func javaMajor(ctx context.Context, java string) (int, error) {
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s -version: %w: %s", java, err, lastLines(out))
	}
	_, text, ok := strings.Cut(string(out), `version "`)
	var major int
	if _, err := fmt.Sscanf(text, "%d", &major); !ok || err != nil {
		return 0, fmt.Errorf("%s -version printed %q: no version found", java, lastLines(out))
	}
	return major, nil
}
