package registry

import (
	"fmt"
	"io"
	"net/http"
)

// Limits of schemas, far above legitimate use: the largest schemas in practice are a few hundred
// kilobytes, and a registry that stores its schemas in Kafka is limited to 1 MB.
const (
	MaxResponse = 10 << 20 // bytes of one response
	MaxText     = 1 << 20  // bytes of one schema
	MaxImports  = 1000     // schemas that one schema imports, directly or not
	MaxNesting  = 500      // nested brackets and braces
	MaxChain    = 64       // references of references
)

// Vet rejects a text that is too large or too deeply nested for a parser. It counts brackets
// outside of strings and comments; the parser decides whether the text is a schema. The error is an
// ErrHostile.
func Vet(t Type, text string) error {
	if len(text) > MaxText {
		return fmt.Errorf("%w: %d bytes, more than the %d that a schema may have", ErrHostile, len(text), MaxText)
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '{', '[', '(', '<':
			if depth++; depth > MaxNesting {
				return fmt.Errorf("%w: nested more than %d levels deep at byte %d", ErrHostile, MaxNesting, i)
			}
		case '}', ']', ')', '>':
			depth = max(depth-1, 0)
		case '"', '\'':
			if c == '"' || t == Protobuf {
				i = stringEnd(text, i)
			}
		case '/':
			if t == Protobuf {
				i = commentEnd(text, i)
			}
		}
	}
	return nil
}

// stringEnd returns the end of the string that starts at i; an unterminated one ends with its line
// or the text.
func stringEnd(text string, i int) int {
	quote := text[i]
	for i++; i < len(text) && text[i] != quote && text[i] != '\n'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

func commentEnd(text string, i int) int {
	if i+1 == len(text) {
		return i
	}
	switch text[i+1] {
	case '/':
		for i < len(text) && text[i] != '\n' {
			i++
		}
	case '*':
		for i += 2; i+1 < len(text) && (text[i] != '*' || text[i+1] != '/'); i++ {
		}
		i++
	}
	return i
}

// capped is a transport whose response bodies fail with an error after MaxResponse bytes.
type capped struct{ http.RoundTripper }

func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &cappedBody{ReadCloser: resp.Body, left: MaxResponse}
	return resp, nil
}

type cappedBody struct {
	io.ReadCloser
	left int
}

func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, &tooLargeError{}
	}
	if len(p) > b.left+1 {
		p = p[:b.left+1] // one more than allowed, to distinguish a body of exactly the limit from a larger one
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return n, &tooLargeError{}
	}
	return n, err
}

type tooLargeError struct{}

func (*tooLargeError) Error() string {
	return fmt.Sprintf("the answer has more than %d bytes", MaxResponse)
}
