// Package objectstore connects to buckets of S3-compatible object stores.
package objectstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Config says where a bucket is. What is empty comes from the environment, as for the tools of AWS.
type Config struct {
	Bucket, Prefix string // the prefix has no slashes around it
	Endpoint       string // URL; default AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, that of AWS
	Region         string // default AWS_REGION, AWS_DEFAULT_REGION, what the server says
	PathStyle      bool   // the name of the bucket is in paths, not in that of the host

	// AccessKey and the others are the credentials. By default they are those of the environment
	// (AWS_ACCESS_KEY_ID), of a profile (AWS_PROFILE), or of the role of the machine.
	AccessKey, SecretKey, SessionToken string
}

// Bucket is the part of a bucket below a prefix. Its calls are those of S3, and take whole keys.
type Bucket struct {
	minio.Core
	Config
}

// attempts bounds how often a request is sent, with pauses between, before its error is returned.
const attempts = 4

// roleLimit bounds the search for the role of a machine that has none.
const roleLimit = 5 * time.Second

// Connect returns a client, without a request.
func Connect(c Config) (*Bucket, error) {
	endpoint := cmp.Or(c.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), "https://s3.amazonaws.com")
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("the endpoint of the object store is not the address of a server: write http://HOST:PORT or https://HOST:PORT")
	}
	creds := credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.SessionToken)
	if c.AccessKey == "" {
		creds = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: &http.Client{Timeout: roleLimit}},
		})
	}
	lookup := minio.BucketLookupAuto
	if c.PathStyle {
		lookup = minio.BucketLookupPath
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds: creds, Secure: u.Scheme == "https", BucketLookup: lookup, MaxRetries: attempts,
		Region: cmp.Or(c.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the object store: %w", err)
	}
	return &Bucket{*core, c}, nil
}

// Key returns the key of a name below the prefix.
func (b *Bucket) Key(name string) string { return path.Join(b.Prefix, name) }

// Name returns the name below the prefix of a key.
func (b *Bucket) Name(key string) string {
	if b.Prefix == "" {
		return key
	}
	return strings.TrimPrefix(key, b.Prefix+"/")
}

// URL returns how an object is named in messages.
func (b *Bucket) URL(name string) string { return "s3://" + path.Join(b.Bucket, b.Key(name)) }

// Names calls fn with the names of all objects below the prefix, until it returns false.
func (b *Bucket) Names(ctx context.Context, fn func(name string) bool) error {
	prefix := b.Prefix
	if prefix != "" {
		prefix += "/"
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing
	for o := range b.ListObjectsIter(ctx, b.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			return fmt.Errorf("list %s: %w", b.URL(""), o.Err)
		}
		if !fn(b.Name(o.Key)) {
			return nil
		}
	}
	return nil
}

// IsMissing reports whether an error says that there is no such object or upload.
func IsMissing(err error) bool {
	switch minio.ToErrorResponse(err).Code {
	case minio.NoSuchKey, minio.NoSuchUpload, "NotFound":
		return true
	}
	return false
}

// IsPrecondition reports whether an error says that a condition of a write does not hold.
func IsPrecondition(err error) bool {
	e := minio.ToErrorResponse(err)
	return e.Code == minio.PreconditionFailed || e.StatusCode == http.StatusPreconditionFailed
}
