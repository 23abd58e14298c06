package console

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A page has one stream, on which the frames of all feeds that it watches come:
//
//	event: overview
//	data: {…}
//
// A feed is named "kind" or "kind:argument" and shared by all who watch it: its frame is made once
// a period. A stream has no queue. Whoever is slow finds the newest frame when it is ready for one;
// those in between were not for it.
type feed interface {
	// frame is what to send now, or nil where nothing is new. It must be quick, and is called by
	// one goroutine.
	frame() any
	// period is how often it is looked at.
	period() time.Duration
	// close ends what it holds.
	close()
}

const (
	tick         = 250 * time.Millisecond
	maxStreams   = 512
	maxFeeds     = 8    // that one stream watches
	maxFeedName  = 1024 // bytes
	writeTimeout = 15 * time.Second
	keepAlive    = 15 * time.Second
)

// hub samples feeds and wakes the streams.
type hub struct {
	open     func(name string) (feed, error)
	patience time.Duration // with a browser that does not read

	mu      sync.Mutex
	feeds   map[string]*shared
	streams map[string]*stream
	wake    chan struct{} // closed at each tick, and made anew
	some    chan struct{} // tells run that there is a stream
}

// shared is a feed and its newest frame.
type shared struct {
	feed
	name  string
	users int
	due   time.Time
	data  []byte
	seq   uint64 // of data; 0 where there is none yet
}

// stream is a page that listens.
type stream struct {
	id    string
	watch []*shared
	sent  map[*shared]uint64
}

func newHub(open func(string) (feed, error)) *hub {
	return &hub{open: open, patience: writeTimeout, feeds: make(map[string]*shared), streams: make(map[string]*stream), wake: make(chan struct{}), some: make(chan struct{}, 1)}
}

// watched reports whether any page listens.
func (h *hub) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams) > 0
}

// run samples until ctx is done; it rests while nobody listens.
func (h *hub) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if !h.watched() {
			select {
			case <-ctx.Done():
				return
			case <-h.some:
			}
		}
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			h.sample(now)
		}
	}
}

// sample makes the frames that are due, and wakes the streams.
func (h *hub) sample(now time.Time) {
	h.mu.Lock()
	due := make([]*shared, 0, len(h.feeds))
	for _, s := range h.feeds {
		if !now.Before(s.due) {
			s.due = now.Add(s.period() - tick/2)
			due = append(due, s)
		}
	}
	h.mu.Unlock()
	made := make([][]byte, len(due))
	for i, s := range due {
		v := s.frame()
		if v == nil {
			continue
		}
		if data, err := json.Marshal(v); err == nil {
			made[i] = data
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range due {
		if made[i] != nil {
			s.data = made[i]
			s.seq++
		}
	}
	close(h.wake)
	h.wake = make(chan struct{})
}

// acquire finds or opens the feeds with these names. h.mu is held.
func (h *hub) acquire(names []string) ([]*shared, error) {
	if len(names) > maxFeeds {
		return nil, fmt.Errorf("a stream watches %d feeds at most", maxFeeds)
	}
	var all []*shared
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		s := h.feeds[name]
		if s == nil {
			if len(name) > maxFeedName {
				h.release(all)
				return nil, errors.New("the name of a feed is too long")
			}
			f, err := h.open(name)
			if err != nil {
				h.release(all)
				return nil, err
			}
			s = &shared{feed: f, name: name}
			h.feeds[name] = s
		}
		s.users++
		all = append(all, s)
	}
	return all, nil
}

// release lets go of feeds. h.mu is held.
func (h *hub) release(feeds []*shared) {
	for _, s := range feeds {
		if s.users--; s.users == 0 {
			delete(h.feeds, s.name)
			s.close()
		}
	}
}

var errStreams = &httpError{http.StatusServiceUnavailable, fmt.Errorf("%d pages listen already", maxStreams)}

func (h *hub) join(names []string) (*stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) >= maxStreams {
		return nil, errStreams
	}
	watch, err := h.acquire(names)
	if err != nil {
		return nil, badRequest("%w", err)
	}
	s := &stream{id: rand.Text(), watch: watch, sent: make(map[*shared]uint64)}
	h.streams[s.id] = s
	select {
	case h.some <- struct{}{}:
	default:
	}
	return s, nil
}

func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, s.id)
	h.release(s.watch)
}

// next is what a stream has not seen yet, and what to wait for after it.
func (h *hub) next(s *stream) (out []byte, wake <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range s.watch {
		if f.seq > s.sent[f] {
			s.sent[f] = f.seq
			kind, _, _ := strings.Cut(f.name, ":")
			out = fmt.Appendf(out, "event: %s\ndata: %s\n\n", kind, f.data)
		}
	}
	return out, h.wake
}

// serve is GET /api/events?watch=NAME&watch=NAME…
func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	s, err := h.join(r.URL.Query()["watch"])
	if err != nil {
		var known *httpError
		errors.As(err, &known)
		fail(w, known.status, err)
		return
	}
	defer h.leave(s)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	write := func(data []byte) error {
		_ = out.SetWriteDeadline(time.Now().Add(h.patience)) // where it can't be set, the write blocks until the page is gone
		if _, err := w.Write(data); err != nil {
			return err
		}
		return out.Flush()
	}
	hello := fmt.Appendf(nil, "retry: 1000\nevent: hello\ndata: {\"id\":%q}\n\n", s.id)
	if write(hello) != nil {
		return
	}
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		data, wake := h.next(s)
		if len(data) > 0 {
			if write(data) != nil {
				return
			}
			continue
		}
		select {
		case <-r.Context().Done():
			return
		case <-wake:
		case <-alive.C:
			if write([]byte(": still here\n\n")) != nil {
				return
			}
		}
	}
}

// rewatch is POST /api/events/{id} {"watch": […]}: an open stream watches something else.
func (h *hub) rewatch(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Watch []string `json:"watch"`
	}
	if err := readJSON(r, &in); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[r.PathValue("id")]
	if s == nil {
		fail(w, http.StatusNotFound, errors.New("this stream has ended"))
		return
	}
	watch, err := h.acquire(in.Watch)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	sent := make(map[*shared]uint64)
	for _, f := range watch {
		sent[f] = s.sent[f]
	}
	h.release(s.watch)
	s.watch, s.sent = watch, sent
	w.WriteHeader(http.StatusNoContent)
}

// feed opens a feed by its name.
func (c *Console) feed(name string) (feed, error) {
	kind, argument, _ := strings.Cut(name, ":")
	switch kind {
	case "overview":
		return overviewFeed{c}, nil
	case "devices":
		return c.devicesFeed(argument)
	case "device":
		return c.deviceFeed(argument)
	case "pipeline":
		return pipelineFeed{c, argument}, nil
	case "tail":
		return c.tails.feed(argument)
	case "topics":
		return topicsFeed{c}, nil
	}
	return nil, fmt.Errorf("there is no feed %q", kind)
}
