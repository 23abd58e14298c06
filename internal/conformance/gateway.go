package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"weir.example/weir/internal/retry"
)

// session is a session of Flink's SQL Gateway. Its statements run sequentially.
type session struct {
	url  string // of the gateway, http://host:port
	id   string
	http *http.Client
}

// result is the result of a statement: rows as in the SQL client, or the job that it started.
type result struct {
	Columns []column
	Rows    [][]*string // nil is NULL
	Job     string
}

type column struct {
	Name        string      `json:"name"`
	LogicalType logicalType `json:"logicalType"`
}

// openSession starts a session with these settings.
func openSession(ctx context.Context, url string, properties map[string]string) (*session, error) {
	s := &session{url: url, http: &http.Client{Timeout: time.Minute}}
	var opened struct{ SessionHandle string }
	err := s.call(ctx, http.MethodPost, "/v3/sessions", map[string]any{"properties": properties}, &opened)
	s.id = opened.SessionHandle
	return s, err
}

func (s *session) close(ctx context.Context) error {
	return s.call(ctx, http.MethodDelete, "/v3/sessions/"+s.id, nil, nil)
}

// execute runs a statement: a query until its last row, an INSERT until its job has started.
func (s *session) execute(ctx context.Context, statement string) (*result, error) {
	var started struct{ OperationHandle string }
	path := "/v3/sessions/" + s.id
	if err := s.call(ctx, http.MethodPost, path+"/statements", map[string]any{"statement": statement}, &started); err != nil {
		return nil, err
	}
	operation := path + "/operations/" + started.OperationHandle
	defer func() { _ = s.call(context.WithoutCancel(ctx), http.MethodDelete, operation+"/close", nil, nil) }() // closing the session closes it as well
	r := &result{}
	next := operation + "/result/0?rowFormat=PLAIN_TEXT"
	for next != "" {
		var page struct {
			ResultType    string
			NextResultURI string `json:"nextResultUri"`
			JobID         string
			Results       struct {
				Columns []column
				Data    []struct{ Fields []*string }
			}
		}
		if err := s.call(ctx, http.MethodGet, next, nil, &page); err != nil {
			return nil, err
		}
		if page.ResultType == "NOT_READY" || page.ResultType == "PAYLOAD" && len(page.Results.Data) == 0 {
			if err := retry.Sleep(ctx, 10*time.Millisecond); err != nil {
				return nil, err
			}
		}
		if r.Job == "" {
			r.Job = page.JobID
		}
		if len(page.Results.Columns) > 0 {
			r.Columns = page.Results.Columns
		}
		for _, d := range page.Results.Data {
			r.Rows = append(r.Rows, d.Fields)
		}
		next = page.NextResultURI
	}
	return r, nil
}

// flinkError is Flink's error for a failed statement or job: the causes, outermost first, without
// stack traces.
type flinkError struct{ causes []string }

// Error leaves out the gateway's own wrapping.
func (e *flinkError) Error() string {
	var said []string
	for _, c := range e.causes {
		class, message, _ := strings.Cut(c, ": ")
		if wrapping := strings.Contains(class, "SqlGatewayException") || strings.Contains(class, "SqlExecutionException") || class == "Internal server error."; !wrapping || message == "" && len(e.causes) == 1 {
			said = append(said, c)
		}
	}
	return strings.Join(said, ": ")
}

func (s *session) call(ctx context.Context, method, path string, body, into any) error {
	var payload bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&payload).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, &payload)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // already read
	if resp.StatusCode >= 300 {
		var failed struct{ Errors []string }
		if err := json.NewDecoder(resp.Body).Decode(&failed); err != nil || len(failed.Errors) == 0 {
			return errors.Join(fmt.Errorf("%s %s: %s", method, path, resp.Status), err)
		}
		return &flinkError{causes(strings.Join(failed.Errors, "\n"))}
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// causes returns the messages of a Java stack trace.
func causes(trace string) []string {
	var all []string
	for _, line := range strings.Split(trace, "\n") {
		line = strings.TrimPrefix(strings.TrimSpace(line), "Caused by: ")
		if line == "" || strings.HasPrefix(line, "at ") || strings.HasPrefix(line, "... ") || strings.HasPrefix(line, "<") || strings.HasSuffix(line, ">") {
			continue
		}
		if len(all) == 0 || all[len(all)-1] != line {
			all = append(all, line)
		}
	}
	return all
}
