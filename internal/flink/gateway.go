package flink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/secret"
)

// Session is a session of the SQL Gateway with its own settings, tables and views. It is not safe
// for concurrent use.
type Session struct {
	cluster *Cluster
	handle  string
}

// StatementError is returned if Flink rejects a statement or the statement fails.
type StatementError struct {
	Statement string // shortened
	Problem
}

func (e *StatementError) Error() string {
	return fmt.Sprintf("Flink rejected %q: %s", e.Statement, e.Problem)
}

// Result is the result of a statement.
type Result struct {
	JobID   string // of an INSERT or a statement set
	Columns []string
	Rows    []Row
}

// Row is one row of a result.
type Row struct {
	Kind   string            `json:"kind"` // INSERT, UPDATE_BEFORE, UPDATE_AFTER, DELETE
	Fields []json.RawMessage `json:"fields"`
}

// Text is the first field of the result's first row, as of EXPLAIN.
func (r *Result) Text() string {
	if len(r.Rows) == 0 || len(r.Rows[0].Fields) == 0 {
		return ""
	}
	var s string
	if err := json.Unmarshal(r.Rows[0].Fields[0], &s); err != nil {
		return string(r.Rows[0].Fields[0])
	}
	return s
}

// OpenSession opens a session with settings, such as execution.runtime-mode.
func (c *Cluster) OpenSession(ctx context.Context, name string, settings map[string]string) (*Session, error) {
	var answer struct {
		Handle string `json:"sessionHandle"`
	}
	in := map[string]any{"sessionName": name, "properties": settings}
	if err := c.gateway.call(ctx, http.MethodPost, "/v3/sessions", in, &answer); err != nil {
		return nil, fmt.Errorf("open a session: %w", err)
	}
	return &Session{cluster: c, handle: answer.Handle}, nil
}

// Close closes the session. Jobs that it started keep running.
func (s *Session) Close(ctx context.Context) error {
	if err := s.cluster.gateway.call(ctx, http.MethodDelete, "/v3/sessions/"+s.handle, nil, nil); err != nil {
		return fmt.Errorf("close the session: %w", err)
	}
	return nil
}

// Execute runs a statement, without a semicolon, and reads all rows of its result. An INSERT
// returns when its job is submitted. The error is a *StatementError if Flink rejects it.
func (s *Session) Execute(ctx context.Context, statement string) (*Result, error) {
	path := "/v3/sessions/" + s.handle
	var operation struct {
		Handle string `json:"operationHandle"`
	}
	expanded, err := s.cluster.secrets.ExpandSQL(statement)
	if err != nil {
		return nil, err
	}
	in := map[string]any{"statement": expanded}
	if err := s.cluster.gateway.call(ctx, http.MethodPost, path+"/statements", in, &operation); err != nil {
		return nil, s.refused(statement, err)
	}
	path += "/operations/" + operation.Handle
	if err := s.await(ctx, path, statement); err != nil {
		return nil, err
	}
	result, err := s.fetch(ctx, path+"/result/0?rowFormat=JSON", statement)
	if err != nil {
		return nil, err
	}
	// A session keeps the results of its operations until they are closed.
	if err := s.cluster.gateway.call(ctx, http.MethodDelete, path+"/close", nil, nil); err != nil {
		return nil, fmt.Errorf("close the operation: %w", err)
	}
	return result, nil
}

// await waits for an operation to finish. A failed statement also gets a 200 response; only its
// status reports the failure.
func (s *Session) await(ctx context.Context, path, statement string) error {
	wait := 20 * time.Millisecond
	for {
		var answer struct {
			Status string `json:"status"`
		}
		if err := s.cluster.gateway.get(ctx, path+"/status", &answer); err != nil {
			return err
		}
		switch answer.Status {
		case "FINISHED":
			return nil
		case "ERROR": // the result has the cause
			err := s.cluster.gateway.get(ctx, path+"/result/0?rowFormat=JSON", nil)
			if err == nil {
				err = errors.New("statement failed, and the gateway gives no reason: see its log")
			}
			return s.refused(statement, err)
		case "CANCELED", "CLOSED", "TIMEOUT":
			return &StatementError{Statement: beginning(statement), Problem: Problem{What: "the operation was " + strings.ToLower(answer.Status)}}
		}
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, 500*time.Millisecond)
	}
}

// fetch reads the pages of a result.
func (s *Session) fetch(ctx context.Context, next, statement string) (*Result, error) {
	result := &Result{}
	for next != "" {
		var page struct {
			Type    string `json:"resultType"` // NOT_READY, PAYLOAD, EOS
			JobID   string `json:"jobID"`
			Next    string `json:"nextResultUri"`
			Results struct {
				Columns []struct {
					Name string `json:"name"`
				} `json:"columns"`
				Data []Row `json:"data"`
			} `json:"results"`
		}
		if err := s.cluster.gateway.get(ctx, next, &page); err != nil {
			return nil, s.refused(statement, err)
		}
		if page.JobID != "" {
			result.JobID = page.JobID
		}
		if result.Columns == nil {
			for _, c := range page.Results.Columns {
				result.Columns = append(result.Columns, c.Name)
			}
		}
		result.Rows = append(result.Rows, page.Results.Data...)
		if page.Type == "NOT_READY" {
			if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
				return nil, err
			}
		}
		next = page.Next
		if page.Type == "EOS" {
			next = ""
		}
		if u, err := url.Parse(next); err == nil && u.IsAbs() {
			next = u.RequestURI()
		}
	}
	return result, nil
}

// refused returns the failure of a statement, or err if the request itself failed.
func (s *Session) refused(statement string, err error) error {
	var answer *ResponseError
	if !errors.As(err, &answer) || answer.Problem.What == "" {
		return err
	}
	return &StatementError{Statement: beginning(statement), Problem: answer.Problem}
}

// beginning shortens a statement for errors.
func beginning(statement string) string {
	const most = 60
	text := []rune(strings.Join(strings.Fields(secret.Redact(statement)), " "))
	if len(text) <= most {
		return string(text)
	}
	return string(text[:most]) + "…"
}
