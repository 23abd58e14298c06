package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/stack"
)

// weir up is killed with kill -9 again and again while readings flow, and nothing is lost or
// duplicated.
func TestUpSurvivesKills(t *testing.T) {
	kills := longtest.Size(5, 15, 50)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := filepath.Join(t.TempDir(), "data")
	args := []string{"up", "--data-dir", dir, "--listen", "127.0.0.1:0", "--rate", "5000", "--devices", "200", "--repeats", "0.02"}
	for range kills {
		p := start(t, args...)
		lifetime := time.Duration(250+rng.IntN(700)) * time.Millisecond
		time.Sleep(lifetime) // random moment of the fault
		p.kill()
	}
	must(t, append(args, "--for", "2s")...)
	r := verified(t, "--data-dir", dir)
	if r.Records < int64(kills)*100 {
		t.Errorf("only %d readings: the kills hit nothing", r.Records)
	}
}

// Three real brokers, a producer and two consumers: they are killed with kill -9 at random, and
// another consumer is paused past all its timeouts and resumes as a zombie. Nothing is lost or
// duplicated.
func TestKafkaSurvivesKillsAndAZombie(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three JVMs: make test runs it")
	}
	readings := longtest.Size(80_000, 80_000, 200_000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	kafka := stack.New(t, 3)
	at := "--brokers=" + strings.Join(kafka.Brokers(), ",")
	acks, state := filepath.Join(t.TempDir(), "acks.ndjson"), t.TempDir()
	produce := []string{"produce", at, fmt.Sprint("--count=", readings), "--rate=6000", "--devices=300", "--repeats=0.02", "--mark", "--ack-log=" + acks, "--transaction-timeout=10s"}
	consume := func(instance string) []string {
		return []string{"consume", at, "--instance=" + instance, "--session-timeout=6s", "--transaction-timeout=6s",
			"--state-dir=" + filepath.Join(state, instance)}
	}
	must(t, "topics", "apply", at)
	watched := watch(t, at)

	producer := start(t, produce...)
	consumers := []*weir{start(t, consume("a")...), start(t, consume("b")...)}
	zombie := start(t, consume("zombie")...)
	time.Sleep(3 * time.Second) // time to get some partitions
	zombie.signal(syscall.SIGSTOP)
	asleep := time.Now()

	faults := make(map[string]int)
	ended := false
	for deadline := time.Now().Add(4 * time.Minute); !ended; {
		if time.Now().After(deadline) {
			t.Fatalf("the producer does not get through:\n%s", producer.errOut.String())
		}
		select {
		case <-producer.exited:
			if code := producer.cmd.ProcessState.ExitCode(); code != exitOK {
				t.Fatalf("producer: exit %d\n%s", code, producer.errOut.String())
			}
			ended = true
			continue
		case <-time.After(time.Duration(500+rng.IntN(2500)) * time.Millisecond):
		}
		if zombie != nil && time.Since(asleep) > 16*time.Second {
			zombie.signal(syscall.SIGCONT)
			faults["zombie woken"]++
			zombie = nil
		}
		switch fault := rng.IntN(10); {
		case fault < 4 || faults["producer killed"] == 0:
			producer.kill()
			producer = start(t, produce...)
			faults["producer killed"]++
		case fault < 8 || faults["consumer killed"] == 0:
			i := rng.IntN(2)
			consumers[i].kill()
			consumers[i] = start(t, consume(string("ab"[i]))...)
			faults["consumer killed"]++
		default:
			i := rng.IntN(3)
			if err := kafka.Kill(i); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond) // downtime of the broker
			if err := kafka.Start(t.Context(), i); err != nil {
				t.Fatal(err)
			}
			faults["broker killed"]++
		}
	}
	if zombie != nil {
		time.Sleep(time.Until(asleep.Add(16 * time.Second))) // past its timeouts
		zombie.signal(syscall.SIGCONT)
		faults["zombie woken"]++
	}
	t.Logf("faults: %v", faults)
	must(t, append(consume("last"), "--until-end")...)
	var r report
	watched.without(kafka, 0, func() { r = verified(t, at, "--acks="+acks) })
	if r.Records != int64(readings) {
		t.Errorf("%d records, want %d", r.Records, readings)
	}
}
