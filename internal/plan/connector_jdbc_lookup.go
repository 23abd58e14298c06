package plan

import (
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/sql"
)

// LookupCache is how long the rows that lookups have found are kept for later transactions.
type LookupCache struct {
	MaxRows     int
	AfterWrite  time.Duration // after the database was read; 0 is no limit
	AfterAccess time.Duration // after the last lookup of the key; 0 is no limit
	Missing     bool          // keys without rows are kept, too
}

// Limits of the cache: the default of its rows, and the largest number that can be set.
const (
	defaultCacheRows = 100_000
	maxCacheRows     = 10_000_000
)

// bindLookup reads the options of lookups: those of Flink's LookupOptions, and the older ones of
// its jdbc connector.
func (j *JDBC) bindLookup(t *Table, o *options) error {
	cached := false
	if o.has("lookup.cache") {
		switch value := o.get("lookup.cache"); strings.ToUpper(value) {
		case "NONE":
		case "PARTIAL":
			cached = true
		default:
			return o.bad("lookup.cache", "use NONE or PARTIAL")
		}
	}
	c := &LookupCache{MaxRows: defaultCacheRows, Missing: true}
	rowsKey, ttlKey, missingKey := "lookup.partial-cache.max-rows", "lookup.partial-cache.expire-after-write", "lookup.partial-cache.cache-missing-key"
	if !cached {
		rowsKey, ttlKey, missingKey = "lookup.cache.max-rows", "lookup.cache.ttl", "lookup.cache.caching-missing-key"
		if o.has(rowsKey) != o.has(ttlKey) {
			return sql.Errorf(t, "table %s: the options '%s' and '%s' must be set together", t.Name, rowsKey, ttlKey)
		}
	}
	limited := o.has(rowsKey) || o.has(ttlKey) || cached && o.has("lookup.partial-cache.expire-after-access")
	if cached && !limited {
		return sql.Errorf(o.all["lookup.cache"].ValuePos, "table %s: the cache of lookups has no limit", t.Name).
			WithHint("set 'lookup.partial-cache.expire-after-write' = '1 min', 'lookup.partial-cache.expire-after-access' or 'lookup.partial-cache.max-rows'")
	}
	var err error
	if rows := o.get(rowsKey); rows != "" {
		if c.MaxRows, err = strconv.Atoi(rows); err != nil || c.MaxRows < 0 || c.MaxRows > maxCacheRows {
			return o.bad(rowsKey, "write a number of rows, at most "+strconv.Itoa(maxCacheRows))
		}
	}
	if c.AfterWrite, err = o.duration(ttlKey); err != nil {
		return err
	}
	if cached {
		if c.AfterAccess, err = o.duration("lookup.partial-cache.expire-after-access"); err != nil {
			return err
		}
	}
	if missing := o.get(missingKey); missing != "" {
		if c.Missing, err = strconv.ParseBool(strings.ToLower(missing)); err != nil {
			return o.bad(missingKey, "use true or false")
		}
	}
	if n := o.get("lookup.max-retries"); n != "" {
		if retries, err := strconv.Atoi(n); err != nil || retries < 0 {
			return o.bad("lookup.max-retries", "write a number; a lookup that fails is repeated until the database answers")
		}
	}
	// As in Flink, 0 switches the cache off: an entry expires at once.
	off := c.MaxRows == 0 || o.has(ttlKey) && c.AfterWrite == 0 || cached && o.has("lookup.partial-cache.expire-after-access") && c.AfterAccess == 0
	if limited && !off {
		j.Cache = c
	}
	return nil
}

// duration returns the value of an option; 0 without it.
func (o *options) duration(key string) (time.Duration, error) {
	text := o.get(key)
	if text == "" {
		return 0, nil
	}
	d, err := ParseDuration(text)
	if err != nil || d < 0 {
		return 0, o.bad(key, "write a duration such as 10 min")
	}
	return d, nil
}
