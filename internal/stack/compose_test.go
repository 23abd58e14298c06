package stack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
)

// settings reads lines "key=value" or "key: value".
func settings(text, separator string) map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), separator); ok {
			all[key] = strings.TrimSpace(value)
		}
	}
	return all
}

// The compose file can't be started without Docker. Its versions and important settings match those
// of the processes that the tests start instead.
func TestComposeAgrees(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../../deploy/compose.yaml"}, cli.WithProfiles([]string{"all"}), cli.WithEnv([]string{"WEIR_CONSOLE_TOKEN=a", "POSTGRES_PASSWORD=b"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kafka := Kafka{nodes: []*node{{id: 1}, {id: 2}, {id: 3}}}
	ours := settings(kafka.properties(kafka.nodes[0]), "=")
	for _, name := range []string{"kafka1", "kafka2", "kafka3"} {
		s := project.Services[name]
		if s.Image != "apache/kafka:"+KafkaVersion {
			t.Errorf("%s is %s, and the tests run %s", name, s.Image, KafkaVersion)
		}
		for _, key := range []string{
			"process.roles", "auto.create.topics.enable", "unclean.leader.election.enable", "default.replication.factor", "min.insync.replicas",
			"offsets.topic.replication.factor", "transaction.state.log.replication.factor", "transaction.state.log.min.isr",
			"share.coordinator.state.topic.replication.factor", "share.coordinator.state.topic.min.isr",
		} {
			env := "KAFKA_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
			if value := s.Environment[env]; value == nil || *value != ours[key] || ours[key] == "" {
				t.Errorf("%s: %s differs from %s=%s of the tests", name, env, key, ours[key])
			}
		}
	}

	flink := Flink{dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(flink.dir, "conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := flink.configure(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(flink.dir, "conf", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	ours = settings(string(text), ": ")
	ours["metrics.reporter.prom.factory.class"] = ours["metrics.reporter.prometheus.factory.class"]
	for _, name := range []string{"jobmanager", "taskmanager", "gateway"} {
		theirs := settings(*project.Services[name].Environment["FLINK_PROPERTIES"], ": ")
		for _, key := range []string{
			"state.backend.type", "execution.checkpointing.mode", "execution.checkpointing.interval", "execution.checkpointing.incremental",
			"execution.checkpointing.externalized-checkpoint-retention", "metrics.reporter.prom.factory.class", "table.local-time-zone",
		} {
			if theirs[key] != ours[key] || ours[key] == "" {
				t.Errorf("%s: %s is %q, and %q in the tests", name, key, theirs[key], ours[key])
			}
		}
	}
	image, err := os.ReadFile("../../deploy/flink.Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(image), "ARG BASE=flink:"+FlinkVersion+"-") {
		t.Errorf("flink.Dockerfile is not on Flink %s", FlinkVersion)
	}
}
