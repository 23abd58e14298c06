package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"
)

// Kinds of errors. Test for them with errors.Is.
var (
	// ErrNotFound: the registry answered that it does not have the schema. A record with such an id
	// is a dead letter.
	ErrNotFound = errors.New("not in the registry")
	// ErrUnavailable: the registry did not respond, or not conclusively. Wait and retry; never
	// guess.
	ErrUnavailable = errors.New("registry unavailable")
	// ErrHostile: the response or schema is larger or more deeply nested than any legitimate one.
	// Retrying does not help.
	ErrHostile = errors.New("schema refused")
	// ErrInvalid: the text is not a valid schema of its type.
	ErrInvalid = errors.New("invalid schema")
	// ErrIncompatible: the subject's compatibility level forbids the schema.
	ErrIncompatible = errors.New("incompatible schema")
	// ErrRefused: the server rejected the request: wrong credentials, or an address without a
	// registry.
	ErrRefused = errors.New("refused by the registry")
)

// Error is the error of a failed request.
type Error struct {
	Op      string // operation, such as "schema 7"
	URL     string // of the registry
	Code    int    // Confluent's error code, such as 40403; 0 if there was none
	Message string // from the registry, or why there was no response
	Kind    error  // one of the errors above
}

// Error names the operation, the registry and the cause.
func (e *Error) Error() string {
	code := ""
	if e.Code != 0 {
		code = fmt.Sprintf(" (%d)", e.Code)
	}
	return fmt.Sprintf("%s: registry %s: %s%s", e.Op, e.URL, e.Message, code)
}

// Unwrap returns the kind, for errors.Is.
func (e *Error) Unwrap() error { return e.Kind }

// failed converts an error of the HTTP client to an *Error. It returns ctx's own error unchanged.
func (c *Client) failed(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	out := &Error{Op: op, URL: c.where, Kind: ErrUnavailable}
	var answer *sr.ResponseError
	var size *tooLargeError
	var syntax *json.SyntaxError
	var field *json.UnmarshalTypeError
	switch {
	case errors.As(err, &size):
		out.Kind, out.Message = ErrHostile, size.Error()
	case errors.As(err, &answer):
		out.Code, out.Message, out.Kind = answer.ErrorCode, firstLine(answer.Error()), kindOf(answer)
		if errors.Is(out.Kind, ErrRefused) {
			out.Message = hint(answer, out.Message)
		}
	case errors.As(err, &syntax), errors.As(err, &field), strings.Contains(err.Error(), "decode ok response body"):
		out.Kind, out.Message = ErrRefused, "the answer is not a registry's: "+firstLine(err.Error())
	case isCertificate(err):
		out.Kind, out.Message = ErrRefused, firstLine(err.Error())
	default:
		var request *url.Error // it repeats method and address
		if errors.As(err, &request) {
			err = request.Err
		}
		out.Message = "no answer: " + firstLine(err.Error())
	}
	return out
}

// kindOf classifies an error response. A 404 is "not found" only with a registry's error code:
// wrong paths and proxies return 404 as well, and must not turn records into dead letters.
func kindOf(e *sr.ResponseError) error {
	switch code := e.ErrorCode; {
	case code/100 == 404:
		return ErrNotFound
	case code == 409, e.StatusCode == http.StatusConflict:
		return ErrIncompatible
	case code == sr.ErrInvalidSchema.Code:
		return ErrInvalid
	case e.StatusCode >= 500, e.StatusCode == http.StatusTooManyRequests, e.StatusCode == http.StatusRequestTimeout:
		return ErrUnavailable
	default:
		return ErrRefused
	}
}

func hint(e *sr.ResponseError, message string) string {
	switch e.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("%s: check user, password and token", message)
	case http.StatusNotFound:
		return "no registry at this address (404): check the URL and its path"
	default:
		return message
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if len(s) > 500 {
		s = s[:500] + "…"
	}
	return s
}
