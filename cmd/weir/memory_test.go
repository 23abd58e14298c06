package main

import (
	"runtime/metrics"
	"testing"
)

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 200, 10 << 20: 200, 24 << 20: 200, 32 << 20: 150, 48 << 20: 100, 64 << 20: 75, 4 << 30: 75} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d bytes live: %d percent, want %d", live, got, want)
		}
	}
	sample := []metrics.Sample{{Name: liveBytes}}
	if metrics.Read(sample); sample[0].Value.Kind() != metrics.KindUint64 {
		t.Errorf("%s is of kind %d", liveBytes, sample[0].Value.Kind())
	}
}
