package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/sql"
)

// session opens a session whose jobs fail at the first error.
func (l *Lab) session(ctx context.Context, settings map[string]string) (*session, error) {
	all := map[string]string{
		"execution.runtime-mode": "streaming", "parallelism.default": "1", "restart-strategy.type": "none", "table.local-time-zone": "UTC",
		"state.backend.type": "hashmap", "table.exec.source.idle-timeout": "0 ms",
	}
	for key, value := range settings {
		if !strings.HasPrefix(key, "weir.") && !strings.HasPrefix(key, "execution.checkpointing.") {
			all[key] = value
		}
	}
	return openSession(ctx, l.Gateway, all)
}

// runFlink runs a script to completion.
func (l *Lab) runFlink(ctx context.Context, c *script, name string) (err error) {
	c.settings["pipeline.name"] = name
	s, err := l.session(ctx, c.settings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(context.WithoutCancel(ctx))) }()
	var jobs []string
	for _, statement := range c.statements {
		done, err := s.execute(ctx, sql.Format(statement))
		if err != nil {
			return fmt.Errorf("%s: %w", sql.Format(statement), err)
		}
		if t, ok := statement.(*sql.CreateTable); ok && t.As != nil {
			jobs = append(jobs, done.Job)
		}
	}
	for inserts := range slices.Chunk(c.inserts, insertsPerJob) {
		job, err := s.execute(ctx, sql.Format(&sql.StatementSet{Inserts: inserts}))
		if err != nil {
			return err
		}
		jobs = append(jobs, job.Job)
	}
	for _, job := range jobs {
		if err := l.await(ctx, job); err != nil {
			return err
		}
	}
	return nil
}

// insertsPerJob keeps the windows of a job within the memory of a slot.
const insertsPerJob = 6

// await waits until a job has finished.
func (l *Lab) await(ctx context.Context, job string) error {
	for {
		var status struct{ State string }
		if err := l.rest(ctx, "/jobs/"+job, &status); err != nil {
			return err
		}
		switch status.State {
		case "FINISHED":
			return nil
		case "FAILED", "CANCELED", "SUSPENDED":
			var why struct {
				ExceptionHistory struct{ Entries []struct{ Stacktrace string } }
			}
			if err := l.rest(ctx, "/jobs/"+job+"/exceptions", &why); err != nil {
				return err
			}
			failed := &flinkError{[]string{"the job has failed"}}
			for _, e := range why.ExceptionHistory.Entries {
				failed.causes = append(failed.causes, causes(e.Stacktrace)...)
			}
			return failed
		}
		if err := retry.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func (l *Lab) rest(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.Rest+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // already read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
