package broker

import (
	"context"
	_ "embed" // the default topics
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"
	"github.com/twmb/franz-go/pkg/kadm"
)

// Topic declares the settings of a topic. Zero fields leave a setting to its default.
type Topic struct {
	Name              string            `yaml:"name"`
	Partitions        int32             `yaml:"partitions"`
	ReplicationFactor int16             `yaml:"replication_factor"`  // default: 3, or the number of brokers if that is less
	MinInsyncReplicas int               `yaml:"min_insync_replicas"` // default: one less than the replication factor, at least 1
	Retention         Retention         `yaml:"retention"`
	RetentionBytes    Bytes             `yaml:"retention_bytes"` // of a partition
	CleanupPolicy     string            `yaml:"cleanup_policy"`  // delete, compact, or both with a comma; default delete
	Keyed             *bool             `yaml:"keyed"`           // default true: keys must stay in their partitions
	Config            map[string]string `yaml:"config"`          // anything else, by Kafka's names
}

// Retention is how long records are kept: a Go duration, days as in 7d, or "forever".
type Retention string

// Bytes is a size: a number, optionally followed by KiB, MiB, GiB or TiB.
type Bytes string

// millis returns the value of retention.ms; -1 means forever.
func (r Retention) millis() (int64, error) {
	if r == "forever" {
		return -1, nil
	}
	text := string(r)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err == nil && n > 0 && n < 1e6 {
			return int64(n * 24 * float64(time.Hour/time.Millisecond)), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Millisecond {
		return 0, fmt.Errorf("retention %q: expected a duration such as 7d or 36h, or forever", text)
	}
	return d.Milliseconds(), nil
}

// bytes returns the value of retention.bytes.
func (b Bytes) bytes() (int64, error) {
	text := string(b)
	unit := 1.0
	for suffix, size := range map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = strings.TrimSpace(rest), size
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n <= 0 || n*unit > math.MaxInt64/2 {
		return 0, fmt.Errorf("retention_bytes %q: expected a size such as 10GiB", string(b))
	}
	return int64(n * unit), nil
}

func (t *Topic) keyed() bool { return t.Keyed == nil || *t.Keyed }

//go:embed topics.yaml
var defaultTopics []byte

// DefaultTopicsYAML returns the declaration of Weir's own topics.
func DefaultTopicsYAML() []byte { return defaultTopics }

// DefaultTopics returns Weir's own topics.
func DefaultTopics() []Topic {
	topics, err := ParseTopics(defaultTopics, "topics.yaml")
	if err != nil { // the file is part of the program, and a test parses it
		panic(err)
	}
	return topics
}

// ParseTopics parses a declaration of topics. Errors name the file and line.
func ParseTopics(data []byte, filename string) ([]Topic, error) {
	var file struct {
		Topics []Topic `yaml:"topics"`
	}
	if err := yaml.UnmarshalWithOptions(data, &file, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %w", filename, explainYAML(err))
	}
	if len(file.Topics) == 0 {
		return nil, fmt.Errorf("%s: no topics: expected a list under the key topics", filename)
	}
	seen := make(map[string]bool)
	for i := range file.Topics {
		t := &file.Topics[i]
		if err := t.validate(); err != nil {
			return nil, fmt.Errorf("%s: topic %d (%s): %w", filename, i+1, t.Name, err)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("%s: topic %s is declared twice", filename, t.Name)
		}
		seen[t.Name] = true
	}
	return file.Topics, nil
}

// topicKeys are the keys of a topic's declaration.
var topicKeys = []string{
	"name", "partitions", "replication_factor", "min_insync_replicas", "retention", "retention_bytes", "cleanup_policy", "keyed", "config",
}

// explainYAML returns a YAML error in one line, with the closest known key for an unknown one.
func explainYAML(err error) error {
	var unknown *yaml.UnknownFieldError
	if !errors.As(err, &unknown) {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			return fmt.Errorf("line %d: %s", syntax.GetToken().Position.Line, syntax.GetMessage())
		}
		return err
	}
	key := unknown.Token.Value
	hint := "known are " + strings.Join(topicKeys, ", ")
	if k := nearest(key, topicKeys); k != "" {
		hint = "did you mean " + k + "?"
	}
	return fmt.Errorf("line %d: unknown key %q: %s", unknown.Token.Position.Line, key, hint)
}

// nearest returns the candidate closest to name, at most three letters away, or "".
func nearest(name string, candidates []string) (found string) {
	best := 4
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(c, name); d < min(best, len(name)) {
			best, found = d, c
		}
	}
	return found
}

// NoTopic returns the error for a topic that does not exist, with the closest existing name.
func NoTopic(ctx context.Context, admin *kadm.Client, name string) error {
	text := "topic " + name + " not found"
	if all, err := admin.ListTopics(ctx); err == nil { // the hint only
		if near := nearest(name, all.Names()); near != "" {
			text += ": did you mean " + near + "?"
		}
	}
	return errors.New(text)
}

// legalName matches the topic names that Kafka accepts.
var legalName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func (t *Topic) validate() error {
	if !legalName.MatchString(t.Name) || t.Name == "." || t.Name == ".." {
		return fmt.Errorf("name %q: expected 1 to 249 letters, digits, dots, underscores and hyphens", t.Name)
	}
	if t.Partitions < 1 {
		return fmt.Errorf("%d partitions: expected at least 1", t.Partitions)
	}
	if t.ReplicationFactor < 0 || t.MinInsyncReplicas < 0 {
		return errors.New("replication_factor and min_insync_replicas must not be negative")
	}
	if t.ReplicationFactor > 0 && t.MinInsyncReplicas > int(t.ReplicationFactor) {
		return fmt.Errorf("min_insync_replicas %d is above the replication_factor %d: nothing could be written", t.MinInsyncReplicas, t.ReplicationFactor)
	}
	switch strings.ReplaceAll(t.CleanupPolicy, " ", "") {
	case "", "delete", "compact", "compact,delete", "delete,compact":
	default:
		return fmt.Errorf("cleanup_policy %q: expected delete, compact, or compact,delete", t.CleanupPolicy)
	}
	if t.Retention != "" {
		if _, err := t.Retention.millis(); err != nil {
			return err
		}
	}
	if t.RetentionBytes != "" {
		if _, err := t.RetentionBytes.bytes(); err != nil {
			return err
		}
	}
	if strings.EqualFold(t.Config["unclean.leader.election.enable"], "true") {
		return errors.New("unclean.leader.election.enable loses committed records: leave it off")
	}
	return nil
}

// configs returns the topic's settings by Kafka's names, for a cluster with this number of brokers.
func (t *Topic) configs(brokers int) map[string]string {
	c := make(map[string]string, len(t.Config)+4)
	for k, v := range t.Config {
		c[k] = v
	}
	if t.CleanupPolicy != "" {
		c["cleanup.policy"] = strings.ReplaceAll(t.CleanupPolicy, " ", "")
	}
	if ms, err := t.Retention.millis(); t.Retention != "" && err == nil {
		c["retention.ms"] = strconv.FormatInt(ms, 10)
	}
	if n, err := t.RetentionBytes.bytes(); t.RetentionBytes != "" && err == nil {
		c["retention.bytes"] = strconv.FormatInt(n, 10)
	}
	insync := t.MinInsyncReplicas
	if insync == 0 {
		insync = max(1, int(t.replicas(brokers))-1)
	}
	c["min.insync.replicas"] = strconv.Itoa(insync)
	return c
}

func (t *Topic) replicas(brokers int) int16 {
	if t.ReplicationFactor > 0 {
		return t.ReplicationFactor
	}
	return int16(min(3, brokers))
}
