// Package stack runs real Kafka as child processes, for tests and benchmarks only. No Docker: the brokers
// are Java processes with their jars from Maven Central, fetched once into a cache.
//
//	stack.go    the jars and the Java processes
//	kafka.go    a cluster of KRaft nodes that can be killed, paused and started again
//	streams.go  programs written with Kafka Streams
package stack

import (
	"bytes"
	"context"
	_ "embed" // the list of jars
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/gofrs/flock"
)

// KafkaVersion is the Kafka that pom.xml names.
const KafkaVersion = "4.3.1"

//go:embed pom.xml
var pom []byte

// dependencyPlugin copies the jars that the pom names.
const dependencyPlugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

// kit is a list of jars with a folder of its own in the cache.
type kit struct {
	name   string
	folder string
	pom    []byte
}

var kafkaKit = kit{name: "Kafka", folder: "kafka-" + KafkaVersion, pom: pom}

// cacheDir is where jars are kept: $WEIR_STACK, or a folder of the user's cache.
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

// jars returns the folder with the kit's jars, fetching them the first time. Processes that need them at the
// same time wait for each other.
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
	defer func() { _ = lock.Unlock() }() // the lock ends with the process in any case
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := k.fetch(ctx, cache, dir); err != nil {
		return "", fmt.Errorf("fetch %s %s from Maven Central: %w", k.name, KafkaVersion, err)
	}
	return dir, nil
}

func (k kit) fetch(ctx context.Context, cache, dir string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("no mvn: install Maven and a JDK 17 (Debian: apt-get install maven openjdk-17-jdk-headless)")
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // a left-over is only untidy
	file := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(file, k.pom, 0o600); err != nil {
		return err
	}
	libs := filepath.Join(tmp, "libs")
	cmd := exec.CommandContext(ctx, mvn, "--batch-mode", "--quiet", "-f", file,
		dependencyPlugin+":copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+libs)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn: %w: %s", err, lastLines(out))
	}
	return os.Rename(libs, dir)
}

// lastLines is the end of a process's output, where it says what went wrong.
func lastLines(out []byte) string {
	const n = 5
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// quiet keeps Kafka's tools from writing logs to standard output.
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

// JavaTool returns a command that runs a class of Kafka's jars with so much heap, such as "512m".
func JavaTool(ctx context.Context, heap, class string, args ...string) (*exec.Cmd, error) {
	libs, err := kafkaKit.jars(ctx)
	if err != nil {
		return nil, err
	}
	return java(ctx, libs, heap, filepath.Join(libs, "*"), class, args...)
}

// java returns a command that runs a class of a class path; the settings of its log are kept in libs.
func java(ctx context.Context, libs, heap, classPath, class string, args ...string) (*exec.Cmd, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, errors.New("no java: install a JDK 17 (Debian: apt-get install openjdk-17-jdk-headless)")
	}
	logging := filepath.Join(libs, "log4j2.properties")
	if have, err := os.ReadFile(logging); err != nil || !bytes.Equal(have, []byte(quiet)) {
		if err := os.WriteFile(logging, []byte(quiet), 0o600); err != nil {
			return nil, err
		}
	}
	all := append([]string{"-Xmx" + heap, "-Dlog4j2.configurationFile=" + logging, "-cp", classPath, class}, args...)
	return exec.CommandContext(ctx, java, all...), nil
}

// starter starts processes that die with this one, even if this one is killed. The kernel sends a child its
// parent-death signal when the thread that started it ends, so one thread starts them all and stays.
type starter struct{ work chan func() }

func newStarter() *starter {
	s := &starter{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for fn := range s.work {
			fn()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan error)
	s.work <- func() { done <- cmd.Start() }
	return <-done
}

func (s *starter) close() { close(s.work) }
