package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/ingest"
	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/produce"
)

// ingestCommand is one invocation of weir ingest.
type ingestCommand struct {
	kafka  kafkaFlags
	topic  siteFlags
	admins adminFlags
	traces traceFlags
	stop   stopFlag
	config *ingest.Config
	ack    string
}

func newIngest() *cobra.Command {
	var c ingestCommand
	cmd := &cobra.Command{
		Use:   "ingest FILE",
		Short: "Accept readings from devices and gateways by HTTP and MQTT, exactly once in Kafka",
		Long: `Accepts readings that devices and gateways push, as the file in YAML describes. What is acknowledged is on the disk, in a
spool, and is sent from there to the topic sensor_data_tx, or to that of --topic, in transactions that contain the spool's position:
nothing that was acknowledged is lost or repeated, whenever this process is killed. Messages without a reading go to the dead
letters, with their bytes and the reason. While Kafka is away, the spool fills; once it is full, requests get 429 and have to be retried, and MQTT clients get 0x97 or wait.

  POST /v1/readings         readings in JSON: one, an array, or one per line
  POST /v1/topics/TOPIC     a message in any form, mapped by the first rule of the file whose topic filter matches
  POST /api/v2/write        InfluxDB's line protocol, from Telegraf and others; also /write
  POST /v1/metrics          metrics of OpenTelemetry (OTLP); gauges and sums are readings
  POST /api/v1/write        Prometheus's remote write, 1.0 and 2.0
  MQTT                      with mqtt.listen, a broker for MQTT 3.1.1 and 5 (QoS 0 and 1), whose messages the same rules map
  subscribe                 messages of existing MQTT brokers

The spool numbers the readings of each device, so that weir verify finds what is missing or repeated.`,
		Example: `  weir ingest ingest.yaml
  weir ingest ingest.yaml --brokers kafka-1:9092,kafka-2:9092
  curl -d '{"device_id":"d1","sensor":"temperature","value":21.5}' http://127.0.0.1:8086/v1/readings
  weir ingest guess mqtt://127.0.0.1 > ingest.yaml
  weir ingest test ingest.yaml < messages.ndjson`,
		Args: oneConfiguration,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if c.config, err = ingest.ReadWith(args[0], ingest.Override{Ack: c.ack}); err != nil {
				return usage(err)
			}
			if err := c.stop.watch(cmd.Context(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			c.kafka.create, c.kafka.later = true, true
			return c.kafka.attached(cmd, func(ctx context.Context, log *slog.Logger, at *node.Attachment) error {
				return c.run(ctx, cmd, log, at)
			})
		},
	}
	c.kafka.add(cmd)
	c.topic.add(cmd, siteScope)
	c.admins.add(cmd, "")
	c.traces.add(cmd)
	cmd.Flags().StringVar(&c.ack, "ack", "", "acknowledge what is on the disk (spool), or only what is committed in Kafka (kafka); takes precedence over ack in the file, whose default is spool")
	c.stop.add(cmd)
	cmd.AddCommand(newIngestTest(), newIngestGuess())
	return cmd
}

func oneConfiguration(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(fmt.Errorf("%s needs exactly one file in YAML", cmd.CommandPath()))
	}
	return nil
}

// run accepts and sends readings until ctx is done.
func (c *ingestCommand) run(ctx context.Context, cmd *cobra.Command, log *slog.Logger, at *node.Attachment) error {
	where, err := c.topic.site()
	if err != nil {
		return err
	}
	admin, err := c.admins.admin(ctx, at, log)
	if err != nil {
		return err
	}
	defer admin.Close()
	closeTraces, err := c.traces.open(ctx, admin, log)
	if err != nil {
		return err
	}
	defer closeTraces()
	defer spendMemory()()
	c.admins.printAddress()
	if err := at.Observe(admin.Registry); err != nil {
		return err
	}
	devices, err := admin.Devices(ctx, &node.DevicesConfig{
		Ingest: c.config, DataDir: c.kafka.dataDir, Insecure: c.admins.serve.insecure,
		Prepare: func(ctx context.Context) error { return node.ApplyTopics(ctx, at.Broker, where) },
	}, produce.Config{
		Broker: admin.Broker(at.Broker), Topic: where.Readings(), DLQ: where.DeadLetters(), Progress: where.Progress(),
		StopTimeout: c.stop.limit(), MarkTransactions: true, Logger: log,
	}, where, log)
	if err != nil {
		return usage(err)
	}
	if urls := devices.URLs(); len(urls) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "accepting readings at %s\n", strings.Join(urls, " and "))
	}
	for _, url := range devices.Sources() {
		fmt.Fprintf(cmd.ErrOrStderr(), "taking messages from %s\n", url)
	}
	if err := devices.Run(ctx, nil); err != nil {
		return err
	}
	if left := devices.Left(); left > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s on the disk are not yet in Kafka; the next run sends them\n", plural(left, "item"))
	}
	return nil
}

