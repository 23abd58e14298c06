package fleet

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

func drawFleet(t *rapid.T) Config {
	share := rapid.SampledFrom([]float64{0, 0.01, 0.3, 1})
	return Config{
		Seed:    rapid.Uint64().Draw(t, "seed"),
		Devices: rapid.IntRange(1, 7).Draw(t, "devices"),
		Rate:    rapid.SampledFrom([]float64{0, 10, 12345}).Draw(t, "rate"),
		Count:   rapid.Int64Range(1, 30_000).Draw(t, "count"),
		Start:   time.UnixMilli(1767225600000),
		Outages: share.Draw(t, "outages"), Spikes: share.Draw(t, "spikes"),
		OutOfOrder: share.Draw(t, "out-of-order"), Repeats: share.Draw(t, "repeats"),
		Noise: 1, Drift: 1,
	}
}

func newFleet(t interface{ Fatal(...any) }, cfg Config) *Fleet {
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// readAllItems reads items in chunks of the sizes that size returns. Between chunks, between may
// replace the fleet by one at the same position.
func readAllItems(t interface{ Fatal(...any) }, f *Fleet, size func() int, between func(*Fleet) *Fleet) []source.Item {
	var all []source.Item
	for {
		chunk := make([]source.Item, size())
		n, err := f.Next(chunk)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, chunk[:n]...)
		f = between(f)
	}
}

func same(f *Fleet) *Fleet { return f }

// A fleet that is interrupted anywhere and resumed from its position returns the same items as one
// that is not interrupted, and all of its readings are valid.
func TestFleetResumesAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawFleet(t)
		whole := readAllItems(t, newFleet(t, cfg), func() int { return 1000 }, same)
		sizes := rapid.IntRange(1, 3000)
		pieces := readAllItems(t, newFleet(t, cfg), func() int { return sizes.Draw(t, "size") }, func(f *Fleet) *Fleet {
			next := newFleet(t, cfg)
			if err := next.Seek(f.Position()); err != nil {
				t.Fatal(err)
			}
			return next
		})
		if diff := cmp.Diff(whole, pieces); diff != "" {
			t.Fatalf("(-whole +resumed)\n%s", diff)
		}
		if int64(len(whole)) != cfg.Count {
			t.Fatalf("%d items, want %d", len(whole), cfg.Count)
		}
		checkItems(t, whole)
	})
}

func checkItems(t *rapid.T, items []source.Item) {
	type life struct{ device, boot string }
	next := make(map[life]int64)
	sent := make(map[life]map[int64]reading.Reading)
	for i, it := range items {
		if err := it.Validate(); err != nil {
			t.Fatalf("item %d: %v", i, err)
		}
		l := life{it.DeviceID, it.Boot}
		if it.Repeat > 0 {
			if diff := cmp.Diff(sent[l][it.Seq], it.Reading); diff != "" {
				t.Fatalf("item %d repeats another reading: (-first +repeat)\n%s", i, diff)
			}
			continue
		}
		if it.Seq != next[l] {
			t.Fatalf("item %d: %+v: seq %d, want %d", i, l, it.Seq, next[l])
		}
		next[l]++
		if sent[l] == nil {
			sent[l] = make(map[int64]reading.Reading)
		}
		sent[l][it.Seq] = it.Reading
	}
}

// After a downtime, a live fleet continues with the next reading at the current time, and does not
// repeat readings from before the downtime.
func TestLiveFleetResumesNow(t *testing.T) {
	for sent := 195; sent < 201; sent++ { // some of these stop between a reading and a repeat
		testLiveFleetResumes(t, sent)
	}
}

func testLiveFleetResumes(t *testing.T, sent int) {
	now := time.UnixMilli(1767225600000)
	cfg := Config{Seed: 1, Devices: 3, Rate: 100, Repeats: 1, Noise: 1, Now: func() time.Time { return now }}
	f := newFleet(t, cfg)
	before := make([]source.Item, sent)
	if _, err := f.Next(before); err != nil {
		t.Fatal(err)
	}
	position := f.Position()
	now = now.Add(time.Hour)
	f = newFleet(t, cfg)
	if err := f.Seek(position); err != nil {
		t.Fatal(err)
	}
	after := make([]source.Item, 100)
	if _, err := f.Next(after); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int64)
	for _, it := range before {
		if it.Repeat == 0 {
			seen[it.DeviceID] = it.Seq
		}
	}
	for _, it := range after {
		if late := now.Sub(time.UnixMilli(it.TS)); late > time.Second || late < -5*time.Second {
			t.Fatalf("%+v is %s from now", it, late)
		}
		if it.Repeat > 0 {
			if it.Seq <= seenBefore(before, it.DeviceID) {
				t.Fatalf("%+v repeats a reading from before the downtime", it)
			}
			continue
		}
		if it.Seq != seen[it.DeviceID]+1 {
			t.Fatalf("%+v follows seq %d", it, seen[it.DeviceID])
		}
		seen[it.DeviceID] = it.Seq
	}
}

