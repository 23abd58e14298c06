package file

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// headBytes is the size of the head of the content, which identifies a file and from which the
// roles of its columns are inferred.
const headBytes = 256 << 10

// binaries lists the first bytes of binary formats.
var binaries = []struct{ magic, hint string }{
	{"PK\x03\x04", "is a zip archive or an Excel workbook: export it as CSV"},
	{"\xd0\xcf\x11\xe0", "is an Excel workbook: export it as CSV"},
	{"PAR1", "is Parquet: export it as CSV or NDJSON"},
	{"\x1f\x8b", "is gzip within gzip: decompress it once"},
	{"\x28\xb5\x2f\xfd", "is compressed by zstd: decompress it, or use gzip"},
	{"BZh", "is compressed by bzip2: decompress it, or use gzip"},
	{"\xfd7zXZ", "is compressed by xz: decompress it, or use gzip"},
	{"\x00\x00\xfe\xff", "is UTF-32: convert it to UTF-8"},
	{"\xff\xfe\x00\x00", "is UTF-32: convert it to UTF-8"},
}

// text returns the content as UTF-8 without a byte order mark. It decompresses gzip and decodes
// UTF-16 with a byte order mark, and returns an error for binary content.
func text(r io.Reader) (*bufio.Reader, error) {
	content, err := decompressed(r)
	if err != nil {
		return nil, err
	}
	head, err := content.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, b := range binaries {
		if bytes.HasPrefix(head, []byte(b.magic)) {
			return nil, errors.New(b.hint)
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		if _, err := content.Discard(3); err != nil {
			return nil, err
		}
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		decoder := unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM).NewDecoder()
		content = bufio.NewReaderSize(transform.NewReader(content, decoder), headBytes)
	case bytes.IndexByte(head, 0) >= 0:
		return nil, errors.New("has NUL bytes: it is not text, or UTF-16 without a byte order mark (convert it to UTF-8)")
	}
	return content, nil
}

// decompressed returns the content, decompressed if it is gzip.
func decompressed(r io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReaderSize(r, headBytes)
	magic, err := b.Peek(2)
	if err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("read gzip: %w", err)
	}
	return bufio.NewReaderSize(z, headBytes), nil
}

// counter counts the bytes read. load may be called while another goroutine reads.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *counter) load() int64 { return c.n.Load() }
