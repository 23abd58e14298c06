package expr

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestLiteralOfRegexp(t *testing.T) {
	for pattern, want := range map[string]string{
		`(&|^)channel_id=([^&]*)`: "channel_id=",
		`^dev-[0-9]+$`:            "dev-",
		`(?:abc)+x`:               "abc",
		`(?:abc){2,3}`:            "abc",
		`(?:abc)?x`:               "x",
		`(?:abc){0,3}`:            "",
		`ab|cd`:                   "",
		`(?i)abc`:                 "",
		`[a-z]+`:                  "",
		"a\uFFFDb":                "",
		``:                        "",
	} {
		re, err := CompileRegexp(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if re.literal != want {
			t.Errorf("%s: the literal %q, want %q", pattern, re.literal, want)
		}
	}
}

// A text without the literal of a random pattern has no match.
func TestLiteralsAreInMatches(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{"a", "b", "ab", "\xff", "ü", "(", ")", "(?:", "|", "*", "+", "?", "{2}", "{0,1}", "^", "$", "\\b", ".", "[ab]", "(?i)", "(?=", "\uFFFD", "\n"}
	texts := []string{"a", "b", "A", "B", "ü", "Ü", "\xff", "\n", " ", "\uFFFD"}
	random := func(from []string) string {
		var b strings.Builder
		for range r.IntN(8) {
			b.WriteString(from[r.IntN(len(from))])
		}
		return b.String()
	}
	patterns, matches := 0, 0
	for range 20_000 {
		pattern := random(pieces)
		re, err := CompileRegexp(pattern)
		if err != nil || re.literal == "" {
			continue
		}
		patterns++
		for range 20 {
			text := random(texts)
			if !re.first().MatchString(text) {
				continue
			}
			matches++
			if !re.MatchString(text) || re.find(text, 0) == nil {
				t.Fatalf("%q matches %q, which does not contain %q", pattern, text, re.literal)
			}
		}
	}
	if patterns < 1000 || matches < 1000 {
		t.Errorf("%d patterns with a literal, %d matches", patterns, matches)
	}
}
