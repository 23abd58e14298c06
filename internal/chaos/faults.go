package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// killed lists members that are killed with kill -9 and restarted.
type killed []*member

func (k killed) Inject(context.Context) (string, error) {
	var names []string
	for _, m := range k {
		m.kill()
		names = append(names, m.name)
	}
	return strings.Join(names, " "), nil
}

func (k killed) Heal(context.Context) error {
	var errs []error
	for _, m := range k {
		errs = append(errs, m.up())
	}
	return errors.Join(errs...)
}

func (r *run) killProducer() Fault { return killed{r.producers[r.rng.IntN(len(r.producers))]} }
func (r *run) killEngine() Fault   { return killed{r.engines[r.rng.IntN(len(r.engines))]} }
func (r *run) killEngines() Fault  { return killed(r.engines) }

// brokersDown kills brokers, all at the same time or one after another.
type brokersDown struct {
	run     *run
	brokers []int
	rolling bool
}

func (b *brokersDown) Inject(ctx context.Context) (string, error) {
	if b.rolling {
		for _, i := range b.brokers {
			if err := b.run.cluster.kill(i); err != nil {
				return "", err
			}
			if err := b.run.cluster.back(ctx, i); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("%d brokers in turn", len(b.brokers)), nil
	}
	for _, i := range b.brokers {
		if err := b.run.cluster.kill(i); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("brokers %v of %d", b.brokers, b.run.cluster.size()), nil
}

func (b *brokersDown) Heal(ctx context.Context) error {
	if b.rolling {
		return nil
	}
	back := make(chan error, len(b.brokers))
	for _, i := range b.brokers { // in parallel: a single node has no quorum
		go func() { back <- b.run.cluster.back(ctx, i) }()
	}
	var errs []error
	for range b.brokers {
		errs = append(errs, <-back)
	}
	return errors.Join(errs...)
}

func (r *run) allBrokers() []int {
	all := make([]int, r.cluster.size())
	for i := range all {
		all[i] = i
	}
	return all
}

func (r *run) needsSeveral() string {
	if r.cluster.size() > 1 {
		return ""
	}
	return "only one broker"
}

func (r *run) killBroker() Fault {
	return &brokersDown{run: r, brokers: []int{r.rng.IntN(r.cluster.size())}}
}
func (r *run) killAllBrokers() Fault { return &brokersDown{run: r, brokers: r.allBrokers()} }
func (r *run) rollBrokers() Fault {
	return &brokersDown{run: r, brokers: r.allBrokers(), rolling: true}
}

type brokerPaused struct {
	run    *run
	broker int
}

func (b *brokerPaused) Inject(context.Context) (string, error) {
	return fmt.Sprintf("broker %d", b.broker+1), b.run.cluster.pause(b.broker)
}
func (b *brokerPaused) Heal(context.Context) error { return b.run.cluster.proceed(b.broker) }

func (r *run) pauseBroker() Fault { return &brokerPaused{r, r.rng.IntN(r.cluster.size())} }

// zombie is a process that is paused past its timeouts while another one replaces it.
type zombie struct {
	run    *run
	member *member
	asleep *process
}

func (z *zombie) Inject(context.Context) (detail string, err error) {
	z.asleep, err = z.member.replace()
	return z.member.name, err
}

// zombieLimit is how long a resumed process may take to notice that it has been replaced.
const zombieLimit = 30 * time.Second

// Heal resumes the process, which must notice that it has been replaced and exit.
func (z *zombie) Heal(ctx context.Context) error {
	if z.asleep == nil {
		return nil
	}
	defer z.asleep.kill()
	if err := z.asleep.signal(syscall.SIGCONT); err != nil {
		return err
	}
	code, err := z.asleep.wait(ctx, zombieLimit)
	if err != nil {
		return fmt.Errorf("the zombie does not notice that another process has replaced it: %w", err)
	}
	if code == 0 {
		return errors.New("the zombie exited with 0: it must report that another process has replaced it")
	}
	return nil
}

func (r *run) engineZombie() Fault {
	return &zombie{run: r, member: r.engines[r.rng.IntN(len(r.engines))]}
}

func (r *run) producerZombie() Fault {
	return &zombie{run: r, member: r.producers[r.rng.IntN(len(r.producers))]}
}

// leaderMoves moves the leader of each partition of the flow to its next replica, repeatedly until
// it is healed.
type leaderMoves struct {
	run  *run
	stop context.CancelFunc
	done chan error
}

func (l *leaderMoves) Inject(ctx context.Context) (string, error) {
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.done = make(chan error, 1)
	if err := l.move(ctx); err != nil {
		l.stop()
		l.done <- nil
		return "", err
	}
	go func() {
		for retry.Sleep(ctx, 2*time.Second) == nil {
			if err := l.move(ctx); err != nil && ctx.Err() == nil {
				l.done <- err
				return
			}
		}
		l.done <- nil
	}()
	return "every 2 s", nil
}

func (l *leaderMoves) Heal(context.Context) error {
	if l.stop == nil {
		return nil
	}
	l.stop()
	return <-l.done
}

func (l *leaderMoves) move(ctx context.Context) error {
	admin := kadm.NewClient(l.run.client)
	topics, err := admin.ListTopics(ctx, l.run.flow.topics()...)
	if err != nil {
		return fmt.Errorf("list leaders: %w", err)
	}
	var next kadm.AlterPartitionAssignmentsReq
	var all kadm.TopicsSet
	topics.EachPartition(func(p kadm.PartitionDetail) {
		if len(p.Replicas) < 2 {
			return
		}
		next.Assign(p.Topic, p.Partition, append(append([]int32(nil), p.Replicas[1:]...), p.Replicas[0]))
		all.Add(p.Topic, p.Partition)
	})
	if _, err := admin.AlterPartitionAssignments(ctx, next); err != nil {
		return fmt.Errorf("rotate replicas: %w", err)
	}
	if err := retry.Sleep(ctx, 300*time.Millisecond); err != nil { // time for the controller to propagate them
		return nil
	}
	if _, err := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, all); err != nil {
		return fmt.Errorf("elect leaders: %w", err)
	}
	return nil
}

func (r *run) moveLeaders() Fault { return &leaderMoves{run: r} }

// fullDisk fills a file system and frees it again.
type fullDisk struct {
	dir     string
	restart *member // killed while the disk is full, so that it restarts on a full disk
}

const balloonFile = "balloon"

func (f *fullDisk) Inject(context.Context) (string, error) {
	file, err := os.Create(filepath.Join(f.dir, balloonFile))
	if err != nil {
		return "", err
	}
	defer file.Close()
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err := file.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2] // fill the last pages, too
		} else if err != nil {
			return "", err
		}
	}
	detail := filepath.Base(f.dir)
	if f.restart != nil {
		f.restart.kill()
		detail += ", " + f.restart.name + " killed and restarted on it"
		return detail, f.restart.up()
	}
	return detail, nil
}

