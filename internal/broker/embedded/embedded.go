package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/front"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/trail"
)

// Config configures an embedded broker.
type Config struct {
	Dir  string // data directory, created if missing; required
	Addr string // host:port to listen on; port 0 picks a free one. Default 127.0.0.1:0

	// Advertise is the host:port that is announced to clients, if they reach the broker at an
	// address other than Addr, such as that of a proxy or a forwarded port. Required if Addr has no
	// host or a wildcard such as 0.0.0.0. Default: Addr.
	Advertise string

	// Sync makes acknowledgements of writes and commits wait for the disk, so that a power failure
	// loses nothing acknowledged. Default false. A killed process loses nothing either way.
	Sync bool

	// AutoCreateTopics creates the topics that clients request metadata of, as Kafka does by
	// default. Without it, a misspelled name is an error. Default false.
	AutoCreateTopics bool

	// TLS is the certificate that the broker serves. Default: no TLS.
	TLS *tlsconf.Server

	// OpenID is a provider whose tokens let clients log in, besides the users of the directory.
	OpenID *guard.OpenID

	// InsecureListen allows an Addr that other machines can reach without TLS and a login. Default
	// false.
	InsecureListen bool

	Profile     string       // name in Profiles; default DefaultProfile
	StoredBytes int64        // caps the bytes of all topics' records; default the profile's, negative: no cap
	Limits      front.Limits // of clients; default: the profile's, then those of package front

	MaintainEvery time.Duration // between compactions and retention runs; default 30 s, negative: never
	CompactBytes  int64         // compaction starts once a compacted topic has grown by this and by half; default 1 MiB
	Logger        *slog.Logger  // default: discard
}

func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.MaintainEvery == 0 {
		c.MaintainEvery = 30 * time.Second
	}
	if c.CompactBytes == 0 {
		c.CompactBytes = 1 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns an error for the first invalid setting.
func (c *Config) Validate() error {
	if c.Dir == "" {
		return errors.New("no data directory")
	}
	if _, err := FindProfile(c.Profile); err != nil {
		return err
	}
	if c.CompactBytes < 0 {
		return fmt.Errorf("CompactBytes must not be negative, got %d", c.CompactBytes)
	}
	return checkAddresses(c.Addr, c.Advertise)
}

// Files of a data directory.
const (
	lockFile    = "lock"        // held by the process that serves the directory
	joinedFile  = "joined"      // held, shared, by the processes that use its broker
	addrFile    = "broker.addr" // host:port of the broker that serves the directory
	uncleanFile = "unclean"     // exists while the directory is served; Close removes it
	dataDir     = "kafka"       // kfake's files
)

// Broker is a running embedded broker.
type Broker struct {
	cfg      Config
	profile  Profile
	cluster  *kfake.Cluster
	controls *front.Controls
	journal  *journal
	gate     *gate
	storage  *storage
	loop     *loop
	guard    *guard.Guard
	access   *access
	front    *front.Listener
	trail    *trail.Log
	disk     *syncer // nil without Config.Sync
	lock     *flock.Flock
	addr     string
	closed   func() error // once

	closeDisk func() error

	stopMaintaining context.CancelFunc
	maintaining     sync.WaitGroup
	oneMaintenance  sync.Mutex
}

// HeldError means that another process serves the data directory.
type HeldError struct {
	Dir  string
	Addr string // of its broker; empty while it starts
}

// Error names the process's broker and a remedy.
func (e *HeldError) Error() string {
	return fmt.Sprintf("data directory %s is in use by another weir (broker at %s): stop it, or choose another --data-dir", e.Dir, e.Addr)
}

// Open recovers a data directory if its last process did not stop cleanly, and starts its broker.
// The error is a *HeldError if another process serves the directory.
func Open(cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open embedded broker: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, privateDir); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock := flock.New(filepath.Join(cfg.Dir, lockFile))
	held, err := tryLock(lock)
	if err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", cfg.Dir, err)
	}
	if !held {
		return nil, &HeldError{Dir: cfg.Dir, Addr: readAddr(cfg.Dir)}
	}
	b := &Broker{cfg: cfg, lock: lock}
	b.closed = sync.OnceValue(b.close)
	if err := b.start(); err != nil {
		if b.trail != nil {
			b.trail.Close()
		}
		return nil, errors.Join(err, lock.Unlock())
	}
	return b, nil
}

