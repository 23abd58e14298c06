package sinktest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Objects is an S3 server: gofakes3, which has conditional PutObject, with a conditional
// CompleteMultipartUpload and faults in front of it.
type Objects struct {
	URL string

	// Fault, if set, is called with each request. It may be replaced between requests.
	Fault func(r *http.Request) Fault

	mu    sync.Mutex
	inner http.Handler
}

// Fault is what happens to a request.
type Fault int

// Faults. Codes of HTTP are faults too: the request has no effect, and is answered with the code.
const (
	None          Fault = iota
	DropBefore          // the connection breaks before the request takes effect
	DropAfter           // and after
	Unconditional       // the conditions of the request are ignored, as old servers do
)

// NewObjects starts a server with a bucket.
func NewObjects(t testing.TB, bucket string) *Objects {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket(bucket); err != nil {
		t.Fatal(err)
	}
	o := &Objects{inner: gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()}
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	o.URL = server.URL
	return o
}

func (o *Objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := None
	o.mu.Lock()
	if o.Fault != nil {
		fault = o.Fault(r)
	}
	o.mu.Unlock()
	switch fault {
	case None:
		o.serve(w, r)
	case Unconditional:
		r.Header.Del("If-None-Match")
		r.Header.Del("If-Match")
		o.serve(w, r)
	case DropAfter:
		o.serve(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case DropBefore:
		panic(http.ErrAbortHandler)
	default:
		_, _ = io.Copy(io.Discard, r.Body)
		refuse(w, int(fault), map[Fault]string{http.StatusServiceUnavailable: "SlowDown", http.StatusForbidden: "AccessDenied"}[fault])
	}
}

// SetFault replaces the fault.
func (o *Objects) SetFault(fault func(r *http.Request) Fault) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.Fault = fault
}

// serve serializes writes that depend on what is there.
func (o *Objects) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		o.inner.ServeHTTP(w, r)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") && r.Header.Get("If-None-Match") == "*" {
		head, found := r.Clone(r.Context()), httptest.NewRecorder()
		head.Method, head.URL.RawQuery, head.Body, head.Header = http.MethodHead, "", http.NoBody, nil
		if o.inner.ServeHTTP(found, head); found.Code == http.StatusOK {
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
			return
		}
	}
	o.inner.ServeHTTP(w, r)
}

func refuse(w http.ResponseWriter, code int, name string) {
	type failure struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if name == "" {
		name = "InternalError"
	}
	text, _ := xml.Marshal(failure{Code: name, Message: fmt.Sprint("fault ", code)}) //nolint:errchkjson // strings
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(code)
	_, _ = w.Write(text)
}