func (f *fullDisk) Heal(context.Context) error { return os.Remove(filepath.Join(f.dir, balloonFile)) }

func (r *run) needsStateDisk() string { return r.noDisk[r.stateDisk()] }
func (r *run) needsLogDisk() string {
	if _, ok := r.cluster.(*upCluster); !ok {
		return "the cluster has no dedicated file system"
	}
	return r.noDisk[r.logDisk()]
}

func (r *run) stateDisk() string { return r.file("state-e1") }
func (r *run) logDisk() string   { return r.file("up") }

func (r *run) fillState() Fault {
	f := &fullDisk{dir: r.stateDisk()}
	if r.rng.IntN(2) == 0 {
		f.restart = r.engines[1]
	}
	return f
}

// fillLog shrinks the file system of the broker's log to its used size.
func (r *run) fillLog() Fault { return &shrunk{r.logDisk()} }

type shrunk struct{ dir string }

func (f *shrunk) Inject(context.Context) (string, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(f.dir, &stat); err != nil {
		return "", err
	}
	used := (stat.Blocks - stat.Bfree + 16) * uint64(stat.Bsize) //nolint:gosec // positive
	return fmt.Sprintf("at %d MiB", used>>20), f.resize(fmt.Sprint(used))
}

func (f *shrunk) Heal(context.Context) error { return f.resize(logDiskSize) }

func (f *shrunk) resize(size string) error {
	return syscall.Mount("weir-chaos", f.dir, "tmpfs", syscall.MS_REMOUNT, "size="+size)
}

// slowed delays a process's disk writes with strace.
type slowed struct {
	what string
	pid  int
	cmd  *exec.Cmd
}

func (r *run) needsStrace() string {
	if _, err := exec.LookPath("strace"); err != nil {
		return "strace is not installed"
	}
	return ""
}

func (r *run) slowDisk() Fault {
	if r.rng.IntN(2) == 0 {
		i := r.rng.IntN(r.cluster.size())
		return &slowed{what: fmt.Sprintf("broker %d", i+1), pid: r.cluster.pid(i)}
	}
	m := r.engines[r.rng.IntN(len(r.engines))]
	return &slowed{what: m.name, pid: m.pid()}
}

func (s *slowed) Inject(context.Context) (string, error) {
	const slow = "fsync,fdatasync,pwrite64,pwritev,ftruncate,fallocate"
	//nolint:gosec,noctx // Heal ends it
	s.cmd = exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+slow, "-e", "inject="+slow+":delay_exit=100000", "-p", strconv.Itoa(s.pid))
	if err := s.cmd.Start(); err != nil {
		return "", fmt.Errorf("start strace: %w", err)
	}
	return s.what + ": 100 ms added to each fsync, pwrite and ftruncate", nil
}

func (s *slowed) Heal(context.Context) error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) { // makes strace detach
		return err
	}
	_ = s.cmd.Wait() // exits because of the signal
	return nil
}

// accidentFault runs a whole accident.
type accidentFault struct {
	run  *run
	kind Accident
	seed uint64
}

func (r *run) accident() Fault {
	return &accidentFault{r, r.accidents.next(), r.rng.Uint64() >> 16}
}

func (a *accidentFault) Inject(ctx context.Context) (string, error) {
	stage := Stage{Weir: a.run.Weir, Broker: broker.Config{Brokers: a.run.cluster.direct()[:1]}, Dir: a.run.file("accidents"), Logger: a.run.Logger}
	result := stage.Run(ctx, a.kind, a.seed)
	a.run.report.Accidents = append(a.run.report.Accidents, result)
	if result.Outcome == Wrong {
		return result.Kind, fmt.Errorf("accident %s, seed %d (%s): %v", result.Kind, result.Seed, result.Variant, result.Wrong[:min(3, len(result.Wrong))])
	}
	return result.Kind + ": " + result.Outcome, nil
}

func (a *accidentFault) Heal(context.Context) error { return nil }
