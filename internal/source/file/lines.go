package file

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds the bytes of a row; the rest of a longer line is skipped.
const maxLine = 1 << 20

var errTooLong = fmt.Errorf("the row is longer than %d bytes", maxLine)

// lines splits content at its line ends. Lines can be pushed back, for look-ahead.
type lines struct {
	content *bufio.Reader
	end     byte // '\n', or '\r' if the content has no '\n'
	line    int64
	buf     []byte
	back    [][]byte // pushed back, the next line last
}

func newLines(content *bufio.Reader) *lines {
	l := &lines{content: content, end: '\n'}
	if head, _ := content.Peek(headBytes); bytes.IndexByte(head, '\n') < 0 && bytes.IndexByte(head, '\r') >= 0 {
		l.end = '\r'
	}
	return l
}

// next returns the next line including its end, valid until the next call. It truncates a line
// longer than maxLine.
func (l *lines) next() (line []byte, tooLong bool, err error) {
	if n := len(l.back); n > 0 {
		line = l.back[n-1]
		l.back = l.back[:n-1]
		l.line++
		return line, len(line) >= maxLine, nil
	}
	l.buf = l.buf[:0]
	for {
		part, err := l.content.ReadSlice(l.end)
		if room := maxLine - len(l.buf); len(part) > room+2 { // leaves room for a line end
			part, tooLong = part[:room], true
		}
		if !tooLong || len(l.buf) < maxLine {
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(l.buf) == 0:
			return nil, false, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, false, err
		}
		l.line++
		return l.buf, tooLong, nil
	}
}

// pushBack makes next return these lines again, in order. They must be copies.
func (l *lines) pushBack(copies [][]byte) {
	for i := len(copies) - 1; i >= 0; i-- {
		l.back = append(l.back, copies[i])
		l.line--
	}
}

// withoutEnd returns the line without its end.
func withoutEnd(line []byte) []byte { return bytes.TrimRight(line, "\r\n") }