// testedMessage is a line of the input of weir ingest test.
type testedMessage struct {
	Topic   string          `json:"topic"`
	Payload json.RawMessage `json:"payload"` // text is the payload itself, anything else its JSON
}

// testedResult is a line of its output in JSON.
type testedResult struct {
	Topic       string            `json:"topic"`
	Rule        string            `json:"rule,omitempty"` // none: no rule matches
	Readings    []json.RawMessage `json:"readings,omitempty"`
	DeadLetters []string          `json:"dead_letters,omitempty"` // their reasons
	Kept        string            `json:"kept,omitempty"`         // topic of Kafka in which the message is kept as it is
	Skipped     int               `json:"skipped,omitempty"`
	Ignored     string            `json:"ignored,omitempty"`
}

func newIngestTest() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Show what the rules make of messages, without a broker",
		Long: `Reads messages from standard input, one per line, and prints the readings and dead letters that the rules of the file make of
them. A line is a topic and its payload, as mosquitto_sub -v prints them, or a JSON object. There, a payload that is text is the message
itself. The exit code is 3 if any message has no reading and is not ignored on purpose.

  site/d1/temperature 21.5
  {"topic":"zigbee2mqtt/kitchen","payload":{"temperature":21.5,"humidity":40}}`,
		Example: `  weir ingest test ingest.yaml < messages.ndjson
  mosquitto_sub -t '#' -v -W 30 | weir ingest test ingest.yaml`,
		Args: oneConfiguration,
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			config, err := ingest.Read(args[0])
			if err != nil {
				return usage(err)
			}
			return testMessages(cmd.InOrStdin(), cmd.OutOrStdout(), config.Mapping(), asJSON)
		},
	}
	out.add(cmd)
	return cmd
}

// testMessages maps the messages of in.
func testMessages(in io.Reader, out io.Writer, m *mapping.Mapping, asJSON bool) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	failed := false
	for number := 1; lines.Scan(); number++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		topic, payload, ok := parseTested(lines.Text())
		if !ok {
			return usage(fmt.Errorf("line %d is not a message such as\n  site/d1/temperature 21.5\nor\n  {\"topic\":\"site/d1/temperature\",\"payload\":\"21.5\"}", number))
		}
		r := m.Map(&mapping.Message{Topic: topic, Payload: payload, Arrived: time.Now()})
		failed = failed || len(r.Readings)+len(r.Messages) == 0 && r.Ignored == "" || len(r.Rejected) > 0
		if err := showTested(out, topic, &r, asJSON); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if failed {
		return errCheck
	}
	return nil
}

// parseTested parses a line: a topic and a payload, or a JSON object with both.
func parseTested(line string) (topic string, payload []byte, ok bool) {
	if !strings.HasPrefix(line, "{") {
		topic, text, found := strings.Cut(line, " ")
		return topic, []byte(text), found && topic != ""
	}
	var msg testedMessage
	if err := json.Unmarshal([]byte(line), &msg); err != nil || msg.Topic == "" || msg.Payload == nil {
		return "", nil, false
	}
	var text string
	if json.Unmarshal(msg.Payload, &text) == nil {
		return msg.Topic, []byte(text), true
	}
	return msg.Topic, msg.Payload, true
}

func showTested(out io.Writer, topic string, r *mapping.Result, asJSON bool) error {
	shown := testedResult{Topic: topic, Rule: r.Rule, Skipped: r.Skipped, Ignored: r.Ignored}
	for i := range r.Readings {
		shown.Readings = append(shown.Readings, r.Readings[i].AppendJSON(nil))
	}
	for _, d := range r.Rejected {
		shown.DeadLetters = append(shown.DeadLetters, d.Reason)
	}
	for i := range r.Messages {
		shown.Kept = r.Messages[i].Topic
	}
	if asJSON {
		return writeJSON(out, shown)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s", topic)
	if r.Rule != "" {
		fmt.Fprintf(&b, "  (%s)", r.Rule)
	}
	fmt.Fprintln(&b)
	for _, text := range shown.Readings {
		fmt.Fprintf(&b, "  reading      %s\n", text)
	}
	for _, reason := range shown.DeadLetters {
		fmt.Fprintf(&b, "  dead letter  %s\n", reason)
	}
	if shown.Kept != "" {
		fmt.Fprintf(&b, "  kept as it is in the topic %s\n", shown.Kept)
	}
	if r.Ignored != "" {
		fmt.Fprintf(&b, "  ignored      %s\n", r.Ignored)
	}
	if r.Skipped > 0 {
		fmt.Fprintf(&b, "  skipped      %s without a number\n", plural(int64(r.Skipped), "field"))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