// tryLock acquires the lock of a data directory. It retries briefly, because a process that only
// checks whether the directory is in use holds the lock for a moment.
func tryLock(lock *flock.Flock) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	held, err := lock.TryLockContext(ctx, 10*time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) {
		return false, nil
	}
	return held, err
}

func (b *Broker) start() error {
	dir := b.cfg.Dir
	profile, err := FindProfile(b.cfg.Profile)
	if err != nil {
		return err
	}
	b.profile = profile
	if err := createPrivate(dir, b.cfg.Logger); err != nil {
		return err
	}
	access := guard.Config{Dir: dir, OpenID: b.cfg.OpenID, ClientCerts: b.cfg.TLS != nil && b.cfg.TLS.ClientCerts()}
	if b.guard, err = guard.Open(context.Background(), access); err != nil {
		return err
	}
	if err := b.checkExposed(); err != nil {
		return err
	}
	defer leanMemory(b.data())()
	restored, err := recoverDir(dir, b.cfg.Logger)
	if err != nil {
		return fmt.Errorf("recover data directory %s: %w", dir, err)
	}
	if err := writeSynced(filepath.Join(dir, uncleanFile), nil); err != nil {
		return fmt.Errorf("mark data directory: %w", err)
	}
	b.closeDisk = func() error { return nil }
	if b.cfg.Sync {
		if b.disk, b.closeDisk, err = openSyncer(dir); err != nil {
			return fmt.Errorf("open data directory: %w", err)
		}
	}
	if b.journal, err = openJournal(dir, b.disk); err != nil {
		return errors.Join(fmt.Errorf("open transaction journal: %w", err), b.closeDisk())
	}
	b.trail = trail.Open(dir, func(err error) { b.cfg.Logger.Warn("the audit trail is incomplete", "part", "broker", "err", err) })
	ready := make(chan struct{})
	var listenErr error
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.DataDir(filepath.Join(dir, dataDir)),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			var l net.Listener
			if l, listenErr = b.listen(network); listenErr != nil {
				return nil, listenErr
			}
			b.front = front.Wrap(l, profile.limits(b.cfg.Limits), b.cfg.Logger)
			b.front.SetTopicConfigError(invalidTopicConfig)
			b.front.SetGuard(b.guard)
			b.front.SetTrail(b.trail.Add)
			if b.cfg.TLS != nil {
				b.front.SetTLS(b.cfg.TLS.Config())
			}
			l = b.front
			if b.disk != nil {
				l = heldListener{l, b.disk}
			}
			return &readyListener{Listener: l, ready: ready, closed: make(chan struct{})}, nil
		}),
		kfake.WithLogger(logger{log: b.cfg.Logger, stop: stopProcess}),
		kfake.ClusterID("weir-embedded"),
		kfake.EnableACLs(),
		kfake.DefaultNumPartitions(4),
		kfake.BrokerConfigs(brokerConfigs(profile)),
	}
	if b.cfg.AutoCreateTopics {
		opts = append(opts, kfake.AllowAutoTopicCreation())
	}
	if b.cluster, err = kfake.NewCluster(opts...); err != nil {
		return errors.Join(explainListen(b.cfg.Addr, err, listenErr), b.journal.close(), b.closeDisk())
	}
	if b.loop, err = openLoop(b.cluster); err != nil {
		return errors.Join(err, b.shut())
	}
	if err := b.loop.checkRetention(); err != nil {
		return errors.Join(err, b.shut())
	}
	b.loop.do(b.loop.forget) // left by an older version in the files of a clean stop
	if b.controls, err = front.NewControls(b.cluster); err != nil {
		return errors.Join(err, b.shut())
	}
	if b.access, err = newAccess(b.loop, b.guard); err != nil {
		return errors.Join(err, b.shut())
	}
	for key, check := range b.access.checks() {
		b.watch(key, check)
	}
	checks := front.Checks(b.topicName)
	for key, check := range checks {
		if key != kmsg.Produce {
			b.watch(key, check)
		}
	}
	room := openReserve(dir, b.cfg.Logger)
	for _, key := range []kmsg.Key{kmsg.EndTxn, kmsg.InitProducerID, kmsg.OffsetCommit} {
		b.watch(key, room.onRequest) // before all others: the journal must not record a commit that is refused
	}
	producers, err := newProducers(b.loop)
	if err != nil {
		return errors.Join(err, b.shut())
	}
	producers.restore(restored)
	b.journal.producers, b.journal.topicName = producers, b.topicName
	mayRead := func(topic string) bool {
		return b.access.current.may(kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, topic)
	}
	b.journal.mayRead, producers.mayRead = mayRead, mayRead
	fence := &Fence{producers: producers}
	members, err := newMembers(b.loop)
	if err != nil {
		return errors.Join(err, b.shut())
	}
	b.watch(kmsg.InitProducerID, func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req, ok := kreq.(*kmsg.InitProducerIDRequest)
		if !ok {
			return nil, nil, false
		}
		claim := fence.claim(req)
		if claim.refused {
			return refuseInit(req, kerr.ProducerFenced), nil, true
		}
		resp, refused := b.journal.onInit(req, claim)
		if !refused {
			fence.admit(claim)
		}
		return resp, nil, refused
	})
	b.watch(kmsg.SyncGroup, members.onSyncGroup)
	b.watch(kmsg.JoinGroup, members.onJoinGroup)
	limit := cmp.Or(b.cfg.StoredBytes, profile.StoredBytes)
	b.storage = newStorage(limit, b.loop.stored, b.cfg.Logger)
	b.gate = newGate(b.topicName)
	hold := b.gate.hold(b.controls.Sleep)
	b.watch(kmsg.Produce, func(req kmsg.Request) (kmsg.Response, error, bool) { // a single function, see gate
		refused, allowed := b.access.current.produces(req.(*kmsg.ProduceRequest), b.topicName) //nolint:forcetypeassert // watch
		if refused != nil {
			return refused, nil, true
		}
		for _, check := range []handler{checks[kmsg.Produce], room.onRequest} {
			if resp, err, refused := check(req); refused {
				return resp, err, true
			}
		}
		resp, err, answered := hold(req)
		if !answered {
			resp, err, answered = fence.OnRequest(req)
		}
		if !answered {
			resp, err, answered = b.storage.onProduce(req)
		}
		if !answered {
			resp, answered = b.journal.onProduce(req.(*kmsg.ProduceRequest), allowed)
		}
		return resp, err, answered
	})
	b.watch(kmsg.AddPartitionsToTxn, b.journal.onAddPartitions)
	b.watch(kmsg.AddOffsetsToTxn, b.journal.onAddOffsets)
	b.watch(kmsg.EndTxn, b.journal.onEndTxn)
	b.watch(kmsg.TxnOffsetCommit, b.journal.onTxnOffsetCommit)
	b.watch(kmsg.DeleteRecords, b.onDeleteRecords)
	b.watch(kmsg.Metadata, onMetadata)
	b.watch(kmsg.DescribeProducers, producers.onDescribeProducers)
	b.watch(kmsg.ConsumerGroupDescribe, b.onConsumerGroupDescribe)
	b.watch(kmsg.ListGroups, onListGroups)
	b.watch(kmsg.OffsetFetch, b.onOffsetFetch)
	b.watch(kmsg.IncrementalAlterConfigs, b.onIncrementalAlterConfigs)
	b.watch(kmsg.AlterConfigs, b.onAlterConfigs)
	b.watch(kmsg.CreateTopics, onCreateTopics)
	b.controls.Identify(b.access.identify)
	close(ready)
	b.addr = b.cluster.ListenAddrs()[0]
	if err := b.linkCert(); err != nil {
		return errors.Join(fmt.Errorf("write the certificate's path: %w", err), b.shut())
	}
	if err := writeSynced(filepath.Join(dir, addrFile), []byte(b.addr)); err != nil {
		return errors.Join(fmt.Errorf("write broker address: %w", err), b.shut())
	}
	b.tighten()
	ctx, cancel := context.WithCancel(context.Background())
	b.stopMaintaining = cancel
	if b.cfg.MaintainEvery > 0 {
		b.maintaining.Go(func() { b.maintain(ctx) })
	}
	return nil
}

