package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Fault is a temporary failure.
type Fault interface {
	// Inject causes the failure and returns its details, such as which process is affected.
	Inject(ctx context.Context) (detail string, err error)
	// Heal undoes the failure. It is called once, even if Inject failed, and with a separate
	// context.
	Heal(ctx context.Context) error
}

// Kind is a named kind of fault.
type Kind struct {
	Name  string
	About string

	hold  [2]time.Duration  // minimum and maximum duration
	need  func(*run) string // returns why it can't be injected here; "" if it can
	make  func(*run) Fault  // creates a fault with random parameters
	own   func(*run) bool   // reports whether Inject is the whole fault, without a recovery to measure
	twice bool              // chosen twice as often as others, because it covers many kinds
}

// Kinds returns the faults that a run may inject.
func Kinds() []Kind {
	always := func(*run) string { return "" }
	short, long := [2]time.Duration{0, 3 * time.Second}, [2]time.Duration{3 * time.Second, 8 * time.Second}
	return []Kind{
		{Name: "producer-kill", About: "a producer is killed with kill -9", hold: short, need: always, make: (*run).killProducer},
		{Name: "engine-kill", About: "a process of the pipeline is killed with kill -9", hold: short, need: always, make: (*run).killEngine},
		{Name: "engines-kill", About: "all processes of the pipeline are killed at the same time", hold: short, need: always, make: (*run).killEngines},
		{Name: "broker-kill", About: "one broker is killed with kill -9", hold: [2]time.Duration{0, 5 * time.Second}, need: always, make: (*run).killBroker},
		{Name: "broker-kill-all", About: "all brokers are killed one after another, then restarted", hold: short, need: (*run).needsSeveral, make: (*run).killAllBrokers},
		{Name: "broker-rolling", About: "each broker in turn is killed and restarted", hold: short, need: (*run).needsSeveral, make: (*run).rollBrokers},
		{Name: "broker-pause", About: "a broker is paused with SIGSTOP for a few seconds", hold: long, need: always, make: (*run).pauseBroker},
		{Name: "engine-zombie", About: "a process of the pipeline is paused past its timeouts while another replaces it, then resumed", hold: [2]time.Duration{9 * time.Second, 11 * time.Second}, need: always, make: (*run).engineZombie},
		{Name: "producer-zombie", About: "a producer is paused past its timeouts while another replaces it, then resumed", hold: [2]time.Duration{11 * time.Second, 12 * time.Second}, need: always, make: (*run).producerZombie},
		{Name: "net-cut", About: "all connections are cut and refused", hold: long, need: always, make: (*run).cutNetwork},
		{Name: "net-reset", About: "connections are reset (toxiproxy: reset_peer)", hold: long, need: always, make: (*run).resetNetwork},
		{Name: "net-latency", About: "100 ms of extra latency each way (toxiproxy: latency)", hold: long, need: always, make: (*run).slowNetwork},
		{Name: "net-half-open", About: "connections stay open but transfer nothing (toxiproxy: timeout)", hold: long, need: always, make: (*run).halfOpenNetwork},
		{Name: "endtxn-held", About: "an EndTxn request is held until its client has given up, then released", hold: short, need: always, make: (*run).holdEndTxn},
		{Name: "leader-election", About: "leaders of all partitions move every two seconds", hold: [2]time.Duration{5 * time.Second, 7 * time.Second}, need: (*run).needsSeveral, make: (*run).moveLeaders},
		{Name: "state-disk-full", About: "the file system of the state directory is full", hold: long, need: (*run).needsStateDisk, make: (*run).fillState},
		{Name: "log-disk-full", About: "the file system of the broker's log is full", hold: long, need: (*run).needsLogDisk, make: (*run).fillLog},
		{Name: "disk-slow", About: "writes to the disk are delayed (strace)", hold: long, need: (*run).needsStrace, make: (*run).slowDisk},
		{Name: "accident", About: "an operator accident hits another stateful pipeline on the same brokers", need: always, make: (*run).accident, twice: true, own: func(*run) bool { return true }},
	}
}

// KindNames returns the names of all kinds.
func KindNames() []string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// CheckKinds returns an error for the first unknown name.
func CheckKinds(names []string) error {
	_, err := chooseKinds(names)
	return err
}

// chooseKinds returns the named kinds; all if there are no names.
func chooseKinds(names []string) ([]Kind, error) {
	if len(names) == 0 {
		return Kinds(), nil
	}
	var chosen []Kind
	for _, name := range names {
		i := slices.IndexFunc(Kinds(), func(k Kind) bool { return k.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown fault %q: choose from %s", name, strings.Join(KindNames(), ", "))
		}
		chosen = append(chosen, Kinds()[i])
	}
	return chosen, nil
}

// bag draws elements in random order, each equally often.
type bag[T any] struct {
	all, left []T
	rng       *rand.Rand
}

func (b *bag[T]) next() T {
	if len(b.left) == 0 {
		b.left = slices.Clone(b.all)
		b.rng.Shuffle(len(b.left), func(i, j int) { b.left[i], b.left[j] = b.left[j], b.left[i] })
	}
	one := b.left[0]
	b.left = b.left[1:]
	return one
}

// between returns a random duration within a range.
func between(rng *rand.Rand, span [2]time.Duration) time.Duration {
	if span[1] <= span[0] {
		return span[0]
	}
	return span[0] + time.Duration(rng.Int64N(int64(span[1]-span[0])))
}
