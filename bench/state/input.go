package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/bench/command"
	"weir.example/weir/internal/broker"
)

const (
	readingsTopic = "bench_readings"
	devicesTopic  = "bench_devices"
	passes        = 2 // readings of each key
	sites         = 1000

	// scatter is a prime larger than any number of keys, so its multiples reach all of them.
	scatter = 2_654_435_761
	maxKeys = 100_000_000
)

// key returns the i-th key of a pass, a number below keys.
func (t *trial) key(i int) int { return i * scatter % t.keys }

// value returns the value of a key's reading in a pass. No two readings of a key have the same.
func value(key, pass int) int64 {
	h := fnv.New32a()
	_ = binary.Write(h, binary.LittleEndian, int64(key)) // never fails
	return int64(h.Sum32()%10_000)*passes + int64((key+pass)%passes)
}

func site(key int) string { return fmt.Sprintf("site-%03d", key%sites) }

func deviceID(key int) string { return fmt.Sprintf("device-%09d", key) }

// rows returns the number of rows that the pipeline reads.
func (t *trial) rows() int {
	if t.workload == "join" {
		return (passes + 1) * t.keys
	}
	return passes * t.keys
}

// reading returns a reading as JSON.
func reading(key, pass int) []byte {
	return fmt.Appendf(nil, `{"device_id":"%s","value":%d}`, deviceID(key), value(key, pass))
}

// fill writes the rows that the workload reads.
func (t *trial) fill(ctx context.Context) error {
	command.Progress("write %d rows for %s", t.rows(), t.workload)
	if err := t.createTopics(ctx, readingsTopic, devicesTopic); err != nil {
		return err
	}
	client, err := broker.Connect(ctx, t.config(), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return err
	}
	defer client.Close()
	var failed kgo.FirstErrPromise
	for pass := range passes {
		for i := range t.keys {
			key := t.key(i)
			id := []byte(deviceID(key))
			client.Produce(ctx, &kgo.Record{Topic: readingsTopic, Key: id, Value: reading(key, pass)}, failed.Promise())
			if pass == 0 && t.workload == "join" {
				client.Produce(ctx, &kgo.Record{Topic: devicesTopic, Key: id, Value: fmt.Appendf(nil, `{"device_id":"%s","site":"%s"}`, id, site(key))}, failed.Promise())
			}
		}
	}
	return errors.Join(client.Flush(ctx), failed.Err())
}
