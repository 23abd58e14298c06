package flink

import (
	"regexp"
	"strings"

	"weir.example/weir/internal/secret"
)

// Problem is a summary of a Flink exception.
type Problem struct {
	What   string `json:"what"`             // the root cause's message
	Hint   string `json:"hint,omitempty"`   // what to do
	Class  string `json:"class,omitempty"`  // of the root cause
	Detail string `json:"detail,omitempty"` // the stack trace
}

func (p Problem) String() string {
	if p.Hint == "" {
		return p.What
	}
	return p.What + ": " + p.Hint
}

// known lists exceptions that users encounter, and what to do about them. what and hint may refer
// to the expression's groups.
var known = []struct {
	found      *regexp.Regexp
	what, hint string // "" keeps the exception's message
}{
	{
		regexp.MustCompile(`Could not find any factory for identifier '([^']+)' that implements '[\w.$]*(DynamicTable\w*Factory|FormatFactory)'`),
		"Flink has no connector or format '$1'", "put its jar (for kafka flink-sql-connector-kafka, for avro-confluent flink-sql-avro-confluent-registry) into lib/ of every process, the SQL Gateway too, and start them again",
	},
	{
		regexp.MustCompile(`Cannot discover a connector using option: 'connector'='([^']+)'`),
		"Flink has no connector '$1'", "put its jar into lib/ of every process, the SQL Gateway too, and start them again",
	},
	{
		regexp.MustCompile(`(?i)requires the timecol is a time attribute type, but is ([^\n]+)`),
		"a window is over a column that has no watermark (it is $1)", "declare WATERMARK FOR the column in CREATE TABLE, and keep the column as it is on the way to the window",
	},
	{
		regexp.MustCompile(`(?i)transaction timeout is larger than the maximum value allowed by the broker`),
		"the sink's transaction timeout is above what the broker allows", "set 'properties.transaction.timeout.ms' to the broker's transaction.max.timeout.ms at most",
	},
	{
		regexp.MustCompile(`(?i)Could not acquire the minimum required resources|NoResourceAvailableException|Slot request bulk is not fulfillable`),
		"the cluster has not enough free slots for the job", "start TaskManagers, end other jobs, or deploy with a smaller --parallelism",
	},
	{
		regexp.MustCompile(`(?i)Cannot map checkpoint/savepoint state for operator (\w+) to the new program`),
		"the savepoint has state of an operator ($1) that the new SQL does not have", "deploy SQL whose stateful parts are the same, or deploy under a new --name without the savepoint",
	},
	{
		regexp.MustCompile(`(?i)StateMigrationException|The new (key|state|namespace) serializer[^\n]*must (not )?be (in)?compatible`),
		"the savepoint's state has other types than the new SQL keeps", "deploy SQL whose keys and aggregates are the same, or deploy under a new --name without the savepoint",
	},
	{
		regexp.MustCompile(`(?i)ProducerFencedException|InvalidProducerEpochException|producer has been fenced`),
		"another producer has taken the sink's transactional id", "two jobs share a transactional id prefix: end one of them; data of this one may be lost",
	},
	{
		regexp.MustCompile(`UnknownTopicOrPartitionException|This server does not host this topic-partition`),
		"a topic does not exist", "make it with weir topics apply, or check its name in the file",
	},
	{
		regexp.MustCompile(`TopicAuthorizationException: ([^\n]+)`), "Kafka refuses: $1", "grant the user the operation on these topics",
	},
	{
		regexp.MustCompile(`TransactionalIdAuthorizationException`), "Kafka refuses the sink's transactional id", "grant the user Write on transactional ids that start with the sink's prefix",
	},
	{
		regexp.MustCompile(`SaslAuthenticationException: ([^\n]+)`), "Kafka does not accept the user: $1", "check --sasl, --user and WEIR_PASSWORD",
	},
	{
		regexp.MustCompile(`(?i)Timed out waiting for a node assignment|Timeout expired while fetching topic metadata|Failed to get metadata for topics`),
		"Flink does not reach the Kafka brokers", "the brokers' advertised addresses must be reachable from the TaskManagers and the JobManager: check --brokers",
	},
	{
		regexp.MustCompile(`Object '([^']+)' not found`), "table or view $1 not found", "",
	},
	{
		regexp.MustCompile(`(?i)Job(?: with id)?,? ?\(?([0-9a-f]{32})\)?,? (?:not found|does not exist)|Could not find Flink job \(?([0-9a-f]{32})`),
		"the JobManager does not know the job $1$2", "weir flink list shows those that it knows",
	},
}

// translate finds the root cause of a stack trace and what to do about it.
func translate(trace string) Problem {
	trace = secret.Redact(strings.TrimSpace(trace))
	p := rootCause(trace)
	p.Detail = trace
	for _, k := range known {
		groups := k.found.FindStringSubmatchIndex(trace)
		if groups == nil {
			continue
		}
		if k.what != "" {
			p.What = string(k.found.ExpandString(nil, k.what, trace, groups))
		}
		p.Hint = string(k.found.ExpandString(nil, k.hint, trace, groups))
		break
	}
	return p
}

// throwable matches the first line of an exception.
var throwable = regexp.MustCompile(`^(?:Caused by: )?((?:[a-z][\w]*\.)+[A-Z][\w$]*)(?:: ?(.*))?$`)

// rootCause returns the last exception of a stack trace, with all lines of its message.
func rootCause(trace string) Problem {
	var p Problem
	inMessage := false
	for line := range strings.Lines(trace) {
		line = strings.TrimRight(line, "\r\n")
		line = strings.TrimPrefix(line, "<Exception on server side:")
		trimmed := strings.TrimSpace(line)
		if m := throwable.FindStringSubmatch(trimmed); m != nil && (p.Class == "" || strings.HasPrefix(trimmed, "Caused by: ")) {
			p.Class, p.What, inMessage = m[1], m[2], true
			continue
		}
		switch {
		case strings.HasPrefix(line, "\tat ") || strings.HasPrefix(trimmed, "... ") || strings.HasPrefix(trimmed, "End of exception"):
			inMessage = false
		case inMessage && trimmed != "":
			p.What = strings.TrimSpace(p.What + " " + trimmed)
		}
	}
	if p.Class == "" {
		p.What = firstLine(trace)
	}
	if p.What == "" {
		p.What = p.Class
	}
	return p
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}
