package stack

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// CompileStreams compiles Java files that use Kafka Streams into the folder classes.
func CompileStreams(ctx context.Context, classes string, files ...string) error {
	javac, err := exec.LookPath("javac")
	if err != nil {
		return errors.New("no javac: install a JDK 17 (Debian: apt-get install openjdk-17-jdk-headless)")
	}
	libs, err := streamsKit.jars(ctx)
	if err != nil {
		return err
	}
	args := append([]string{"-J-Xmx512m", "-Xlint:all", "-cp", filepath.Join(libs, "*"), "-d", classes}, files...)
	if out, err := exec.CommandContext(ctx, javac, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("javac: %w: %s", err, lastLines(out))
	}
	return nil
}

// StreamsTool returns a command that runs a class of the folder classes with Kafka Streams' jars,
// with a maximum heap such as "1g".
func StreamsTool(ctx context.Context, heap, classes, class string, args ...string) (*exec.Cmd, error) {
	libs, err := streamsKit.jars(ctx)
	if err != nil {
		return nil, err
	}
	return java(ctx, libs, heap, classes+":"+filepath.Join(libs, "*"), class, args...)
}

// ConnectTool returns a command that runs a standalone worker of Kafka Connect, which has the
// FileStream connectors, with a maximum heap such as "256m". The files are the properties of the
// worker and of its connectors.
func ConnectTool(ctx context.Context, heap string, files ...string) (*exec.Cmd, error) {
	libs, err := connectKit.jars(ctx)
	if err != nil {
		return nil, err
	}
	return java(ctx, libs, heap, filepath.Join(libs, "*"), "org.apache.kafka.connect.cli.ConnectStandalone", files...)
}
