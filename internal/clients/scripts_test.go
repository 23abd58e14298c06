package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/stack"
)

// client is a program that checks a client library. It prints a line for each check: its name, a
// tab, and ok, unsupported (by the client) or an error.
type client struct {
	name    string // with the version
	sampled bool   // part of make test
	tools   []string
	topics  []string // created before, if the client can't
	command func(ctx context.Context, address string) (*exec.Cmd, error)
}

// checks are what the programs check, in the order of the page's rows.
var checks = []struct{ name, what string }{
	{"produce", "records with keys, headers, timestamps and null values"},
	{"idempotent", "idempotent producer"},
	{"compression", "compressed batches"},
	{"classic group", "classic consumer group: rebalance, commit, resume"},
	{"KIP-848 group", "consumer group of KIP-848: the same"},
	{"transactions", "transactions: commit, abort, read_committed"},
	{"transform", "consume, transform, produce, with offsets in the transaction"},
	{"fencing", "a second producer of a transactional id fences the first"},
	{"administration", "administration: topics, configs, records, groups, offsets"},
}

func script(name string) string { return filepath.Join("testdata", "scripts", name) }

// theClients are the columns of the page.
var theClients = []client{
	{
		name: "confluent-kafka 2.16.1 (librdkafka)", sampled: true, tools: []string{"pip3"},
		command: func(ctx context.Context, address string) (*exec.Cmd, error) {
			return stack.PythonTool(ctx, script("confluent.py"), address)
		},
	},
	{
		name: "kcat 1.7 (librdkafka 2.0)", sampled: true, tools: []string{"kcat"},
		topics: []string{"kcat-produce", "kcat-idempotent", "kcat-compression", "kcat-group"},
		command: func(ctx context.Context, address string) (*exec.Cmd, error) {
			return exec.CommandContext(ctx, script("kcat.sh"), address), nil
		},
	},
	{
		name: "kafka-python 3.0.12", tools: []string{"pip3"},
		command: func(ctx context.Context, address string) (*exec.Cmd, error) {
			return stack.PythonToolWith(ctx, []string{"kafka-python==3.0.12"}, script("kafkapython.py"), address)
		},
	},
	{
		name: "aiokafka 0.14.0", tools: []string{"pip3"},
		command: func(ctx context.Context, address string) (*exec.Cmd, error) {
			return stack.PythonToolWith(ctx, []string{"aiokafka==0.14.0"}, script("aiokafkaclient.py"), address)
		},
	},
	{
		name: "KafkaJS 2.2.4", tools: []string{"npm", "node"},
		command: func(ctx context.Context, address string) (*exec.Cmd, error) {
			return stack.NodeTool(ctx, []string{"kafkajs@2.2.4"}, script("kafkajs.js"), address)
		},
	},
	{
		name: "Sarama 1.61.1",
		command: func(ctx context.Context, address string) (*exec.Cmd, error) {
			cmd := exec.CommandContext(ctx, "go", "run", ".", address)
			cmd.Dir = script("sarama")
			return cmd, nil
		},
	},
}

// TestClients runs the checks of each client on the embedded broker and compares the results with
// the table in docs/reference/clients.md.
func TestClients(t *testing.T) {
	needsTools(t)
	page := readPage(t)
	results := make(map[string]map[string]string) // client, check → result
	broker := serveEmbedded(t)
	for _, c := range theClients {
		t.Run(strings.Fields(c.name)[0], func(t *testing.T) {
			if !c.sampled {
				needsAll(t)
			}
			needsTools(t, c.tools...)
			results[c.name] = runChecks(t, c, broker)
		})
	}
	if *update {
		page.write(t, results)
		page = readPage(t)
	}
	for name, have := range results {
		for _, check := range checks {
			if have, want := cell(have[check.name]), page.results[name][check.name]; have != want {
				t.Errorf("%s, %s: %s has %q, want %q (make clients UPDATE=1)", name, check.name, pageFile, want, have)
			}
		}
	}
	for _, c := range theClients {
		if page.results[c.name] == nil {
			t.Errorf("%s has no column for %s (make clients UPDATE=1)", pageFile, c.name)
		}
	}
}

