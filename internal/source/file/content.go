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

// headBytes is how much of the content identifies a file, and is looked at to learn what its
// columns mean.
const headBytes = 256 << 10

// kinds of files that hold no text, by their first bytes.
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

// text returns the content as UTF-8 without a byte order mark: decompressed where it is gzip,
// decoded where its mark says UTF-16. What is no text is refused.
func text(r io.Reader) (*bufio.Reader, error) {
	content, err := plain(r)
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
		return nil, errors.New("has NUL bytes: it is no text, or UTF-16 without a byte order mark (convert it to UTF-8)")
	}
	return content, nil
}

// plain returns the content, decompressed where it is gzip.
func plain(r io.Reader) (*bufio.Reader, error) {
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

// counter counts the bytes that were read. It may be asked while another goroutine reads.
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