// linkCert tells processes that may read the directory which certificate is served.
func (b *Broker) linkCert() error {
	path := filepath.Join(b.cfg.Dir, broker.CertLink)
	if b.cfg.TLS == nil {
		return removeFile(path)
	}
	cert, err := filepath.Abs(b.cfg.TLS.CertFile())
	if err != nil {
		return err
	}
	return writeSynced(path, []byte(cert))
}

// shut cleans up after a failed start.
func (b *Broker) shut() error {
	b.cluster.Close()
	return errors.Join(b.journal.close(), b.closeDisk())
}

// handler is called with a request before the broker handles it; if it returns handled, the broker
// does not.
type handler = func(kmsg.Request) (resp kmsg.Response, err error, handled bool)

// watch calls fn with every request of a kind. The broker and its handlers process one request at a
// time.
func (b *Broker) watch(key kmsg.Key, fn handler) { b.controls.Add(key, fn) }

// topicName returns the name of the topic with an id, or "" if there is none. Handlers may call it.
func (b *Broker) topicName(id [16]byte) string {
	if info := b.cluster.TopicIDInfo(id); info != nil {
		return info.Topic
	}
	return ""
}

// Guard returns who may use the broker, for what is served with it.
func (b *Broker) Guard() *guard.Guard { return b.guard }

