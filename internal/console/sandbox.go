package console

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/plan"
)

// SQL of the editor is planned and previewed in a process of its own: whoever can open the console
// can write SQL that takes any amount of time and memory, and the console may run in the process of
// the pipelines. The process ends with its request.
const (
	sandboxMemory = 256 << 20
	sandboxTime   = 15 * time.Second
	sandboxAnswer = 16 << 20 // bytes

	// SandboxVariable is set in the environment of the process.
	SandboxVariable = "WEIR_SANDBOX"

	sandboxNoMemory, sandboxNoTime = 81, 82 // exit codes
)

// sandboxJob is what the process reads from its standard input.
type sandboxJob struct {
	Text    string
	Preview bool // else only plan
	Close   bool
	Records map[string][]sandboxRecord
	Sizes   map[string]int32
}

// sandboxRecord is a record of a source, without what gob can't encode.
type sandboxRecord struct {
	Key, Value []byte
	NoKey      bool // no key rather than an empty one
	NoValue    bool
	Headers    []kgo.RecordHeader
	Timestamp  time.Time
	Topic      string
	Partition  int32
	Offset     int64
}

// sandboxResult is what it writes to its standard output.
type sandboxResult struct {
	Answer     []byte          // sqlAnswer in JSON
	Sources    map[string]bool // topics that the SQL reads, and whether by key
	Unreadable string          // why they can't be previewed
}

// Sandbox is the main function of the process. It returns the exit code.
func Sandbox(in io.Reader, out io.Writer) int {
	debug.SetMemoryLimit(sandboxMemory * 3 / 4)
	time.AfterFunc(sandboxTime, func() { os.Exit(sandboxNoTime) })
	go watchMemory()
	var job sandboxJob
	if err := gob.NewDecoder(in).Decode(&job); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	result, err := job.run()
	if err == nil {
		err = gob.NewEncoder(out).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// watchMemory ends the process when it takes too much memory.
func watchMemory() {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	for range time.Tick(5 * time.Millisecond) {
		metrics.Read(sample)
		if sample[0].Value.Uint64()-sample[1].Value.Uint64() > sandboxMemory {
			os.Exit(sandboxNoMemory)
		}
	}
}

func (j *sandboxJob) run() (*sandboxResult, error) {
	began := time.Now()
	program, answer := compile(j.Text)
	result := &sandboxResult{Sources: make(map[string]bool)}
	if answer.OK {
		result.Unreadable = unreadable(program)
		for _, stage := range program.Stages {
			for _, input := range stage.Inputs {
				if scan, ok := input.Op.(*plan.Scan); ok {
					result.Sources[scan.Table.Kafka.Topic] = scan.Table.Upsert
				}
			}
		}
	}
	if j.Preview && answer.OK {
		records := make(map[string][]*kgo.Record)
		for topic, all := range j.Records {
			records[topic] = []*kgo.Record{}
			for _, r := range all {
				records[topic] = append(records[topic], r.record())
			}
			answer.Read += len(all)
		}
		written, err := dryrun.Preview(context.Background(), program, records, j.Sizes, j.Close)
		if err != nil {
			answer = sqlAnswer{Message: err.Error()}
		} else {
			answer.Results = resultsOf(program, written)
			answer.Took = milliseconds(time.Since(began))
		}
	}
	var err error
	result.Answer, err = json.Marshal(answer)
	return result, err
}

func sandboxed(r *kgo.Record) sandboxRecord {
	return sandboxRecord{r.Key, r.Value, r.Key == nil, r.Value == nil, r.Headers, r.Timestamp, r.Topic, r.Partition, r.Offset}
}

func (r *sandboxRecord) record() *kgo.Record {
	full := func(b []byte, none bool) []byte {
		if none {
			return nil
		}
		return append([]byte{}, b...)
	}
	return &kgo.Record{
		Key: full(r.Key, r.NoKey), Value: full(r.Value, r.NoValue), Headers: r.Headers, Timestamp: r.Timestamp,
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
	}
}

// sandbox runs a job, in a process of its own if the console knows the command.
func (c *Console) sandbox(ctx context.Context, job *sandboxJob) (*sandboxResult, error) {
	if len(c.cfg.Sandbox) == 0 {
		return job.run()
	}
	ctx, cancel := context.WithTimeout(ctx, sandboxTime+5*time.Second)
	defer cancel()
	var in bytes.Buffer
	if err := gob.NewEncoder(&in).Encode(job); err != nil {
		return nil, fmt.Errorf("describe the SQL: %w", err)
	}
	cmd := exec.CommandContext(ctx, c.cfg.Sandbox[0], c.cfg.Sandbox[1:]...) //nolint:gosec // this program
	cmd.Env = []string{SandboxVariable + "=1"}                              // no secrets
	cmd.Stdin, cmd.WaitDelay = &in, time.Second
	out := &bounded{limit: sandboxAnswer}
	cmd.Stdout = out
	err := cmd.Run()
	var exited *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &exited) && exited.ExitCode() == sandboxNoMemory:
		return nil, tooExpensive("more than %d MiB of memory", sandboxMemory>>20)
	case errors.As(err, &exited) && exited.ExitCode() == sandboxNoTime:
		return nil, tooExpensive("more than %s", sandboxTime)
	case out.full:
		return nil, tooExpensive("an answer of more than %d MiB", sandboxAnswer>>20)
	case err != nil:
		return nil, fmt.Errorf("check the SQL in a process of its own: %w", err)
	}
	result := &sandboxResult{}
	if err := gob.NewDecoder(&out.Buffer).Decode(result); err != nil {
		return nil, fmt.Errorf("read the answer about the SQL: %w", err)
	}
	return result, nil
}

func tooExpensive(format string, args ...any) error {
	return &httpError{http.StatusUnprocessableEntity, fmt.Errorf("the SQL takes "+format+": simplify it, or preview fewer records", args...)}
}

// bounded is a buffer that takes a limited number of bytes.
type bounded struct {
	bytes.Buffer
	limit int
	full  bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		b.full = true
		return 0, io.ErrShortWrite
	}
	return b.Buffer.Write(p)
}
