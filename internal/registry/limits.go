package registry

import (
	"fmt"
	"io"
	"net/http"
)

// Limits on what is taken for a schema. They are far above honest use: the largest schemas in the
// field have some hundred kilobytes, and a registry that keeps its schemas in Kafka stops at 1 MB.
const (
	MaxResponse = 10 << 20 // bytes of one answer of a registry
	MaxText     = 1 << 20  // bytes of one schema
	MaxImports  = 1000     // schemas that one schema stands on
	MaxNesting  = 500      // open brackets and braces at one place
	MaxChain    = 64       // references of references
)

// Vet refuses a text that is too large or too deeply nested to be handed to a parser. It looks at
// brackets outside of strings and comments only: whether the text is a schema is for the parser to
// say. The error is an ErrHostile.
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

// stringEnd returns where the string that begins at i ends; an open one ends with the line's or
// text's end.
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

// capped is a transport whose answers end with an error at MaxResponse bytes, however many more
// would come.
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
		p = p[:b.left+1] // one more than allowed, to tell an answer of exactly the limit from a larger one
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
