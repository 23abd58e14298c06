package console

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	guards "weir.example/weir/internal/guard"
)

// A page has one event stream, with the frames of all feeds that it watches:
//
//	event: overview
//	data: {…}
//
// A feed is named "kind" or "kind:argument" and shared by all its watchers: its frame is built once
// per period. A stream has no queue: a slow browser gets the newest frame when it is ready for one,
// and misses those in between.
type feed interface {
	// frame returns the data to send, or nil if there is nothing new. It must be fast, and is
	// called from one goroutine only.
	frame() any
	// period is the interval between frames.
	period() time.Duration
	// close releases the feed's resources.
	close()
}

const (
	tick         = 250 * time.Millisecond
	maxStreams   = 512
	maxOwn       = 64   // streams of one client
	maxFeeds     = 8    // per stream
	maxFeedName  = 1024 // bytes
	writeTimeout = 15 * time.Second
	keepAlive    = 15 * time.Second
)

// hub samples feeds and wakes the streams.
type hub struct {
	open     func(name string) (feed, error)
	patience time.Duration                  // a browser that does not read for this long is disconnected
	own      int                            // streams that one client may have
	still    func(context.Context) bool     // whether the user of a stream may go on
	from     func(*http.Request) netip.Addr // address of a client

	mu      sync.Mutex
	feeds   map[string]*shared
	streams map[string]*stream
	wake    chan struct{} // closed and replaced at each tick
	joined  chan struct{} // signals run that a stream has been opened
}

// shared is a feed and its newest frame.
type shared struct {
	feed
	name  string
	users int
	due   time.Time
	data  []byte
	seq   uint64 // of data; 0: none yet
}

// stream is the event stream of one page.
type stream struct {
	id    string
	from  netip.Addr
	watch []*shared
	sent  map[*shared]uint64
}

func newHub(open func(string) (feed, error)) *hub {
	return &hub{open: open, patience: writeTimeout, own: maxOwn, from: guards.From, still: func(context.Context) bool { return true }, feeds: make(map[string]*shared), streams: make(map[string]*stream), wake: make(chan struct{}), joined: make(chan struct{}, 1)}
}

// watched reports whether there are any streams.
func (h *hub) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams) > 0
}

// run samples the feeds until ctx is done; it pauses while there are no streams.
func (h *hub) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if !h.watched() {
			select {
			case <-ctx.Done():
				return
			case <-h.joined:
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

// sample builds the frames that are due and wakes the streams.
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
	frames := make([][]byte, len(due))
	for i, s := range due {
		v := s.frame()
		if v == nil {
			continue
		}
		if data, err := json.Marshal(v); err == nil {
			frames[i] = data
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range due {
		if frames[i] != nil {
			s.data = frames[i]
			s.seq++
		}
	}
	close(h.wake)
	h.wake = make(chan struct{})
}

// acquire returns the feeds with these names, opening them if necessary. h.mu must be held.
func (h *hub) acquire(names []string) ([]*shared, error) {
	if len(names) > maxFeeds {
		return nil, fmt.Errorf("too many feeds: max %d per stream", maxFeeds)
	}
	var all []*shared
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		s := h.feeds[name]
		if s == nil {
			if len(name) > maxFeedName {
				h.release(all)
				return nil, errors.New("feed name too long")
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

// release closes feeds that have no more users. h.mu must be held.
func (h *hub) release(feeds []*shared) {
	for _, s := range feeds {
		if s.users--; s.users == 0 {
			delete(h.feeds, s.name)
			s.close()
		}
	}
}

var (
	errStreams    = &httpError{http.StatusServiceUnavailable, fmt.Errorf("too many open pages: max %d", maxStreams)}
	errOwnStreams = &httpError{http.StatusTooManyRequests, fmt.Errorf("too many open pages of this client: max %d", maxOwn)}
)

func (h *hub) join(from netip.Addr, names []string) (*stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	own := 0
	for _, s := range h.streams {
		if s.from == from {
			own++
		}
	}
	switch {
	case own >= h.own:
		return nil, errOwnStreams
	case len(h.streams) >= maxStreams:
		return nil, errStreams
	}
	watch, err := h.acquire(names)
	if err != nil {
		return nil, badRequest("%w", err)
	}
	s := &stream{id: rand.Text(), from: from, watch: watch, sent: make(map[*shared]uint64)}
	h.streams[s.id] = s
	select {
	case h.joined <- struct{}{}:
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

// next returns the frames that a stream has not sent yet, and a channel that is closed when there
// may be more.
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

// serve serves GET /api/events?watch=NAME&watch=NAME…
func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	s, err := h.join(h.from(r), r.URL.Query()["watch"])
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
		_ = out.SetWriteDeadline(time.Now().Add(h.patience)) // if it cannot be set, the write blocks until the connection is closed
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
		if len(data) > 0 && write(data) != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-wake:
		case <-alive.C:
			if !h.still(r.Context()) { // its user was removed, or logins have become required
				return
			}
			if write([]byte(": keep-alive\n\n")) != nil {
				return
			}
		}
	}
}

// rewatch serves POST /api/events/{id} {"watch": […]}: it changes the feeds of an open stream.
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
		fail(w, http.StatusNotFound, errors.New("stream not found"))
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

// feed opens a feed by name.
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
	return nil, fmt.Errorf("feed %q not found", kind)
}
