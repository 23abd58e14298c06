package file

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync/atomic"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
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

// encodings lists the character encodings that are not inferred.
var encodings = map[string]encoding.Encoding{
	"utf-16le":     unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"utf-16be":     unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"latin1":       charmap.ISO8859_1,
	"windows-1252": charmap.Windows1252,
}

// text returns the content as UTF-8 without a byte order mark. It decompresses gzip, decodes the
// encoding, and returns an error for binary content. decoded is false if the content is UTF-8.
func text(r io.Reader, encoded string) (content *bufio.Reader, decoded bool, err error) {
	if content, err = decompressed(r); err != nil {
		return nil, false, err
	}
	head, err := content.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	for _, b := range binaries {
		if bytes.HasPrefix(head, []byte(b.magic)) {
			return nil, false, errors.New(b.hint)
		}
	}
	known, zero := encodings[encoded], bytes.IndexByte(head, 0) >= 0
	wide := strings.HasPrefix(encoded, "utf-16")
	little, big := bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff"))
	marked := little || big
	fits := encoded == "" || encoded == "auto" || little && encoded == "utf-16le" || big && encoded == "utf-16be"
	switch {
	case marked && !fits:
		return nil, false, fmt.Errorf("begins with a byte order mark of UTF-16, which contradicts the encoding %s", encoded)
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) && known != nil:
		return nil, false, fmt.Errorf("begins with a byte order mark of UTF-8, which contradicts the encoding %s", encoded)
	case zero && !wide && !marked:
		return nil, false, errors.New("has NUL bytes: it is not text, or UTF-16 without a byte order mark (name it with --file-encoding utf-16le or utf-16be)")
	case known != nil:
		decoded = true
		content = bufio.NewReaderSize(transform.NewReader(content, known.NewDecoder()), headBytes)
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		if _, err := content.Discard(3); err != nil {
			return nil, false, err
		}
	case marked:
		decoded = true
		decoder := unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM).NewDecoder()
		content = bufio.NewReaderSize(transform.NewReader(content, decoder), headBytes)
	}
	return content, decoded, nil
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

// counter counts and digests the bytes read. load may be called while another goroutine reads.
type counter struct {
	r   io.Reader
	n   atomic.Int64
	sum hash.Hash // nil if nobody needs it
}

func newCounter(r io.Reader, digest bool) *counter {
	c := &counter{r: r}
	if digest {
		c.sum = sha256.New()
	}
	return c
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	if c.sum != nil {
		_, _ = c.sum.Write(p[:n]) // it never fails
	}
	return n, err
}

func (c *counter) load() int64 { return c.n.Load() }
