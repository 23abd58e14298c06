package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// ResetReport lists what a reset has deleted.
type ResetReport struct {
	Pipeline string   `json:"pipeline"`
	Group    string   `json:"group,omitempty"`
	Topics   []string `json:"topics"`
	Folder   string   `json:"folder,omitempty"` // of local copies of the state
}

// Empty reports whether nothing was deleted.
func (r *ResetReport) Empty() bool { return r.Group == "" && len(r.Topics) == 0 && r.Folder == "" }

// memoryTopic matches the suffixes of the topics that a reset deletes: state, and rows that were
// generated for the pipeline. It keeps what the pipeline has written for readers: results, late
// rows and dead letters.
var memoryTopic = regexp.MustCompile(`^\.(plan|positions|stage\d+\.changelog|repartition\d+|[A-Za-z0-9_-]+\.generated(\.position)?)$`)

// Reset deletes what a pipeline remembers: its group, plan, state and local copies, so that its
// next start is its first. It fails while the pipeline is running. It deletes in an order in which
// an interrupted reset leaves a pipeline that refuses to start, and not one that counts twice.
func Reset(ctx context.Context, at broker.Config, name, stateDir string) (*ResetReport, error) {
	if err := plan.CheckGroup(name); err != nil { // the group is not the pipeline's
		return nil, fmt.Errorf("reset pipeline %s: %w", name, err)
	}
	client, err := broker.Connect(ctx, at)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	group := "weir-" + name
	if err := refuseRunning(ctx, admin, name); err != nil {
		return nil, err
	}
	report := &ResetReport{Pipeline: name}
	if report.Topics, err = memoryTopics(ctx, admin, name); err != nil {
		return nil, err
	}
	if len(report.Topics) > 0 {
		deleted, err := admin.DeleteTopics(ctx, report.Topics...)
		if err == nil {
			err = deleted.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("delete the topics of pipeline %s: %w", name, err)
		}
	}
	switch _, err := admin.DeleteGroup(ctx, group); {
	case err == nil:
		report.Group = group
	case !errors.Is(err, kerr.GroupIDNotFound):
		return nil, fmt.Errorf("delete group %s: %w", group, err)
	}
	if stateDir == "" {
		return report, nil
	}
	dir := filepath.Join(stateDir, name)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return report, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("delete local copies of the state: %w", err)
	}
	report.Folder = dir
	return report, nil
}

// memoryTopics returns the existing topics of a pipeline that a reset deletes.
func memoryTopics(ctx context.Context, admin *kadm.Client, name string) ([]string, error) {
	all, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	topics := []string{}
	for _, topic := range all.Names() {
		if rest, ok := strings.CutPrefix(topic, name); ok && memoryTopic.MatchString(rest) {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	return topics, nil
}

func refuseRunning(ctx context.Context, admin *kadm.Client, name string) error {
	members, err := membersOf(ctx, admin, "weir-"+name)
	if err != nil {
		return err
	}
	if len(members) > 0 {
		return fmt.Errorf("reset pipeline %s: it is running (%s): stop it first; a killed process counts as running until its session timeout", name, strings.Join(members, ", "))
	}
	return nil
}
