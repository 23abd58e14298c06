package main

import (
	"fmt"
	"unicode/utf8"
)

// escapeControls writes the characters of a text that control a terminal, or the direction of text,
// as \u escapes. Ends of lines and tabs remain. In JSON, the text means the same as before.
func escapeControls(text []byte) []byte {
	var out []byte // nil as long as nothing has been escaped
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if controls(r) {
			if out == nil {
				out = append(make([]byte, 0, len(text)+16), text[:i]...)
			}
			out = fmt.Appendf(out, "\\u%04x", r)
		} else if out != nil {
			out = append(out, text[i:i+size]...)
		}
		i += size
	}
	if out == nil {
		return text
	}
	return out
}

func controls(r rune) bool {
	switch {
	case r == '\n', r == '\t':
		return false
	case r < 0x20, r >= 0x7f && r <= 0x9f: // C0, DEL and C1
		return true
	}
	return r == 0x061c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 // bidirectional
}
