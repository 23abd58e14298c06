package expr

import (
	_ "embed" // for zoneNames
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
	"weir.example/weir/internal/suggest"
)

// zoneNames are the names of the Time Zone Database, one per line and sorted. They are used for
// suggestions.
//
//go:embed zones.txt
var zoneNames string

// offsetForm is the syntax of java.time.ZoneOffset, optionally after UTC, GMT or UT.
var offsetForm = regexp.MustCompile(`^(UTC|GMT|UT)?([+-])(\d{1,2})(?::?([0-5]\d)(?::?([0-5]\d))?)?$`)

// zones caches parsed zones, so that a zone in a column is cheap.
var zones sync.Map // of string to *time.Location

// ParseZone parses a time zone like java.time.ZoneId: a name such as Europe/Berlin, UTC, or an
// offset such as GMT+08:00, UTC+8 or -03:30. The machine's own zone is not available by name, since
// rows must not depend on where they are computed. The error suggests the most similar zone.
func ParseZone(name string) (*time.Location, error) {
	if z, ok := zones.Load(name); ok {
		return z.(*time.Location), nil
	}
	z, err := parseZone(name)
	if err != nil {
		return nil, err
	}
	zones.Store(strings.Clone(name), z)
	return z, nil
}

// maxOffset is Java's limit, in seconds.
const maxOffset = 18 * 3600

func parseZone(name string) (*time.Location, error) {
	switch name {
	case "UTC", "GMT", "UT", "Z":
		return time.UTC, nil
	case "":
		return nil, errors.New("a time zone is missing: write one such as UTC or Europe/Berlin")
	}
	if m := offsetForm.FindStringSubmatch(name); m != nil {
		two := func(s string) (v int) {
			for _, digit := range s {
				v = v*10 + int(digit-'0')
			}
			return v
		}
		seconds := two(m[3])*3600 + two(m[4])*60 + two(m[5])
		if seconds > maxOffset {
			return nil, fmt.Errorf("the time zone %q is more than 18 hours away from UTC", name)
		}
		if m[2] == "-" {
			seconds = -seconds
		}
		return time.FixedZone(name, seconds), nil
	}
	known := strings.Split(strings.TrimSpace(zoneNames), "\n")
	_, listed := slices.BinarySearch(known, name)
	newer := strings.Contains(name, "/") && !strings.HasPrefix(name, "posix/") && !strings.HasPrefix(name, "right/") // than the list
	if listed || newer {
		if z, err := time.LoadLocation(name); err == nil {
			return z, nil
		}
	}
	hint := "write one such as UTC, Europe/Berlin or GMT+08:00"
	if long, ok := shortZones[name]; ok {
		hint = "write " + long
	} else if city := slices.IndexFunc(known, func(k string) bool {
		return strings.EqualFold(k, name) || strings.Contains(k, "/") && !strings.HasPrefix(k, "Etc/") && strings.EqualFold(k[strings.LastIndexByte(k, '/')+1:], strings.ReplaceAll(name, " ", "_"))
	}); city >= 0 {
		hint = "did you mean " + known[city] + "?"
	} else if near := suggest.DidYouMean(name, known); near != "" {
		hint = near
	}
	return nil, fmt.Errorf("unknown time zone %q: %s", name, hint)
}

// shortZones maps ambiguous abbreviations to the advice in the error.
var shortZones = map[string]string{
	"PST": "America/Los_Angeles", "EST": "America/New_York, or -05:00 the year round", "CST": "America/Chicago", "MST": "America/Denver, or -07:00 the year round",
	"IST": "Asia/Kolkata", "JST": "Asia/Tokyo", "HST": "Pacific/Honolulu", "BST": "Europe/London", "CEST": "Europe/Paris", "Local": "the zone's name: the machine's own would make rows depend on where they are computed",
}

// SetsClocks reports whether a zone has had more than one UTC offset since 1970, so that some local
// times occur twice and others not at all.
func SetsClocks(zone Zone) bool {
	if zone == nil || zone == time.UTC {
		return false
	}
	first := offsetAt(0, zone)
	for month := int64(0); month < 70*12; month++ {
		if offsetAt(month*30*moment.Day, zone) != first {
			return true
		}
	}
	return false
}

// LocalTime describes how a call treats local times that occur twice or not at all in its zone; ""
// if they don't affect the call.
func (c *Call) LocalTime() string {
	switch c.F.Name {
	case "CAST", "TRY_CAST":
		from := c.Args[0].Type()
		switch {
		case !SetsClocks(c.Zone):
		case c.T.Kind == column.TimestampLTZ && from.Kind != column.TimestampLTZ && from.Kind != column.Null:
			return fmt.Sprintf("a local time that occurs twice in %s is the first of the two, and one that is skipped is moved forward", c.Zone)
		case c.T.Kind == column.Timestamp && from.Kind == column.TimestampLTZ:
			return fmt.Sprintf("two instants in the hour that occurs twice in %s become one TIMESTAMP", c.Zone)
		}
	case "UNIX_TIMESTAMP":
		if len(c.Args) > 0 && SetsClocks(c.Zone) {
			return fmt.Sprintf("a local time that occurs twice in %s is the second of the two, unlike in a CAST", c.Zone)
		}
	case "CONVERT_TZ":
		return inZone(c.Args[1])
	case "TO_TIMESTAMP_LTZ":
		if len(c.Args) > 2 {
			return inZone(c.Args[2])
		}
	}
	return ""
}

// inZone is LocalTime for a zone passed as an argument.
func inZone(n Node) string {
	name := "a zone"
	if k, ok := Fold(n).(*Const); ok && k.Value != nil {
		zone, err := ParseZone(k.Value.(string))
		if err != nil || !SetsClocks(zone) {
			return ""
		}
		name = zone.String()
	}
	return fmt.Sprintf("a local time that occurs twice in %s is the first of the two, and one that is skipped is moved forward", name)
}