// Trail returns the audit trail, for what is served with the broker.
func (b *Broker) Trail() *trail.Log { return b.trail }

// Addr returns the host:port that clients connect to.
func (b *Broker) Addr() string { return b.addr }

// Shared reports whether another process has joined this broker (see Join).
func (b *Broker) Shared() bool {
	l := flock.New(filepath.Join(b.cfg.Dir, joinedFile))
	free, err := l.TryLock()
	if err == nil && free {
		_ = l.Unlock() // closing the file releases the lock in any case
	}
	return err == nil && !free
}

// Close stops the broker and saves its state, so that the next start needs no recovery. Clients'
// open transactions stay open. A second call waits for the first and returns the same error.
func (b *Broker) Close() error { return b.closed() }

func (b *Broker) close() error {
	b.stopMaintaining()
	b.maintaining.Wait()
	floorErr := b.recordFloors()
	b.cluster.Close()
	b.trail.Close()
	dir := b.cfg.Dir
	b.tighten()
	return errors.Join(floorErr, b.journal.close(), b.closeDisk(),
		os.Remove(filepath.Join(dir, addrFile)),
		os.Remove(filepath.Join(dir, uncleanFile)),
		b.lock.Unlock())
}

// Member is this process's membership in a broker that another process serves.
type Member struct {
	Addr string // host:port of the broker
	lock *flock.Flock
}

// Join finds the broker that another process runs on dir, and marks it as in use until Leave. It
// returns nil, nil if no process serves dir.
func Join(dir string) (*Member, error) {
	held, err := Held(dir)
	if err != nil || !held {
		return nil, err
	}
	addr, err := waitAddr(dir)
	if err != nil {
		return nil, err
	}
	joined := flock.New(filepath.Join(dir, joinedFile))
	if err := joined.RLock(); err != nil {
		return nil, fmt.Errorf("join data directory %s: %w", dir, err)
	}
	return &Member{Addr: addr, lock: joined}, nil
}

// Held reports whether a process serves a data directory.
func Held(dir string) (bool, error) {
	lock := flock.New(filepath.Join(dir, lockFile))
	if _, err := os.Stat(lock.Path()); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	free, err := lock.TryLock()
	if err != nil {
		return false, fmt.Errorf("check the lock of data directory %s: %w", dir, err)
	}
	if free {
		return false, lock.Unlock()
	}
	return true, nil
}

// HasData reports whether a directory has a broker's data.
func HasData(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, dataDir))
	return err == nil
}

// Leave ends the membership.
func (m *Member) Leave() error { return m.lock.Unlock() }

// waitAddr waits for the address of a broker that may be starting.
func waitAddr(dir string) (string, error) {
	for deadline := time.Now().Add(8 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if addr := readAddr(dir); addr != "" && reachable(addr) {
			return addr, nil
		}
	}
	return "", fmt.Errorf("data directory %s is held by a process whose broker does not answer: stop that process, or choose another --data-dir", dir)
}

func readAddr(dir string) string {
	addr, err := os.ReadFile(filepath.Join(dir, addrFile)) //nolint:gosec // the data directory is the user's choice
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(addr))
}

// reachable reports whether addr accepts connections; a killed process may have left a stale
// address.
func reachable(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