// TestClientsSecured runs the same programs through a listener that has TLS and requires a login by
// SCRAM: all of it works as without.
func TestClientsSecured(t *testing.T) {
	needsTools(t)
	page := readPage(t)
	broker := serveSecured(t)
	for _, c := range theClients {
		t.Run(strings.Fields(c.name)[0], func(t *testing.T) {
			if c.name != "kcat 1.7 (librdkafka 2.0)" {
				needsAll(t)
			}
			needsTools(t, c.tools...)
			results := runChecks(t, c, broker)
			for _, check := range checks {
				if have, want := cell(results[check.name]), page.results[c.name][check.name]; have != want {
					t.Errorf("%s, %s: %q with TLS and SCRAM, %q without", c.name, check.name, have, want)
				}
			}
		})
	}
}

// TestClientsOfKafka is the control: all checks must pass on real Kafka.
func TestClientsOfKafka(t *testing.T) {
	needsAll(t)
	needsTools(t, "java", "mvn")
	broker := realKafka(t)
	for _, c := range theClients {
		t.Run(strings.Fields(c.name)[0], func(t *testing.T) {
			needsTools(t, c.tools...)
			runChecks(t, c, broker)
		})
	}
}

// runChecks runs a client's program and returns the results by check. Errors fail the test.
func runChecks(t *testing.T, c client, broker cluster) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if len(c.topics) > 0 {
		createTopics(t, broker, 3, c.topics...)
	}
	cmd, err := c.command(ctx, broker.Address())
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := broker.(*served); ok {
		cmd.Env = append(cmd.Environ(), s.environment()...)
	}
	out, err := run(t, cmd)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	results := make(map[string]string)
	for line := range strings.Lines(out) {
		name, result, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			t.Errorf("%s printed %q", c.name, line)
			continue
		}
		results[name] = result
		if result != "ok" && result != "unsupported" {
			t.Errorf("%s: %s", name, result)
		}
	}
	for _, check := range checks {
		if results[check.name] == "" {
			t.Errorf("%s: no result", check.name)
		}
	}
	return results
}

// cell is a result in the page's table.
func cell(result string) string {
	switch result {
	case "ok":
		return "works"
	case "unsupported":
		return "–"
	}
	return "fails"
}

const (
	pageFile  = "docs/reference/clients.md"
	tableHead = "<!-- table of internal/clients/scripts_test.go: make clients UPDATE=1 -->\n"
	tableEnd  = "<!-- end of the table -->\n"
)

// clientsPage is docs/reference/clients.md with its table.
type clientsPage struct {
	before, after string
	results       map[string]map[string]string // client, check → cell
}

func readPage(t *testing.T) *clientsPage {
	t.Helper()
	text := readFile(t, filepath.Join("..", "..", filepath.FromSlash(pageFile)))
	before, rest, ok := strings.Cut(text, tableHead)
	table, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		t.Fatalf("%s has no table", pageFile)
	}
	p := &clientsPage{before: before, after: after, results: make(map[string]map[string]string)}
	var columns []string
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | ")
		switch {
		case i == 0:
			columns = cells[1:]
			for _, name := range columns {
				p.results[name] = make(map[string]string)
			}
		case i > 1:
			at := slices.IndexFunc(checks, func(c struct{ name, what string }) bool { return c.what == cells[0] })
			if at < 0 || len(cells) != len(columns)+1 {
				t.Fatalf("%s: invalid row %q", pageFile, line)
			}
			for n, name := range columns {
				p.results[name][checks[at].name] = cells[n+1]
			}
		}
	}
	return p
}

// write writes the page with new results; clients without any keep theirs.
func (p *clientsPage) write(t *testing.T, results map[string]map[string]string) {
	t.Helper()
	var b strings.Builder
	b.WriteString(p.before + tableHead + "| what")
	for _, c := range theClients {
		b.WriteString(" | " + c.name)
	}
	b.WriteString(" |\n|" + strings.Repeat("---|", len(theClients)+1) + "\n")
	for _, check := range checks {
		b.WriteString("| " + check.what)
		for _, c := range theClients {
			text := p.results[c.name][check.name]
			if all, ok := results[c.name]; ok {
				text = cell(all[check.name])
			}
			fmt.Fprintf(&b, " | %s", text)
		}
		b.WriteString(" |\n")
	}
	b.WriteString(tableEnd + p.after)
	if err := os.WriteFile(filepath.Join("..", "..", filepath.FromSlash(pageFile)), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}
