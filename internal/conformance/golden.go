package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sqltest"
)

// FlinkVersion is the version whose rows are recorded in golden/.
const FlinkVersion = "2.2.1"

// golden is Flink's recorded result for a pipeline over rows in given partitions. Comparing with it
// does not need Flink.
type golden struct {
	Hash    string              `json:"hash"`              // of the pipeline and its rows
	Refused bool                `json:"refused,omitempty"` // Flink does not run it
	Tables  map[string][]string `json:"tables,omitempty"`  // rows as rowText writes them
}

// goldenFile returns the file with the recorded rows of a test.
func goldenFile(file, test string) string {
	return filepath.Join("golden", FlinkVersion, filepath.Base(filepath.Dir(file))+"."+strings.TrimSuffix(filepath.Base(test), ".case")+".json")
}

// caseHash identifies a pipeline and its rows in their partitions, ignoring comments, line breaks
// and the test's expectations.
func caseHash(text string, inputs []*kgo.Record) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", withoutComments(text))
	for _, r := range inputs {
		fmt.Fprintf(h, "%s %d %d %q %q\n", r.Topic, r.Partition, r.Timestamp.UnixMilli(), r.Key, r.Value)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// withoutComments removes the comments of a script, and separates its tokens by single spaces where
// there was white space.
func withoutComments(text string) string {
	tokens := regexp.MustCompile("(?s)'[^']*'|`[^`]*`|--[^\n]*|/\\*.*?\\*/|\\s+|.")
	var b strings.Builder
	space := false
	for _, token := range tokens.FindAllString(text, -1) {
		if strings.HasPrefix(token, "--") || strings.HasPrefix(token, "/*") || strings.TrimSpace(token) == "" {
			space = true
			continue
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteString(token)
	}
	return b.String()
}

var errNoGolden = errors.New("no recorded rows of Flink for this pipeline and input: run make conformance-golden")

// readGolden reads the recorded result of a test. The error is errNoGolden if there is none for
// this SQL and these rows.
func readGolden(file, test, hash string) (*golden, error) {
	text, err := os.ReadFile(goldenFile(file, test))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoGolden
	}
	if err != nil {
		return nil, err
	}
	g := &golden{}
	if err := json.Unmarshal(text, g); err != nil {
		return nil, fmt.Errorf("%s: %w", goldenFile(file, test), err)
	}
	if g.Hash != hash {
		return nil, errNoGolden
	}
	return g, nil
}

func (g *golden) write(file, test string) error {
	text, err := json.MarshalIndent(g, "", " ")
	if err != nil {
		return err
	}
	at := goldenFile(file, test)
	if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
		return err
	}
	return os.WriteFile(at, append(text, '\n'), 0o600)
}

// pipelineCase is a pipeline with its test.
type pipelineCase struct {
	file, test, text, hash string
}

func readCase(file, test string) (*pipelineCase, error) {
	text, err := os.ReadFile(file) //nolint:gosec // a file of this project
	if err != nil {
		return nil, err
	}
	c := &pipelineCase{file: file, test: test, text: string(text)}
	p, err := c.compile()
	if err != nil {
		return nil, err
	}
	inputs, err := sqltest.Records(p, test)
	if err != nil {
		return nil, err
	}
	c.hash = caseHash(c.text, inputs)
	return c, nil
}

func (c *pipelineCase) compile() (*plan.Program, error) {
	p, err := plan.Compile(c.text, strings.TrimSuffix(filepath.Base(c.file), ".sql"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.file, err)
	}
	return p, nil
}

// against runs a pipeline in memory with the given options, which must not affect the result, and
// compares its rows with Flink's.
func (c *pipelineCase) against(g *golden, o dryrun.Options) ([]TableDiff, error) {
	p, err := c.compile()
	if err != nil {
		return nil, err
	}
	out, err := sqltest.Play(p, c.test, o)
	if err != nil {
		return nil, err
	}
	var diffs []TableDiff
	for _, t := range p.Tables {
		flink, written := g.Tables[t.Name]
		if !written {
			continue
		}
		diffs = append(diffs, difference(t.Name, flink, standingRows(t, out[t.Kafka.Topic])))
	}
	return diffs, nil
}

// play runs the pipeline in memory over its test's rows. late is the number of rows that were too
// late for their windows.
func (c *pipelineCase) play(o dryrun.Options) (tables map[string][]string, late int, err error) {
	p, err := c.compile()
	if err != nil {
		return nil, 0, err
	}
	out, err := sqltest.Play(p, c.test, o)
	if err != nil {
		return nil, 0, err
	}
	tables = make(map[string][]string)
	for _, t := range p.Tables {
		tables[t.Name] = standingRows(t, out[t.Kafka.Topic])
	}
	return tables, len(out[p.Settings.LateTopic]), nil
}
