// Package suggest corrects misspelled names.
package suggest

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// DidYouMean returns "did you mean X?" for the candidate closest to name, ignoring case, or "" if
// none is close.
func DidYouMean(name string, candidates []string) string {
	best, distance := "", min(len(name)/3+2, max(1, len(name))) // at least one letter must match
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(strings.ToUpper(name), strings.ToUpper(c)); d < distance {
			best, distance = c, d
		}
	}
	if best == "" || best == name {
		return ""
	}
	return "did you mean " + best + "?"
}
