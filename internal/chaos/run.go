// Package chaos injects faults while readings flow, and verifies that the results are correct
// nevertheless.
//
//	run.go       a run: start the flow, inject faults in turn, judge the result
//	flow.go      the supervised processes of the flow: producers, and a stateful pipeline over
//	             their readings
//	cluster.go   the brokers: those of weir kafka up, or the embedded one of weir up
//	fault.go     kinds of faults; faults.go has kills, pauses, elections and disks, network.go the
//	             proxies
//	watch.go     a reader that measures when commits become visible
//	joins.go     another pipeline, of joins, and an offline recomputation of its rows
//	oracle.go    the verdict: weir verify's checker, and an offline recomputation of the groups
//	report.go    the results of a run, as JSON and as text
//	accident.go  operator accidents; accidents.go has their kinds, scene.go the pipeline that they
//	             hit, rows.go its input and output
//	process.go   weir processes
//	page.go      the reports of several runs as one page
package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/stack"
)

// Config configures a run.
type Config struct {
	Weir     Weir
	Kafka    *stack.Kafka  // nil: the embedded broker of a weir up process that the run starts
	Dir      string        // logs, state, acknowledgements, data of the embedded broker; must be empty or not exist
	Seed     uint64        // determines the faults and their order
	Duration time.Duration // of the faults, excluding start and shutdown
	Faults   []string      // names of kinds; default: all
	Pipeline string        // PipelineGroups or PipelineJoins; default: groups
	Rate     float64       // readings per second of all producers; default 3000
	Devices  int           // per producer; default 100

	VerifyEvery time.Duration // interval of checks during the run; default 5 minutes
	Logger      *slog.Logger
	OnProgress  func(Progress) // called from time to time by a single goroutine
}

// Progress is the state of a run in progress.
type Progress struct {
	Elapsed, Of time.Duration
	Faults      int
	Now         string // the current fault or phase
	Readings    int64  // seen by the watcher
	Failures    int
}

// producers is the number of producers of the flow; with an embedded broker, one of them is the
// fleet of weir up.
const producers = 2

// logDiskSize is the size of the file system for the embedded broker's log, if one is mounted.
const logDiskSize = "8g"

type run struct {
	Config
	flow      flow
	rng       *rand.Rand
	client    *kgo.Client // bypasses the proxies
	cluster   cluster
	proxies   []*proxy
	producers []*member
	engines   []*member
	others    []*member
	accidents *bag[Accident]
	noDisk    map[string]string // why a directory has no file system of its own
	mounted   []string
	exits     *exits
	watcher   *watcher
	report    *Report

	mu       sync.Mutex // guards the fields below
	progress Progress
}

