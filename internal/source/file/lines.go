package file

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine is the longest row in bytes; the rest of a longer line is skipped.
const maxLine = 1 << 20

var errTooLong = fmt.Errorf("the row is longer than %d bytes", maxLine)

// lines cuts content at its line ends. Lines can be given back, so that a reader may look ahead.
type lines struct {
	content *bufio.Reader
	end     byte // '\n', or '\r' where the content has no other
	line    int64
	buf     []byte
	back    [][]byte // given back, the next one last
}

func newLines(content *bufio.Reader) *lines {
	l := &lines{content: content, end: '\n'}
	if head, _ := content.Peek(headBytes); bytes.IndexByte(head, '\n') < 0 && bytes.IndexByte(head, '\r') >= 0 {
		l.end = '\r'
	}
	return l
}

// next returns the next line with its end, valid until the next call. Of one that is longer than
// maxLine it returns the beginning.
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
		if room := maxLine - len(l.buf); len(part) > room+2 { // a line end may follow
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

// giveBack makes next return these lines again, the first one first. They must be the caller's
// copies.
func (l *lines) giveBack(again [][]byte) {
	for i := len(again) - 1; i >= 0; i-- {
		l.back = append(l.back, again[i])
		l.line--
	}
}

// withoutEnd cuts off the line end.
func withoutEnd(line []byte) []byte { return bytes.TrimRight(line, "\r\n") }
