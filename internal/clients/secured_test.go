package clients

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/stack"
)

// Kafka's own command-line tools, and with them Java's producer, consumer and AdminClient, use a
// listener that has TLS and requires a login by SCRAM.
func TestJavaSecured(t *testing.T) {
	needsAll(t)
	needsTools(t, "java", "mvn")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	broker := serveSecured(t)
	properties := func(password string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "client.properties")
		text := fmt.Sprintf("security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.type=PEM\nssl.truststore.location=%s\n"+
			"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=%q password=%q;\n"+
			"default.api.timeout.ms=20000\nrequest.timeout.ms=10000\n", filepath.Join(broker.certs, "ca.pem"), clientName, password)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	tool := func(config, class, flag, input string, args ...string) (string, error) {
		t.Helper()
		cmd, err := stack.JavaTool(ctx, "128m", "org.apache.kafka.tools."+class, append([]string{"--bootstrap-server", broker.Address(), flag, config}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = strings.NewReader(input)
		return run(t, cmd)
	}
	config := properties(broker.password)
	for _, c := range []struct{ class, flag, input, args, want string }{
		{"TopicCommand", "--command-config", "", "--create --topic secured --partitions 3", "Created topic secured"},
		{"ConsoleProducer", "--command-config", "one\ntwo\nthree\n", "--topic secured --command-property enable.idempotence=true", ""},
		{"consumer.ConsoleConsumer", "--command-config", "", "--topic secured --from-beginning --group readers --max-messages 3 --timeout-ms 20000", "three"},
		{"TopicCommand", "--command-config", "", "--describe --topic secured", "PartitionCount: 3"},
		{"consumer.group.ConsumerGroupCommand", "--command-config", "", "--describe --group readers", "secured"},
		{"AclCommand", "--command-config", "", "--add --allow-principal User:press --operation Write --topic secured", "User:press"},
		{"AclCommand", "--command-config", "", "--list --principal User:press", "operation=WRITE"},
	} {
		if out, err := tool(config, c.class, c.flag, c.input, strings.Fields(c.args)...); err != nil || !strings.Contains(out, c.want) {
			t.Errorf("%s %s: %v\n%s", c.class, c.args, err, out)
		}
	}
	if out, err := tool(properties("guess"), "TopicCommand", "--command-config", "", "--list"); err == nil || strings.Contains(out, "secured") {
		t.Errorf("with a wrong password: %v\n%s", err, out)
	}
}
