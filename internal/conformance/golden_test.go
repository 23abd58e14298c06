package conformance

import "testing"

func TestHashIgnoresComments(t *testing.T) {
	const text = "-- A count.\nSELECT 'it''s -- no  comment', `a /* b`, x /* of\n all */ - -1\n\tFROM t; -- the end"
	const same = "SELECT 'it''s -- no  comment', `a /* b`, x - -1 FROM t;"
	if got := withoutComments(text); got != same {
		t.Errorf("got  %s\nwant %s", got, same)
	}
	if caseHash(text, nil) != caseHash(same, nil) {
		t.Error("comments change the hash")
	}
	if caseHash(text, nil) == caseHash("SELECT 'it''s -- no comment', `a /* b`, x - -1 FROM t;", nil) {
		t.Error("a string does not change the hash")
	}
}
