package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// pythonClients are Confluent's client and serializers, independent of Weir's code.
const pythonClients = "confluent-kafka[avro,json,protobuf,schemaregistry]==2.16.1"

var pythonKit = kit{
	name: "confluent-kafka for Python", folder: "python-confluent-kafka-2.16.1", from: "PyPI",
	fetch: fetchPython([]string{pythonClients}),
}

func fetchPython(packages []string) func(ctx context.Context, dir string) error {
	return func(ctx context.Context, dir string) error {
		pip, err := exec.LookPath("pip3")
		if err != nil {
			return errors.New("no pip3: install Python's package installer (Debian: apt-get install python3-pip)")
		}
		args := append([]string{"install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--target", dir}, packages...)
		if out, err := exec.CommandContext(ctx, pip, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("pip3 install %s: %w: %s", strings.Join(packages, " "), err, lastLines(out))
		}
		return nil
	}
}

// PythonTool returns a command that runs a Python program that may import confluent_kafka, with up
// to 2 GiB of memory.
func PythonTool(ctx context.Context, script string, args ...string) (*exec.Cmd, error) {
	return pythonTool(ctx, pythonKit, script, args...)
}

// PythonToolWith is PythonTool for a program that may import packages of PyPI, each with its
// version, such as aiokafka==0.14.0.
func PythonToolWith(ctx context.Context, packages []string, script string, args ...string) (*exec.Cmd, error) {
	k := kit{name: strings.Join(packages, ", "), folder: "python-" + folderOf(packages), from: "PyPI", fetch: fetchPython(packages)}
	return pythonTool(ctx, k, script, args...)
}

func pythonTool(ctx context.Context, k kit, script string, args ...string) (*exec.Cmd, error) {
	libs, err := k.jars(ctx)
	if err != nil {
		return nil, err
	}
	limited := append([]string{"-c", `ulimit -v 2097152; exec python3 "$@"`, "python3", script}, args...)
	cmd := exec.CommandContext(ctx, "sh", limited...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+libs, "PYTHONDONTWRITEBYTECODE=1")
	return cmd, nil
}
