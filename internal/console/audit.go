package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/trail"
)

// auditList is an answer of /api/audit.
type auditList struct {
	Deeds      []trail.Deed `json:"deeds"` // newest first
	Matched    int          `json:"matched"`
	Kinds      []string     `json:"kinds"`
	Unreadable int          `json:"unreadable"` // lines
}

// maxDeeds is how many deeds a page shows.
const maxDeeds = 500

// audit serves GET /api/audit?hours=&who=&what=&failed=true&q=: the newest deeds of the audit
// trail.
func (c *Console) audit(r *http.Request) (any, error) {
	if c.cfg.AuditDir == "" {
		return nil, notFound("the audit trail is in the data directory of an embedded broker: this console has none")
	}
	hours, err := intParam(r, "hours", 0, 0, 24*3660)
	if err != nil {
		return nil, err
	}
	filter := trail.Filter{Who: r.FormValue("who"), What: r.FormValue("what"), Failed: r.FormValue("failed") == "true"}
	if filter.What != "" && !slices.Contains(trail.Kinds, filter.What) {
		return nil, badRequest("unknown kind %q: choose one of %s", filter.What, strings.Join(trail.Kinds, ", "))
	}
	if hours > 0 {
		filter.Since = c.cfg.Now().Add(-time.Duration(hours) * time.Hour)
	}
	list := auditList{Deeds: []trail.Deed{}, Kinds: trail.Kinds}
	q := strings.ToLower(r.FormValue("q"))
	list.Unreadable, err = trail.Read(c.cfg.AuditDir, filter, func(d trail.Deed) error {
		if !strings.Contains(strings.ToLower(strings.Join([]string{d.Who, d.From, d.What, d.On, d.Error}, "\n")), q) {
			return r.Context().Err()
		}
		list.Matched++
		list.Deeds = append(list.Deeds, d)
		if len(list.Deeds) > 2*maxDeeds {
			list.Deeds = slices.Clone(list.Deeds[len(list.Deeds)-maxDeeds:])
		}
		return r.Context().Err()
	})
	list.Deeds = list.Deeds[max(0, len(list.Deeds)-maxDeeds):]
	slices.Reverse(list.Deeds)
	return list, err
}
