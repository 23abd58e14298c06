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

// What a failure asks for. Test with errors.Is.
var (
	// ErrNotFound: the registry answered, and does not have it. A record with such an id is a dead
	// letter.
	ErrNotFound = errors.New("not in the registry")
	// ErrUnavailable: the registry gave no answer, or none that counts. Wait and ask again; never
	// guess.
	ErrUnavailable = errors.New("registry unavailable")
	// ErrHostile: the answer is larger or deeper than any honest schema. Asking again does not
	// help.
	ErrHostile = errors.New("schema refused")
	// ErrInvalid: the text is no schema of its type.
	ErrInvalid = errors.New("invalid schema")
	// ErrIncompatible: the registry refuses the schema under this subject's compatibility level.
	ErrIncompatible = errors.New("incompatible schema")
	// ErrRefused: the registry answered and will not do it: credentials, or an address where no
	// registry is.
	ErrRefused = errors.New("refused by the registry")
)

// Error is a request that did not succeed.
type Error struct {
	Op      string // what was tried, such as "schema 7"
	URL     string // of the registry
	Code    int    // Confluent's error code, such as 40403; 0 where there was none
	Message string // the registry's own words, or the reason why there are none
	Kind    error  // one of the errors above
}

// Error tells what was tried, where, and what to do.
func (e *Error) Error() string {
	code := ""
	if e.Code != 0 {
		code = fmt.Sprintf(" (%d)", e.Code)
	}
	return fmt.Sprintf("%s: registry %s: %s%s", e.Op, e.URL, e.Message, code)
}

// Unwrap makes errors.Is find the kind.
func (e *Error) Unwrap() error { return e.Kind }

// failed makes an *Error of what the HTTP client returned. An error of ctx itself is passed on.
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
		var request *url.Error // it names method and address, which are told already
		if errors.As(err, &request) {
			err = request.Err
		}
		out.Message = "no answer: " + firstLine(err.Error())
	}
	return out
}

// kindOf classifies an answer. A 404 counts as "not found" only with a registry's own code: a wrong
// path or a proxy answers 404 as well, and must not turn records into dead letters.
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
		return "there is no registry at this address (404): check the URL and its path"
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
