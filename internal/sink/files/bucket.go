package files

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"weir.example/weir/internal/objectstore"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
)

// bucket is the store of an S3-compatible object store. A file is a multipart upload that is
// completed, under the condition that there is no such object, once the state lists it.
type bucket struct {
	*objectstore.Bucket
	own   string // what is not for readers: a prefix of names
	isOwn func(base string) bool
}

// Connect returns the bucket in which a table has its files.
func Connect(t *plan.Table, secrets secret.Source) (*objectstore.Bucket, error) {
	f := t.Delivery.(*plan.Files) //nolint:forcetypeassert // by contract
	c := objectstore.Config{Bucket: f.Bucket.Name, Prefix: f.Path, PathStyle: f.Bucket.PathStyle}
	for _, part := range []struct {
		to   *string
		text string
	}{
		{&c.Endpoint, f.Bucket.Endpoint}, {&c.Region, f.Bucket.Region},
		{&c.AccessKey, f.Bucket.AccessKey}, {&c.SecretKey, f.Bucket.SecretKey}, {&c.SessionToken, f.Bucket.SessionToken},
	} {
		var err error
		if *part.to, err = secrets.Expand(part.text); err != nil {
			return nil, sink.Refuse("table %s: %w", t.Name, err)
		}
	}
	b, err := objectstore.Connect(c)
	if err != nil {
		return nil, sink.Refuse("table %s: %w", t.Name, err)
	}
	return b, nil
}

func (b *bucket) stateName() string           { return b.URL(b.own + stateFile) }
func (b *bucket) fileName(name string) string { return b.URL(name) }
func (b *bucket) close()                      {}

func (b *bucket) load(ctx context.Context) (*state, string, error) {
	text, etag, err := b.get(ctx, b.own+stateFile)
	if err != nil || text == nil {
		return nil, "", err
	}
	s, err := decodeState(text)
	if err != nil {
		return nil, "", sink.Refuse("%s is damaged: restore it: %w", b.stateName(), err)
	}
	return s, etag, nil
}

