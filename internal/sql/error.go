package sql

import (
	"fmt"
	"strings"
)

// Error is an error in a text with its position.
type Error struct {
	Pos
	Message string // "found FORM, expected FROM"
	Hint    string // how to fix it; may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// Errorf returns an Error at a node.
func Errorf(n Node, format string, args ...any) *Error {
	return &Error{Pos: n.At(), Message: fmt.Sprintf(format, args...)}
}

// WithHint sets the hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Offset returns the byte offset of a position in the text.
func Offset(text string, p Pos) int {
	line, column := 1, 1
	for i, r := range text {
		if line == p.Line && column == p.Column {
			return i
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return len(text)
}

// Snippet shows the line of an error with a mark under its column.
func Snippet(text string, p Pos) string {
	lines := strings.Split(text, "\n")
	if p.Line < 1 || p.Line > len(lines) {
		return ""
	}
	line := strings.TrimRight(lines[p.Line-1], "\r")
	var mark strings.Builder
	for i, r := range []rune(line) {
		if i+1 >= p.Column {
			break
		}
		if r == '\t' {
			mark.WriteByte('\t')
		} else {
			mark.WriteByte(' ')
		}
	}
	number := fmt.Sprintf("%4d | ", p.Line)
	return number + line + "\n" + strings.Repeat(" ", len(number)) + mark.String() + "^"
}