// Run runs the flow and injects faults. Whatever went wrong in the flow is in the report; the error
// is why the run could not be completed.
func Run(ctx context.Context, c Config) (*Report, error) {
	if c.Rate == 0 {
		c.Rate = 3000
	}
	if c.Devices == 0 {
		c.Devices = 100
	}
	if c.VerifyEvery == 0 {
		c.VerifyEvery = 5 * time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnProgress == nil {
		c.OnProgress = func(Progress) {}
	}
	kinds, err := chooseKinds(c.Faults)
	if err != nil {
		return nil, err
	}
	flow, err := pipelineNamed(c.Pipeline)
	if err != nil {
		return nil, err
	}
	r := &run{
		Config: c, flow: flow, rng: rand.New(rand.NewPCG(c.Seed, 0)), //nolint:gosec // faults need no secrets
		noDisk: make(map[string]string), exits: &exits{}, report: newReport(c),
	}
	r.accidents = &bag[Accident]{all: Accidents(), rng: r.rng}
	r.progress.Of = c.Duration
	defer r.report.relativeTo(r.Dir)
	if err := r.start(ctx); err != nil {
		return r.report, errors.Join(err, r.close(ctx))
	}
	err = r.play(ctx, kinds)
	if err == nil {
		err = r.end(ctx)
	}
	r.report.Exits = r.exits.list()
	return r.report, errors.Join(err, r.close(ctx))
}

func (r *run) clients() string {
	var all []string
	for _, p := range r.proxies {
		all = append(all, p.listen)
	}
	return strings.Join(all, ",")
}

func (r *run) direct() broker.Config { return broker.Config{Brokers: r.cluster.direct()} }

func (r *run) ackLog(i int) string { return r.file(fmt.Sprintf("acks-%d.ndjson", i)) }

func (r *run) member(name string, args []string) *member {
	return &member{weir: r.Weir, dir: r.Dir, name: name, args: args, exit: r.exits.add}
}

// start creates the proxies and starts brokers, producers and pipeline.
func (r *run) start(ctx context.Context) error {
	for _, dir := range []string{r.Dir, r.file("accidents"), r.file("up")} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
	}
	if err := os.WriteFile(r.file("chaos.sql"), []byte(r.flow.sql(false)), 0o600); err != nil {
		return err
	}
	if err := r.makeCluster(); err != nil {
		return err
	}
	r.report.Cluster = r.cluster.name()
	if r.flow.joins() {
		r.report.Pipeline = PipelineJoins
	}
	r.mount(r.stateDisk(), "64m")
	if r.Kafka == nil {
		r.mount(r.logDisk(), logDiskSize)
	}
	if err := r.cluster.start(ctx); err != nil {
		return err
	}
	var err error
	if r.client, err = broker.Connect(ctx, r.direct()); err != nil {
		return err
	}
	if r.Kafka != nil {
		if err := r.checkEmpty(ctx); err != nil {
			return err
		}
	}
	if r.Kafka != nil || r.flow.joins() {
		r.producers = append(r.producers, r.member("p1", r.producerArgs(1)))
	}
	if r.Kafka != nil && !r.flow.joins() {
		r.others = append(r.others, r.member("stats", []string{
			"consume", "--brokers", r.clients(), "--instance", "stats", "--state-dir", r.file("state-stats"),
			"--session-timeout", flowSession.String(), "--transaction-timeout", flowTx.String(),
		}))
	}
	r.producers = append(r.producers, r.member("p0", r.producerArgs(0)))
	r.engines = []*member{r.member("e0", r.engineArgs("e0")), r.member("e1", r.engineArgs("e1"))}
	for _, all := range [][]*member{r.producers, r.engines, r.others} {
		for _, m := range all {
			if err := m.up(); err != nil {
				return err
			}
		}
	}
	r.watcher, err = watch(ctx, r.direct(), r.flow, r.Logger)
	return err
}

func (r *run) makeCluster() error {
	server := proxyServer()
	add := func(listen, upstream string) error {
		p, err := newProxy(server, listen, upstream)
		if err == nil {
			r.proxies = append(r.proxies, p)
		}
		return err
	}
	if r.Kafka != nil {
		r.cluster = &kafkaCluster{r, r.Kafka}
		for _, n := range r.Kafka.Proxied() {
			if err := add(n.Advertised, n.Listens); err != nil {
				return err
			}
		}
		return nil
	}
	ports, err := stack.FreePorts(0, 2)
	if err != nil {
		return err
	}
	listen, advertised := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	r.cluster = &upCluster{run: r, listen: listen, dir: r.logDisk()}
	return add(advertised, listen)
}

// mount gives a directory its own file system, if possible.
func (r *run) mount(dir, size string) {
	err := os.MkdirAll(dir, 0o750)
	if err == nil {
		err = mountTmpfs(dir, size)
	}
	if err != nil {
		r.noDisk[dir] = fmt.Sprintf("no dedicated file system: %v", err)
		return
	}
	r.mounted = append(r.mounted, dir)
}

// checkEmpty refuses a cluster that already has readings: the run could not attribute gaps in them,
// and its accidents must not hit other users' topics.
func (r *run) checkEmpty(ctx context.Context) error {
	ends, err := kadm.NewClient(r.client).ListEndOffsets(ctx, r.flow.sources...)
	if err != nil {
		return fmt.Errorf("inspect the cluster: %w", err)
	}
	used := false
	ends.Each(func(o kadm.ListedOffset) { used = used || o.Offset > 0 })
	if used {
		return fmt.Errorf("topic %s of this cluster already has records: chaos needs a separate cluster (weir kafka up --data-dir .weir-chaos)", r.flow.sources[0])
	}
	return nil
}

// recoverLimit is how long the flow may take to commit on all partitions again.
const recoverLimit = 2 * time.Minute

