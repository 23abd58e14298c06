package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/longtest"
)

const littleMemory = 512 << 20

// memoryGroup returns the directory of a control group that limits memory, "" if none can be made
// here: that needs root.
func memoryGroup(t *testing.T) string {
	t.Helper()
	const root = "/sys/fs/cgroup"
	name := fmt.Sprintf("weir-test-%d", os.Getpid())
	for _, version := range []struct{ beside, dir, file string }{
		{"cgroup.controllers", filepath.Join(root, name), "memory.max"},
		{"memory/memory.limit_in_bytes", filepath.Join(root, "memory", name), "memory.limit_in_bytes"},
	} {
		if _, err := os.Stat(filepath.Join(root, version.beside)); err != nil || os.Mkdir(version.dir, 0o700) != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(version.dir) })
		if os.WriteFile(filepath.Join(version.dir, version.file), []byte(strconv.Itoa(littleMemory)), 0o600) == nil {
			return version.dir
		}
	}
	return ""
}

// startInGroup starts weir in a control group, and without one with the memory limit of Go that it
// would set itself.
func startInGroup(t *testing.T, group, binary string, args ...string) *weir {
	t.Helper()
	if group == "" {
		return startWith(t, []string{fmt.Sprintf("GOMEMLIMIT=%d", littleMemory/10*8)}, binary, args...)
	}
	return startWith(t, []string{"GOMEMLIMIT="}, "/bin/sh", append([]string{"-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(group, "cgroup.procs"), binary}, args...)...)
}

// peak returns the largest resident memory of a process so far, in bytes.
func (p *weir) peak() int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatalf("weir has ended: %v\n%s", err, p.errOut.String())
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		p.t.Fatalf("weir has ended\n%s", p.errOut.String())
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return n << 10
}

// With 512 MiB of memory and 1,000 readings a second, records and requests that expand to a
// multiple of it end nothing: not one reading is lost. Before, records that were each within the
// limit of a batch took all memory together.
func TestBombsInLittleMemory(t *testing.T) {
	group := memoryGroup(t)
	data := filepath.Join(t.TempDir(), "data")
	up := startInGroup(t, group, buildWeir(t), "up", "--data-dir="+data, "--listen=127.0.0.1:0", "--rate=1000", "--profile=edge", "--console-listen=127.0.0.1:0", "--admin-listen=none")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(up.errOut.String())
		}
	})
	var addr string
	waitFor(t, "readings", func() bool {
		member, err := embedded.Join(data)
		if err != nil || member == nil {
			return false
		}
		addr = member.Addr
		return member.Leave() == nil && strings.Contains(up.errOut.String(), "live console")
	})
	page := regexp.MustCompile(`http://\S+`).FindString(up.errOut.String())
	records := func(n, size int, fill func(i, size int) []byte, compression kgo.CompressionCodec) (refused int) {
		t.Helper()
		client, err := broker.Connect(t.Context(), broker.Config{Brokers: []string{addr}}, kgo.ProducerBatchMaxBytes(96<<20),
			kgo.ProducerBatchCompression(compression), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(time.Minute))
		if err != nil {
			t.Fatalf("%v\n%s", err, up.errOut.String())
		}
		defer client.Close()
		for i := range n {
			err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "sensor_data_tx", Partition: int32(i % 4), Value: fill(i, size)}).FirstErr()
			switch {
			case errors.Is(err, kerr.InvalidRecord):
				refused++
			case err != nil:
				t.Fatalf("record %d: %v\n%s", i, err, up.errOut.String())
			}
		}
		return refused
	}
	blank := func(_, size int) []byte { return bytes.Repeat([]byte(" "), size) }
	reading := func(i, size int) []byte {
		return fmt.Appendf(nil, `{"device_id":"d%d","sensor":%q,"value":1,"ts":"2026-01-01T00:00:00.000Z","seq":0}`, i, strings.Repeat("x", size))
	}
	post := func(path, body string) {
		resp, err := http.Post(page+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		_ = resp.Body.Close()
	}
	const table = `CREATE TABLE readings (device_id STRING, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) WITH ('connector'='kafka', 'topic'='sensor_data_tx', 'value.format'='json', 'scan.startup.mode'='earliest-offset'); `
	bombs := []struct {
		name string
		send func()
	}{
		{"batches of 90 MiB", func() {
			for _, codec := range []kgo.CompressionCodec{kgo.ZstdCompression(), kgo.GzipCompression(), kgo.Lz4Compression()} {
				if n := records(1, 90<<20, blank, codec); n != 1 {
					t.Error("a batch of 90 MiB was accepted")
				}
			}
		}},
		{"blanks", func() {
			if n := records(longtest.Size(4, 4, 40), 30<<20, blank, kgo.ZstdCompression()); n != 0 {
				t.Errorf("%d batches of 30 MiB were refused", n)
			}
		}},
		{"long readings", func() { records(longtest.Size(2, 2, 40), 30<<20, reading, kgo.ZstdCompression()) }},
		{"claimed sizes", func() {
			for range 20 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				_, _ = c.Write([]byte{0x06, 0x3f, 0xff, 0xff, 0, 1})
			}
		}},
		{"SQL", func() {
			post("/api/sql/check", fmt.Sprintf(`{"sql":%q}`, table+`SELECT CHAR_LENGTH(REPLACE(REPEAT('a',100000),'a',REPEAT('b',100000))) FROM readings`))
		}},
	}
	for _, bomb := range bombs {
		bomb.send()
		t.Logf("%s: peak %d MiB", bomb.name, up.peak()>>20)
	}
	lag := regexp.MustCompile(`consumed ([\d,]+)`)
	consumed := func() string {
		if all := lag.FindAllStringSubmatch(up.errOut.String(), -1); all != nil {
			return all[len(all)-1][1]
		}
		return ""
	}
	before := consumed()
	waitFor(t, "readings after the bombs", func() bool { up.peak(); return consumed() != before })
	peak := up.peak()
	up.signal(syscall.SIGTERM)
	if code := up.wait(time.Minute); code != exitOK {
		t.Fatalf("exit %d\n%s", code, up.errOut.String())
	}
	t.Logf("peak %d MiB", peak>>20)
	if peak >= littleMemory {
		t.Errorf("peak of %d MiB", peak>>20)
	}
	if r := verified(t, "--data-dir="+data); r.Records < 1000 {
		t.Errorf("%d records", r.Records)
	}
}
