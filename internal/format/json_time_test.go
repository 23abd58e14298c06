package format

import (
	"math/rand/v2"
	"regexp"
	"testing"

	"weir.example/weir/internal/moment"
)

var (
	dateShape      = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	timeShape      = regexp.MustCompile(`^\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?Z?$`)
	timestampShape = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?$`)
)

// checkShapes compares the parsers of dates and times with what defines the texts they accept.
func checkShapes(t *testing.T, s string) {
	t.Helper()
	for _, c := range []struct {
		name string
		got  bool
		want *regexp.Regexp
	}{{"date", dateShaped(s), dateShape}, {"time", timeShaped(s), timeShape}, {"timestamp", timestampShaped(s), timestampShape}} {
		if want := c.want.MatchString(s); c.got != want {
			t.Errorf("%q as a %s: %t, want %t", s, c.name, c.got, want)
		}
	}
	for _, between := range []byte(" T") {
		us, zoned, ok := fastTimestamp(s, between)
		if !ok {
			continue
		}
		want, wantZoned, err := moment.ParseTimestamp(s)
		if err != nil || us != want || zoned != wantZoned || !timestampShape.MatchString(s) || s[10] != between {
			t.Errorf("%q: %d µs, zoned %t; want %d, %t, %v", s, us, zoned, want, wantZoned, err)
		}
	}
}

// Texts near the accepted forms are accepted and rejected as the regular expressions do.
func TestJSONTimes(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // test data
	seeds := []string{
		"2026-01-31", "12:00", "12:00:00", "23:59:59.123456789Z", "2024-02-29 12:00:00.123", "2023-02-29 00:00:00", "2100-02-29T00:00:00",
		"2026-12-31T23:59:59.999999Z", "2026-04-31 00:00:00Z", "0000-01-01 00:00:00", "0000-03-01 00:00:00", "9999-12-31 23:59:59.999999",
		"2026-01-31T12:00:00.123456789+02:00", "2026-01-31T12:00-11:30", "2000-02-29 24:00:00", "2026-07-30 12:00Z",
	}
	const letters = "0123456789-: .TZ+x\n٣"
	for _, s := range seeds {
		checkShapes(t, s)
	}
	for range 200_000 {
		b := []byte(seeds[random.IntN(len(seeds))])
		for range 1 + random.IntN(3) {
			at, c := random.IntN(len(b)+1), letters[random.IntN(len(letters))]
			switch {
			case random.IntN(3) == 0 || len(b) == 0:
				b = append(b[:at:at], append([]byte{c}, b[at:]...)...)
			case at == len(b):
				b = b[:at-1]
			case random.IntN(2) == 0:
				b = append(b[:at:at], b[at+1:]...)
			default:
				b[at] = c
			}
		}
		if checkShapes(t, string(b)); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzJSONTimes(f *testing.F) {
	for _, s := range []string{"2026-01-31", "12:00:00.5Z", "2026-01-31T12:00:00.123456789+02:00"} {
		f.Add(s)
	}
	f.Fuzz(checkShapes)
}