func seenBefore(items []source.Item, device string) (last int64) {
	for _, it := range items {
		if it.DeviceID == device {
			last = max(last, it.Seq)
		}
	}
	return last
}

func TestFleetSeekRejectsOtherSettings(t *testing.T) {
	position := newFleet(t, Config{Seed: 1, Devices: 3}).Position()
	err := newFleet(t, Config{Seed: 1, Devices: 4}).Seek(position)
	if !errors.Is(err, source.ErrPosition) || !strings.Contains(err.Error(), `devices was "3" and is now "4"`) {
		t.Errorf("error %v", err)
	}
	if err := newFleet(t, Config{Seed: 1, Devices: 3, Rate: 7, Spikes: 0.5}).Seek(position); err != nil {
		t.Errorf("another rate is rejected: %v", err)
	}
	if err := newFleet(t, Config{}).Seek([]byte("{")); !errors.Is(err, source.ErrPosition) {
		t.Errorf("error %v", err)
	}
}

// Signals have a daily cycle of the configured amplitude and the configured share of spikes.
func TestFleetSignals(t *testing.T) {
	const ticks = 2 * 24 * 60
	cfg := Config{Seed: 7, Devices: 1, Interval: time.Minute, Start: time.UnixMilli(1767225600000), Count: ticks * sensors, Noise: 1}
	low, high := math.Inf(1), math.Inf(-1)
	for _, it := range readAllItems(t, newFleet(t, cfg), func() int { return 512 }, same) {
		if it.Sensor == "temperature" {
			low, high = min(low, it.Value), max(high, it.Value)
		}
	}
	if swing := high - low; swing < 10 || swing > 18 {
		t.Errorf("temperature swings by %.1f per day, want about 12", swing)
	}
	calm := readAllItems(t, newFleet(t, cfg), func() int { return 512 }, same)
	cfg.Spikes = 0.1
	spikes := 0
	for i, it := range readAllItems(t, newFleet(t, cfg), func() int { return 512 }, same) {
		if it.Value != calm[i].Value {
			spikes++
		}
	}
	if share := float64(spikes) / float64(len(calm)); math.Abs(share-0.1) > 0.02 {
		t.Errorf("%.3f of the readings are spikes, want 0.1", share)
	}
}

func TestFleetValidate(t *testing.T) {
	for _, cfg := range []Config{{Devices: -1}, {Rate: -1}, {Repeats: 1.5}, {Outages: math.NaN()}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

func BenchmarkFleet(b *testing.B) {
	f := newFleet(b, Config{Seed: 1, Devices: 1000, Start: time.UnixMilli(0), Noise: 1, Drift: 1, Spikes: 0.001})
	items := make([]source.Item, 1024)
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(items) {
		if _, err := f.Next(items); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzPosition resumes at a saved position: it is refused, or names a slot, and readings follow.
func FuzzPosition(f *testing.F) {
	cfg := Config{Seed: 7, Devices: 3, Start: time.UnixMilli(1767225600000), Outages: 0.1, Repeats: 0.3, Spikes: 0.1, OutOfOrder: 0.1}
	fleet := newFleet(f, cfg)
	for range 5 {
		f.Add(fleet.Position())
		if _, err := fleet.Next(make([]source.Item, 7)); err != nil {
			f.Fatal(err)
		}
	}
	for _, other := range []string{``, `null`, `{}`, `7`, `{"row":3,"settings":{}}`, strings.Replace(string(fleet.Position()), `"slot":`, `"slot":-`, 1),
		strings.Replace(string(fleet.Position()), `"slot":`, `"slot":922337203685477`, 1)} {
		f.Add([]byte(other))
	}
	f.Fuzz(func(t *testing.T, saved []byte) {
		fleet := newFleet(t, cfg)
		if err := fleet.Seek(saved); err != nil {
			if !errors.Is(err, source.ErrPosition) || !strings.Contains(err.Error(), "another seed") {
				t.Fatalf("%q: %v", saved, err)
			}
			return
		}
		var want fleetPosition
		var members map[string]any
		if json.Unmarshal(saved, &members) != nil || members["slot"] == nil || json.Unmarshal(saved, &want) != nil {
			t.Fatalf("%q is taken for the beginning", saved)
		}
		var got fleetPosition
		if err := json.Unmarshal(fleet.Position(), &got); err != nil {
			t.Fatal(err)
		}
		got.Settings = want.Settings // they may have others, of a later version
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-saved +resumed)\n%s", saved, diff)
		}
		items := make([]source.Item, 7)
		n, err := fleet.Next(items)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items[:n] {
			if err := it.Validate(); err != nil && want.Base == cfg.Start.UnixMilli() && want.Slot < 1e9 {
				t.Fatalf("%q gives the reading %+v: %v", saved, it.Reading, err)
			}
		}
	})
}
