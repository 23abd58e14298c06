package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
	"weir.example/weir/pipelines"
)

// checkReport is the JSON output of weir check for a file.
type checkReport struct {
	File     string `json:"file"`
	OK       bool   `json:"ok"`
	Pipeline string `json:"pipeline,omitempty"`
	Stages   int    `json:"stages,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Message  string `json:"message,omitempty"`
	Hint     string `json:"hint,omitempty"`

	Differences []differenceReport `json:"differences,omitempty"`
	Keys        *keysReport        `json:"keys,omitempty"` // with --brokers
	Against     *againstReport     `json:"against,omitempty"`
}

// keysReport is the result of sampling the topics that the pipeline requires to be partitioned by
// key.
type keysReport struct {
	Records int      `json:"records"`           // sampled
	Missing []string `json:"missing,omitempty"` // topics that do not exist
	// Unsampled lists topics in formats of a schema registry, which check does not decode.
	Unsampled []string `json:"unsampled,omitempty"`
}

// differenceReport is a difference from Flink.
type differenceReport struct {
	Name    string `json:"name"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

func newCheck() *cobra.Command {
	var (
		out   output
		kafka kafkaFlags
		topic siteFlags

		against string
	)
	cmd := &cobra.Command{
		Use:   "check FILE…",
		Short: "Validate pipelines without connecting to a broker",
		Long: `Reports errors with line, column and a hint. For each valid pipeline, lists where Flink behaves differently, by the names of
docs/reference/flink-differences.md.

No broker is needed. With --brokers, it also samples the topics that a pipeline requires to be partitioned by key, and fails if
a record is not in the partition of its key.

With --against NAME, it reads the plan of pipeline NAME from its brokers, running or not, and lists what a start with this file
would keep of its state, what would be lost, and what would start without state. It fails if something would be lost, since
weir run then refuses the file. Rows that were read before have been processed by the SQL that ran at that time: they are not
computed again.`,
		Example: `  weir check per_minute.sql
  weir check pipelines/*.sql -o json
  weir check enrich.sql --brokers kafka-1:9092
  weir check per_minute.sql --against per_minute --brokers kafka-1:9092            # exit code 3 if state would be lost
  weir check per_minute.sql --against per_minute --brokers kafka-1:9092 -o json`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, files []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			at, err := topic.site()
			if err != nil {
				return err
			}
			if against != "" && (len(files) > 1 || len(kafka.config.Brokers) == 0) {
				return usage(errors.New("--against compares one file with a pipeline, whose brokers it needs: --brokers"))
			}
			failed := false
			for _, file := range files {
				text, program, err := compileFile(file, at)
				report := checkReport{File: file, OK: err == nil}
				var invalid *sql.Error
				switch {
				case err == nil:
					report.Pipeline, report.Stages = program.Name, len(program.Stages)
					for _, d := range program.Differences {
						report.Differences = append(report.Differences, differenceReport{d.Name, d.Line, d.Column, d.Message})
					}
				case errors.As(err, &invalid):
					report.Line, report.Column, report.Message, report.Hint = invalid.Line, invalid.Column, invalid.Message, invalid.Hint
				default:
					report.Message = err.Error()
				}
				if err == nil && len(kafka.config.Brokers) > 0 {
					if err = sampleKeys(cmd, &kafka, file, at, &report); err != nil {
						var misplaced *operator.MisplacedRecordError
						if !errors.As(err, &misplaced) {
							return err
						}
						report.OK, report.Message = false, err.Error()
					}
				}
				if err == nil && against != "" {
					if report.Against, err = checkAgainst(cmd.Context(), kafka.config, program, against); err != nil {
						return err
					}
					report.OK = report.Against.Accepted
				}
				failed = failed || !report.OK
				switch {
				case asJSON:
					if err := writeJSON(cmd.OutOrStdout(), report); err != nil {
						return err
					}
				case err == nil:
					if report.OK {
						fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, pipeline %s of %s\n", file, program.Name, plural(len(program.Stages), "stage"))
					}
					if report.Keys != nil {
						if report.Keys.Records > 0 || len(report.Keys.Unsampled) == 0 {
							fmt.Fprintf(cmd.OutOrStdout(), "%s: keys are in their partitions in %s\n", file, plural(report.Keys.Records, "sampled record"))
						}
						for _, topic := range report.Keys.Unsampled {
							fmt.Fprintf(cmd.OutOrStdout(), "%s: keys of topic %s were not sampled, because its format needs a schema registry: weir run checks each record\n", file, topic)
						}
						for _, topic := range report.Keys.Missing {
							fmt.Fprintf(cmd.OutOrStdout(), "%s: topic %s does not exist yet\n", file, topic)
						}
					}
					report.Against.print(cmd.OutOrStdout(), file)
					for _, d := range report.Differences {
						fmt.Fprintf(cmd.OutOrStdout(), "%s:%d:%d: on Flink, %s: %s\n", file, d.Line, d.Column, d.Name, d.Message)
					}
				default:
					fmt.Fprintln(cmd.OutOrStdout(), inFile(file, text, err))
				}
			}
			if failed {
				return errCheck
			}
			return nil
		},
	}
	kafka.addConnection(cmd)
	cmd.Flag("brokers").Usage = "Kafka brokers, host:port,…, whose topics are sampled; without it, no broker is contacted"
	cmd.Flags().StringVar(&against, "against", "", "name of a pipeline whose state is compared with what the file keeps; with --brokers")
	topic.add(cmd, bundledScope)
	out.add(cmd)
	return cmd
}

