package chaos

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/retry"
)

// proxy forwards connections between clients and one broker:
//
//	client ─► toxiproxy (listen) ─► holder ─► broker
//
// toxiproxy cuts, resets, delays and swallows data; holder parses Kafka's frames and can hold an
// EndTxn request.
type proxy struct {
	listen string // address that the broker advertises
	toxic  *toxiproxy.Proxy
	holder *holder
}

// proxyServer creates the server that toxiproxy's proxies need. It serves no API: faults change the
// proxies directly.
func proxyServer() *toxiproxy.ApiServer {
	return toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
}

func newProxy(server *toxiproxy.ApiServer, listen, upstream string) (*proxy, error) {
	h, err := newHolder(upstream)
	if err != nil {
		return nil, err
	}
	p := &proxy{listen: listen, holder: h, toxic: toxiproxy.NewProxy(server, "broker "+upstream, listen, h.addr())}
	if err := p.toxic.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s for the broker at %s: %w", listen, upstream, err), h.close())
	}
	return p, nil
}

func (p *proxy) close() error {
	p.toxic.Stop()
	return p.holder.close()
}

// add adds a toxic in both directions.
func (p *proxy) add(kind, attributes string) error {
	for _, stream := range []string{"upstream", "downstream"} {
		text := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"toxicity":1,"attributes":{%s}}`, kind+stream, kind, stream, attributes)
		if _, err := p.toxic.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			return fmt.Errorf("add toxic %s: %w", kind, err)
		}
	}
	return nil
}

func (p *proxy) heal(ctx context.Context) error {
	p.toxic.Toxics.ResetToxics(ctx)
	p.holder.release()
	if err := p.toxic.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return fmt.Errorf("listen again on %s: %w", p.listen, err)
	}
	return nil
}

// holder forwards connections and, once armed, holds the next EndTxn. That frame, and everything
// its client sends after it, waits until release.
type holder struct {
	listener net.Listener
	upstream string

	mu   sync.Mutex
	hold *held // armed, not yet matched by a frame
	all  []*held
	open map[net.Conn]bool
}

// held is one held frame.
type held struct {
	met  chan struct{} // closed when an EndTxn has arrived
	gone chan struct{} // closed when its client has closed the connection
	let  chan struct{} // closed to forward it
	once sync.Once
}

func newHolder(upstream string) (*holder, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns immediately
	if err != nil {
		return nil, err
	}
	h := &holder{listener: l, upstream: upstream, open: make(map[net.Conn]bool)}
	go h.serve()
	return h, nil
}

func (h *holder) addr() string { return h.listener.Addr().String() }

func (h *holder) close() error {
	h.release()
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.open {
		_ = c.Close()
	}
	return h.listener.Close()
}

func (h *holder) serve() {
	for {
		client, err := h.listener.Accept()
		if err != nil {
			return // closed
		}
		go h.pass(client)
	}
}

func (h *holder) track(c net.Conn, open bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if open {
		h.open[c] = true
	} else {
		delete(h.open, c)
	}
}

func (h *holder) pass(client net.Conn) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", h.upstream, time.Second) //nolint:noctx // has a timeout
	if err != nil {
		return
	}
	defer server.Close()
	h.track(client, true)
	h.track(server, true)
	defer h.track(client, false)
	defer h.track(server, false)
	go func() {
		_, _ = io.Copy(client, server) // ends with either connection
		_ = client.Close()
	}()
	h.requests(client, server)
}

// requests forwards requests frame by frame: a length of four bytes, then the API key.
func (h *holder) requests(client, server net.Conn) {
	frames := make(chan []byte, 64)
	gone := make(chan struct{})
	go func() { // reads ahead of a held frame, to detect that the client closes the connection
		defer close(frames)
		defer close(gone)
		for {
			frame, err := readFrame(client)
			if err != nil {
				return
			}
			frames <- frame
		}
	}()
	for frame := range frames {
		if int16(binary.BigEndian.Uint16(frame[4:])) == int16(kmsg.EndTxn) { //nolint:gosec // API key of the protocol
			h.await(gone)
		}
		if _, err := server.Write(frame); err != nil {
			break
		}
	}
	for range frames { // unblock the reader
	}
}

const maxFrame = 128 << 20

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 8 || n > maxFrame {
		return nil, fmt.Errorf("invalid Kafka request of %d bytes", n)
	}
	frame := make([]byte, 4+n)
	copy(frame, size[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}

// await holds an EndTxn if the holder is armed.
func (h *holder) await(gone <-chan struct{}) {
	h.mu.Lock()
	one := h.hold
	h.hold = nil
	h.mu.Unlock()
	if one == nil {
		return
	}
	close(one.met)
	go func() {
		select {
		case <-gone:
			close(one.gone)
		case <-one.let:
		}
	}()
	<-one.let
}

// arm makes the holder hold the next EndTxn.
func (h *holder) arm() *held {
	h.mu.Lock()
	defer h.mu.Unlock()
	one := &held{met: make(chan struct{}), gone: make(chan struct{}), let: make(chan struct{})}
	h.hold, h.all = one, append(h.all, one)
	return one
}

// release forwards all held frames.
func (h *holder) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold = nil
	for _, one := range h.all {
		one.once.Do(func() { close(one.let) })
	}
	h.all = nil
}

// network is a fault injected by the proxies.
type network struct {
	run    *run
	inject func(ctx context.Context, p *proxy) error
	detail string
}

func (n *network) Inject(ctx context.Context) (string, error) {
	var errs []error
	for _, p := range n.run.proxies {
		errs = append(errs, n.inject(ctx, p))
	}
	return n.detail, errors.Join(errs...)
}

func (n *network) Heal(ctx context.Context) error { return n.run.healNetwork(ctx) }

func (r *run) healNetwork(ctx context.Context) error {
	var errs []error
	for _, p := range r.proxies {
		errs = append(errs, p.heal(ctx))
	}
	return errors.Join(errs...)
}

func (r *run) cutNetwork() Fault {
	return &network{run: r, detail: "all brokers", inject: func(_ context.Context, p *proxy) error {
		p.toxic.Stop()
		return nil
	}}
}

func (r *run) resetNetwork() Fault {
	after := r.rng.IntN(500)
	return &network{run: r, detail: fmt.Sprintf("after %d ms", after), inject: func(_ context.Context, p *proxy) error {
		return p.add("reset_peer", fmt.Sprintf(`"timeout":%d`, after))
	}}
}

func (r *run) slowNetwork() Fault {
	return &network{run: r, detail: "100 ms each way", inject: func(_ context.Context, p *proxy) error {
		return p.add("latency", `"latency":100,"jitter":10`)
	}}
}

func (r *run) halfOpenNetwork() Fault {
	return &network{run: r, detail: "nothing gets through", inject: func(_ context.Context, p *proxy) error {
		return p.add("timeout", `"timeout":0`)
	}}
}

// heldEndTxn holds an EndTxn until its client has given up, then releases it.
type heldEndTxn struct{ run *run }

func (r *run) holdEndTxn() Fault { return &heldEndTxn{r} }

// giveUpLimit is how long a client may wait for the response to an EndTxn.
const giveUpLimit = 45 * time.Second

func (f *heldEndTxn) Inject(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, giveUpLimit)
	defer cancel()
	var all []*held
	for _, p := range f.run.proxies {
		all = append(all, p.holder.arm())
	}
	met := -1
	for met < 0 {
		for i, one := range all {
			select {
			case <-one.met:
				met = i
			default:
			}
		}
		if err := retry.Sleep(ctx, 5*time.Millisecond); err != nil && met < 0 {
			return "", errors.New("no EndTxn request seen")
		}
	}
	for i, p := range f.run.proxies {
		if i != met {
			p.holder.release()
		}
	}
	began := time.Now()
	select {
	case <-all[met].gone:
		return fmt.Sprintf("at broker %d, the client gave up after %s", met+1, time.Since(began).Round(time.Millisecond)), nil
	case <-ctx.Done():
		return fmt.Sprintf("at broker %d, released after %s, the client was still there", met+1, time.Since(began).Round(time.Second)), nil
	}
}

func (f *heldEndTxn) Heal(ctx context.Context) error { return f.run.healNetwork(ctx) }