// get reads an object; nil if there is none.
func (b *bucket) get(ctx context.Context, name string) ([]byte, string, error) {
	r, info, _, err := b.GetObject(ctx, b.Bucket.Bucket, b.Key(name), minio.GetObjectOptions{})
	if err != nil {
		if objectstore.IsMissing(err) {
			return nil, "", nil
		}
		return nil, "", fmt.Errorf("read %s: %w", b.URL(name), err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err == nil && int64(len(text)) != info.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", b.URL(name), err)
	}
	return text, info.ETag, nil
}

// replace implements store. After an error the outcome is read: the answer to a request that took
// effect may have been lost, and a repeated one then finds its own result.
func (b *bucket) replace(ctx context.Context, version string, s *state) error {
	err := b.put(ctx, b.own+stateFile, s.text(), version)
	if err == nil {
		return nil
	}
	now, _, reading := b.load(ctx)
	switch {
	case reading != nil:
		return fmt.Errorf("write the state of the table: %w", errors.Join(err, reading))
	case now != nil && now.Session == s.Session && now.Saves == s.Saves:
		return nil
	case objectstore.IsPrecondition(err):
		return errChanged
	}
	return fmt.Errorf("write the state of the table: %w", err)
}

// put writes an object if it still has this ETag; "" stands for one that does not exist.
func (b *bucket) put(ctx context.Context, name string, text []byte, etag string) error {
	o := minio.PutObjectOptions{ContentType: "application/json", DisableContentSha256: true} // put has the digest
	if etag == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(etag)
	}
	_, err := b.PutObject(ctx, b.Bucket.Bucket, b.Key(name), bytes.NewReader(text), int64(len(text)), "", digest(text), o)
	return err
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// partBytes is the size of the parts of an upload, of which there can be 10,000.
const partBytes = 8 << 20

// markKey is the metadata that tells our object from another one with its name.
const markKey = "Weir-Upload"

// upload is a file that is being written.
type upload struct {
	*bucket
	ctx context.Context
	as  pending
	buf []byte
}

func (b *bucket) create(ctx context.Context, name string, m metadata) (newFile, error) {
	_, err := b.StatObject(ctx, b.Bucket.Bucket, b.Key(name), minio.StatObjectOptions{})
	if err == nil {
		return nil, occupied(b, name)
	}
	if !objectstore.IsMissing(err) {
		return nil, fmt.Errorf("look for %s: %w", b.URL(name), err)
	}
	u := &upload{bucket: b, ctx: ctx, as: pending{File: name, Mark: rand.Text()}}
	u.as.Upload, err = b.NewMultipartUpload(ctx, b.Bucket.Bucket, b.Key(name), minio.PutObjectOptions{
		ContentType: contentTypes[strings.TrimPrefix(path.Ext(name), ".")],
		UserMetadata: map[string]string{
			markKey: u.as.Mark, "Weir-Sink": m.sink, "Weir-Topic": m.topic, "Weir-Topic-Id": m.topicID, "Weir-Partition": strconv.Itoa(int(m.partition)),
			"Weir-From": strconv.FormatInt(m.from, 10), "Weir-Next": strconv.FormatInt(m.next, 10),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("begin %s: %w", b.URL(name), err)
	}
	return u, nil
}

var contentTypes = map[string]string{"parquet": "application/vnd.apache.parquet", "json": "application/x-ndjson", "csv": "text/csv"}

func (u *upload) pending() pending { return u.as }
func (u *upload) close() error     { return nil }

func (u *upload) Write(p []byte) (n int, err error) {
	for n < len(p) {
		more := min(len(p)-n, partBytes-len(u.buf))
		u.buf = append(u.buf, p[n:n+more]...)
		n += more
		if len(u.buf) == partBytes {
			if err := u.send(u.ctx); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// send uploads what is buffered as a part.
func (u *upload) send(ctx context.Context) error {
	part, err := u.PutObjectPart(ctx, u.Bucket.Bucket, u.Key(u.as.File), u.as.Upload, len(u.as.Parts)+1, bytes.NewReader(u.buf), int64(len(u.buf)), partOptions(digest(u.buf)))
	if err != nil {
		return fmt.Errorf("write %s: %w", u.URL(u.as.File), err)
	}
	u.as.Parts, u.buf = append(u.as.Parts, part.ETag), u.buf[:0]
	return nil
}

// partOptions sends the digest of a part with it. The server compares it; a signature of each chunk
// instead is not understood by all servers.
func partOptions(digest string) minio.PutObjectPartOptions {
	return minio.PutObjectPartOptions{Sha256Hex: digest, DisableContentSha256: true}
}

func (u *upload) sync(ctx context.Context) error {
	if len(u.buf) == 0 && len(u.as.Parts) > 0 {
		return nil
	}
	return u.send(ctx)
}

// place implements store. After an error the outcome is read, as in replace.
func (b *bucket) place(ctx context.Context, f pending) error {
	completing := b.complete(ctx, f)
	if completing == nil {
		return nil
	}
	info, err := b.StatObject(ctx, b.Bucket.Bucket, b.Key(f.File), minio.StatObjectOptions{})
	switch {
	case err == nil && info.UserMetadata[markKey] == f.Mark:
		return nil
	case err == nil:
		return occupied(b, f.File)
	case objectstore.IsMissing(err) && objectstore.IsMissing(completing):
		return sink.Refuse("%s has rows of offsets before those of %s, but neither the object nor its upload is there: a rule of the bucket or somebody has removed it. "+
			"To write its rows again, stop the pipeline, remove the entries of partition %d under \"files\" there, with their objects if there are any, and set its \"next\" to what it has under \"from\"; "+
			"to go on without the rows, remove the entry of this file alone", b.fileName(f.File), b.stateName(), partitionOf(f.File))
	}
	return fmt.Errorf("complete %s: %w", b.URL(f.File), completing)
}

func (b *bucket) complete(ctx context.Context, f pending) error {
	var parts []minio.CompletePart
	for i, etag := range f.Parts {
		parts = append(parts, minio.CompletePart{PartNumber: i + 1, ETag: etag})
	}
	var o minio.PutObjectOptions
	o.SetMatchETagExcept("*")
	_, err := b.CompleteMultipartUpload(ctx, b.Bucket.Bucket, b.Key(f.File), f.Upload, parts, o)
	return err
}

// discardLimit bounds what is done after a delivery has failed.
const discardLimit = 5 * time.Second

func (b *bucket) discard(f pending) {
	ctx, cancel := context.WithTimeout(context.Background(), discardLimit)
	defer cancel()
	_ = b.AbortMultipartUpload(ctx, b.Bucket.Bucket, b.Key(f.File), f.Upload) // otherwise the next session does
}

// clean implements store. A user who may not list uploads, and a server that lists those of whole
// keys only, leave it to the rules of the bucket.
func (b *bucket) clean(ctx context.Context, partitions []int32, kept []pending) error {
	prefix := b.Prefix
	if prefix != "" {
		prefix += "/"
	}
	var key, id string
	for {
		page, err := b.ListMultipartUploads(ctx, b.Bucket.Bucket, prefix, key, id, "", 1000)
		if code := minio.ToErrorResponse(err).Code; code == minio.AccessDenied || code == minio.NotImplemented {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list the uploads of %s: %w", b.URL(""), err)
		}
		for _, u := range page.Uploads {
			f := pending{File: b.Name(u.Key)}
			if !b.isOwn(path.Base(f.File)) || !f.isOf(partitions) || slices.ContainsFunc(kept, func(k pending) bool { return k.Upload == u.UploadID }) {
				continue
			}
			if err := b.AbortMultipartUpload(ctx, b.Bucket.Bucket, u.Key, u.UploadID); err != nil && !objectstore.IsMissing(err) {
				return fmt.Errorf("remove an upload of %s: %w", b.URL(f.File), err)
			}
		}
		if !page.IsTruncated {
			return nil
		}
		key, id = page.NextKeyMarker, page.NextUploadIDMarker
	}
}

func (b *bucket) names(ctx context.Context, fn func(name string) bool) error {
	return b.Names(ctx, func(name string) bool { return strings.HasPrefix(name, hidden+"/") || fn(name) })
}