// play injects faults until the duration has elapsed.
func (r *run) play(ctx context.Context, kinds []Kind) error {
	if err := r.watcher.awaitFirst(ctx, recoverLimit); err != nil {
		return fmt.Errorf("start the flow: %w", err)
	}
	kinds = r.available(kinds)
	if len(kinds) == 0 {
		return errors.New("none of these faults can be injected here")
	}
	checking, stop := context.WithCancel(ctx)
	defer stop()
	var checks sync.WaitGroup
	checks.Go(func() { r.verifyWhileItRuns(checking) })
	next := &bag[Kind]{all: kinds, rng: r.rng}
	began := time.Now()
	for ctx.Err() == nil && time.Since(began) < r.Duration {
		k := next.next()
		r.updateProgress(func(p *Progress) { p.Elapsed, p.Now, p.Readings = time.Since(began), k.Name, r.watcher.count() })
		f := r.inject(ctx, k)
		r.report.Faults = append(r.report.Faults, f)
		r.updateProgress(func(p *Progress) { p.Elapsed, p.Faults, p.Now = time.Since(began), len(r.report.Faults), "" })
		if f.Failure != "" {
			r.fail("fault %d, %s (%s): %s", len(r.report.Faults), f.Kind, f.Detail, f.Failure)
		}
		if retry.Sleep(ctx, between(r.rng, [2]time.Duration{time.Second, 4 * time.Second})) != nil {
			break
		}
	}
	stop()
	checks.Wait()
	r.report.Took = time.Since(began)
	r.report.LongestStall = r.watcher.longestStall()
	return ctx.Err()
}

// available returns the kinds that can be injected here.
func (r *run) available(kinds []Kind) []Kind {
	var can []Kind
	for _, k := range kinds {
		if why := k.need(r); why != "" {
			r.report.NotAvailable[k.Name] = why
			continue
		}
		can = append(can, k)
		if k.twice {
			can = append(can, k)
		}
	}
	return can
}

// inject injects a fault, heals it, and waits until the flow commits again.
func (r *run) inject(ctx context.Context, k Kind) FaultRecord {
	rec := FaultRecord{Kind: k.Name, At: time.Now()}
	before, err := r.watcher.ends(ctx, r.client)
	if err != nil {
		rec.Failure = err.Error()
		return rec
	}
	f, hold := k.make(r), between(r.rng, k.hold)
	began := time.Now()
	detail, err := f.Inject(ctx)
	rec.Detail = detail
	if err == nil {
		err = retry.Sleep(ctx, hold)
	}
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), recoverLimit)
	defer cancel()
	if healed := f.Heal(healing); err == nil {
		err = healed
	}
	rec.Lasted = time.Since(began)
	if err == nil && k.own == nil {
		rec.Recovery, err = r.watcher.awaitBeyond(ctx, before, began, recoverLimit)
	}
	if err != nil && ctx.Err() == nil {
		rec.Failure = err.Error()
	}
	r.Logger.Info("fault", "kind", k.Name, "detail", rec.Detail, "lasted", rec.Lasted, "recovery", rec.Recovery, "failure", rec.Failure)
	return rec
}

func (r *run) updateProgress(change func(*Progress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.progress)
	r.OnProgress(r.progress)
}

func (r *run) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Failures = append(r.report.Failures, fmt.Sprintf(format, args...))
	r.progress.Failures = len(r.report.Failures)
}

// end quiesces the flow and determines the verdict.
func (r *run) end(ctx context.Context) error {
	r.updateProgress(func(p *Progress) { p.Now = "stopping" })
	if err := r.drain(ctx); err != nil {
		r.fail("%v", err)
	}
	r.updateProgress(func(p *Progress) { p.Now = "checking" })
	return r.judge(ctx)
}

func (r *run) close(ctx context.Context) error {
	for _, all := range [][]*member{r.producers, r.engines, r.others} {
		for _, m := range all {
			m.kill()
		}
	}
	if r.watcher != nil {
		r.watcher.close()
	}
	if r.client != nil {
		r.client.Close()
	}
	var errs []error
	if r.cluster != nil {
		errs = append(errs, r.cluster.close(context.WithoutCancel(ctx)))
	}
	for _, p := range r.proxies {
		errs = append(errs, p.close())
	}
	for _, dir := range r.mounted {
		if dir == r.logDisk() && !r.report.Clean() { // for later analysis
			errs = append(errs, os.CopyFS(dir+"-failed", os.DirFS(dir)))
		}
		errs = append(errs, unmount(dir))
	}
	return errors.Join(errs...)
}

func (r *run) acks() []string {
	all, err := filepath.Glob(r.file("acks-*.ndjson"))
	if err != nil {
		return nil // only for a malformed pattern
	}
	return all
}
