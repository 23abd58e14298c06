package files

import (
	"bytes"
	"context"
	"fmt"

	"github.com/minio/minio-go/v7"

	"weir.example/weir/internal/objectstore"
	"weir.example/weir/internal/sink"
)

// probe makes sure that a bucket keeps the conditions of writes, with an object that is of no other
// use: a server that ignores them would let two processes write the same rows.
func (t *Target) probe(ctx context.Context, b *bucket) error {
	if t.probed.Load() {
		return nil
	}
	name := b.own + "probe"
	if err := b.put(ctx, name, []byte("probe"), ""); err != nil && !objectstore.IsPrecondition(err) {
		return b.unusable(err)
	}
	writes := []struct {
		what string
		do   func() error
	}{
		{"If-None-Match: * of PutObject", func() error { return b.put(ctx, name, []byte("probe"), "") }},
		{"If-Match of PutObject", func() error { return b.put(ctx, name, []byte("probe"), "00000000000000000000000000000000") }},
		{"If-None-Match: * of CompleteMultipartUpload", func() error { return b.probeUpload(ctx, name) }},
	}
	for _, w := range writes {
		err := w.do()
		switch {
		case err == nil:
			return sink.Refuse("the object store %s ignores %s, so rows could be written twice or lost: use AWS S3, or a newer version of the server (MinIO and Ceph had no such conditions for a long time); "+
				"or write to a directory, and copy complete files from there", b.EndpointURL(), w.what)
		case !objectstore.IsPrecondition(err):
			return b.unusable(fmt.Errorf("%s: %w", w.what, err))
		}
	}
	t.probed.Store(true)
	return nil
}

// probeUpload completes an upload to an object that exists.
func (b *bucket) probeUpload(ctx context.Context, name string) error {
	key := b.Key(name)
	id, err := b.NewMultipartUpload(ctx, b.Bucket.Bucket, key, minio.PutObjectOptions{})
	if err != nil {
		return err
	}
	f := pending{File: name, Upload: id}
	defer b.discard(f)
	part, err := b.PutObjectPart(ctx, b.Bucket.Bucket, key, id, 1, bytes.NewReader([]byte("probe")), int64(len("probe")), partOptions(digest([]byte("probe"))))
	if err != nil {
		return err
	}
	f.Parts = []string{part.ETag}
	return b.complete(ctx, f)
}

// unusable says what to do about the error of a bucket, if trying again is useless.
func (b *bucket) unusable(err error) error {
	switch minio.ToErrorResponse(err).Code {
	case minio.NoSuchBucket:
		return sink.Refuse("the bucket %s does not exist in %s: create it: %w", b.Bucket.Bucket, b.EndpointURL(), err)
	case minio.AccessDenied, "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccountProblem":
		return sink.Refuse("the object store %s refuses access to %s: the user needs s3:GetObject, s3:PutObject, s3:ListBucket, s3:AbortMultipartUpload and s3:ListBucketMultipartUploads: %w", b.EndpointURL(), b.URL(""), err)
	case minio.NotImplemented, "InvalidArgument", "InvalidRequest":
		return sink.Refuse("the object store %s lacks what exactly once needs, the conditions If-Match and If-None-Match of writes: use AWS S3 or a newer version of the server: %w", b.EndpointURL(), err)
	}
	return fmt.Errorf("try the object store %s: %w", b.EndpointURL(), err)
}
