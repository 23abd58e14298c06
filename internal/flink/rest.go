package flink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"weir.example/weir/internal/secret"
)

// rest is one service of the cluster.
type rest struct {
	name, url, flag string
	http            *http.Client
	patience        time.Duration
	log             *slog.Logger
}

// UnreachableError is returned if a service does not respond.
type UnreachableError struct {
	Service, URL, Flag string
	Err                error
}

func (e *UnreachableError) Error() string {
	reason := e.Err.Error()
	var op *net.OpError
	if errors.As(e.Err, &op) {
		reason = op.Err.Error()
	}
	return fmt.Sprintf("%s not reachable at %s: %s; check %s, or start a cluster with weir flink up", e.Service, e.URL, reason, e.Flag)
}

// Unwrap returns the error of the last attempt.
func (e *UnreachableError) Unwrap() error { return e.Err }

// ResponseError is a response other than the expected one.
type ResponseError struct {
	Service, Method, Path string
	Status                int
	Problem               Problem
}

func (e *ResponseError) Error() string {
	if e.Problem.What != "" {
		return fmt.Sprintf("%s: %s", e.Service, e.Problem)
	}
	return fmt.Sprintf("%s: %s %s returned status %d", e.Service, e.Method, e.Path, e.Status)
}

// maxAnswer bounds the bytes read from a response.
const maxAnswer = 64 << 20

// get requests a path and decodes the response into out.
func (r *rest) get(ctx context.Context, path string, out any) error {
	return r.call(ctx, http.MethodGet, path, nil, out)
}

// call sends in as JSON and decodes the response into out; both may be nil. While the service is
// unreachable, it retries requests that are safe to repeat: those that change nothing, and those
// that were never sent.
func (r *rest) call(ctx context.Context, method, path string, in, out any) error {
	if r.url == "" {
		return fmt.Errorf("no URL of the %s is set: use %s", r.name, r.flag)
	}
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	attempt := func() (struct{}, error) {
		err := r.once(ctx, method, path, body, out)
		var unreachable *UnreachableError
		var refused *ResponseError
		again := errors.As(err, &unreachable) && (method == http.MethodGet || notSent(err)) ||
			errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable
		if err == nil || again {
			return struct{}{}, err
		}
		return struct{}{}, backoff.Permanent(err)
	}
	_, err := backoff.Retry(ctx, attempt, backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, RandomizationFactor: 0.3, Multiplier: 1.7, MaxInterval: 2 * time.Second,
	}), backoff.WithMaxElapsedTime(r.patience), backoff.WithNotify(func(err error, wait time.Duration) {
		r.log.Debug("flink does not answer, trying again", "err", secret.Redact(err.Error()), "wait", wait)
	}))
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		err = permanent.Unwrap()
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// notSent reports whether the connection could not be established, so that the service never saw
// the request.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func (r *rest) once(ctx context.Context, method, path string, body []byte, out any) error {
	request, err := http.NewRequestWithContext(ctx, method, r.url+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s URL %q: %w", r.name, r.url, err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := r.http.Do(request)
	if err != nil {
		return &UnreachableError{Service: r.name, URL: r.url, Flag: r.flag, Err: err}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return &UnreachableError{Service: r.name, URL: r.url, Flag: r.flag, Err: err}
	}
	if response.StatusCode >= http.StatusBadRequest {
		return &ResponseError{Service: r.name, Method: method, Path: path, Status: response.StatusCode, Problem: problemOf(answer)}
	}
	if text, ok := out.(*string); ok {
		*text = string(answer)
		return nil
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: %s %s returned unexpected JSON: %w; check that %s is the address of a %s", r.name, method, path, err, r.url, r.name)
	}
	return nil
}

// problemOf reads an error's body: {"errors": ["Internal server error.", "<Exception on server
// side: …>"]}.
func problemOf(body []byte) Problem {
	var answer struct {
		Errors []string `json:"errors"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Errors) == 0 {
		return Problem{}
	}
	return translate(strings.Join(answer.Errors, "\n"))
}
