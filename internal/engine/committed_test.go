package engine

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/operator"
)

// A pipeline that failed at its first record, and has committed nothing, can start with the setting
// that its error names, and with any other SQL. If it has committed something, the error names the
// way forward.
func TestRefusedBeforeFirstCommit(t *testing.T) {
	const first, later = "at the first record", "after rows that are committed"
	elsewhere := func(key []byte, n, i int) int { return (murmur2(key, n, i) + 1) % n }
	place := map[string]func(key []byte, n, i int) int{
		first: elsewhere,
		later: func(key []byte, n, i int) int {
			if i < keyedEach-1 {
				return murmur2(key, n, i)
			}
			return elsewhere(key, n, i)
		},
	}
	for kind, q := range keyedQueries {
		for which, place := range place {
			if kind == "lookup" && which == later {
				continue // what its readings wait for may or may not be committed first
			}
			t.Run(kind+"/"+which, func(t *testing.T) {
				t.Parallel()
				at := keyedCluster(t, "raw", place)
				sql := fmt.Sprintf(keyedTables, "raw") + q.sql
				var misplaced *operator.MisplacedRecordError
				if err := runKeyedOne(t, at, sql); !errors.As(err, &misplaced) {
					t.Fatalf("%v, want a MisplacedRecordError", err)
				}
				err := runKeyed(t, at, "keyed", "SET 'weir.key-partitioning' = 'any';"+sql)
				if which == later {
					var changed *ChangedError
					if !errors.As(err, &changed) || !strings.Contains(err.Error(), "weir run --reset keyed") {
						t.Fatalf("%v, want a ChangedError that names --reset", err)
					}
					if _, err := Reset(t.Context(), at, "keyed", ""); err != nil {
						t.Fatal(err)
					}
					err = runKeyed(t, at, "keyed", "SET 'weir.key-partitioning' = 'any';"+sql)
				}
				if err != nil {
					t.Fatal(err)
				}
				want := make(map[string]string)
				for device := range keyedDevices {
					want[fmt.Sprintf("dev-%d", device)] = fmt.Sprintf(`{"device_id":"dev-%d","x":%q}`, device, q.x)
				}
				if got := counts(t, at, "results"); !maps.Equal(got, want) {
					t.Errorf("%v, want %v", got, want)
				}
			})
		}
	}
}

// runKeyedOne runs a pipeline with one worker and one record per transaction, so that everything
// before the first misplaced record is committed.
func runKeyedOne(t *testing.T, at broker.Config, sql string) error {
	t.Helper()
	return runConfig(t, "keyed", sql, Config{Broker: at, Instances: []string{"a"}, MaxRecords: 1})
}
