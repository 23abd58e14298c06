package expr

import (
	"testing"
	"time"
)

// Calls that differ only in a clause are different expressions: a query computes both.
func TestSameNodeComparesClauses(t *testing.T) {
	b := &binder{zone: time.UTC}
	for _, pair := range [][2]string{
		{"JSON_OBJECT('a' VALUE 1 NULL ON NULL)", "JSON_OBJECT('a' VALUE 1 ABSENT ON NULL)"},
		{"JSON_ARRAY(1 NULL ON NULL)", "JSON_ARRAY(1 ABSENT ON NULL)"},
		{"JSON_VALUE('{}', '$.a' DEFAULT 'x' ON EMPTY)", "JSON_VALUE('{}', '$.a' DEFAULT 'y' ON EMPTY)"},
		{"JSON_QUERY('{}', '$.a' WITH WRAPPER)", "JSON_QUERY('{}', '$.a')"},
	} {
		x, err := b.parse(pair[0])
		if err != nil {
			t.Fatal(err)
		}
		y, err := b.parse(pair[1])
		if err != nil {
			t.Fatal(err)
		}
		if SameNode(x, y) || !SameNode(x, x) || !SameNode(y, y) {
			t.Errorf("%s and %s are taken for the same", pair[0], pair[1])
		}
	}
}