// sampleKeys checks samples of the topics that a pipeline requires to be partitioned by key.
func sampleKeys(cmd *cobra.Command, kafka *kafkaFlags, file string, at site.Site, report *checkReport) error {
	if err := kafka.config.Validate(); err != nil {
		return usage(err)
	}
	_, program, err := compileFile(file, at) // compiled again, because a preview modifies it
	if err != nil || len(program.Placements()) == 0 {
		return err
	}
	report.Keys, err = checkKeys(cmd.Context(), kafka.config, kafka.log.logger(cmd.ErrOrStderr()), program)
	return err
}

func someFiles(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage(fmt.Errorf("%s needs the file of a pipeline", cmd.CommandPath()))
	}
	return nil
}

// compileFile plans a pipeline, whose name defaults to that of its file. If the file does not
// exist, the name may refer to a bundled pipeline, which is compiled for the site.
func compileFile(file string, at site.Site) (text string, p *plan.Program, err error) {
	raw, err := os.ReadFile(file) //nolint:gosec // path given by the user
	if errors.Is(err, fs.ErrNotExist) {
		if text, bundled := pipelines.Source(file); bundled {
			text = at.SQL(text)
			p, err = plan.Compile(text, at.Scoped(file))
			return text, p, err
		}
	}
	if err != nil {
		return "", nil, unreadable(file, err)
	}
	text = string(raw)
	if p, err = plan.Compile(text, strings.TrimSuffix(filepath.Base(file), ".sql")); err == nil {
		err = checkSite(p, at)
	}
	return text, p, err
}

// noFileError means that a file is missing.
type noFileError struct{ text string }

func (e *noFileError) Error() string { return e.text }

// unreadable returns the error for a pipeline file that can't be read.
func unreadable(file string, err error) error {
	switch {
	case file == "-":
		return &noFileError{"a pipeline can't be read from standard input: its name and state are those of its file"}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read the pipeline: %w", err)
	}
	text := "file not found: " + file
	if filepath.Base(file) == file && filepath.Ext(file) == "" {
		text += ", and no bundled pipeline has this name"
	}
	if hint := suggest.DidYouMean(file, slices.Concat(pipelines.Names(), sqlFiles(file))); hint != "" {
		text += ": " + hint
	}
	return &noFileError{text}
}

// sqlFiles returns the SQL files in the directory of a file that does not exist.
func sqlFiles(file string) []string {
	files, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.sql"))
	if err != nil { // the directory's name is not a valid pattern: no hint
		return nil
	}
	return files
}

// inFile adds the file, line and source excerpt to an SQL error.
func inFile(file, text string, err error) error {
	var at *sql.Error
	if !errors.As(err, &at) {
		var none *noFileError
		if errors.As(err, &none) {
			return err
		}
		return fmt.Errorf("%s: %w", file, err)
	}
	s := fmt.Sprintf("%s:%d:%d: %s", file, at.Line, at.Column, at.Message)
	if at.Hint != "" {
		s += ": " + at.Hint
	}
	return errors.New(s + "\n" + sql.Snippet(text, at.Pos))
}
