package expr

import (
	"slices"
	"strings"
)

// urlParts are the parts of a java.net.URL, not decoded. A missing part is NULL, an empty one
// isn't.
type urlParts struct {
	protocol, host, path            string
	authority, query, ref, userInfo *string
}

// urlProtocols are the protocols known to Java's URL, which rejects all others.
var urlProtocols = []string{"http", "https", "ftp", "file", "jar", "mailto"}

// parseURL parses a URL as java.net.URL does.
func parseURL(text string) (u urlParts, ok bool) {
	text = strings.Trim(text, " \t\n\r\f\v\x00")
	if len(text) > 4 && strings.EqualFold(text[:4], "url:") {
		text = text[4:]
	}
	protocol, rest, found := strings.Cut(text, ":")
	if u.protocol = strings.ToLower(protocol); !found || !slices.Contains(urlProtocols, u.protocol) {
		return u, false
	}
	if before, ref, ok := strings.Cut(rest, "#"); ok {
		rest, u.ref = before, &ref
	}
	if u.protocol == "jar" { // the entry in the archive is part of the path, including any ?
		u.path = rest
		return u, strings.Contains(rest, "!/")
	}
	if before, query, ok := strings.Cut(rest, "?"); ok {
		rest, u.query = before, &query
	}
	authority, isThere := strings.CutPrefix(rest, "//")
	if !isThere {
		u.path = rest
		return u, true
	}
	if i := strings.IndexByte(authority, '/'); i >= 0 {
		authority, u.path = authority[:i], authority[i:]
	}
	u.authority = &authority
	u.host = authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		info := authority[:i]
		u.userInfo, u.host = &info, authority[i+1:]
	}
	if strings.HasPrefix(u.host, "[") {
		end := strings.IndexByte(u.host, ']')
		if end < 0 {
			return u, false
		}
		u.host = u.host[:end+1]
		return u, true
	}
	host, port, hasPort := strings.Cut(u.host, ":")
	if hasPort && strings.Trim(port, "0123456789") != "" {
		return u, false
	}
	u.host = host
	return u, true
}

// evalParseURL returns a part of a URL, or the value of a query parameter.
func evalParseURL(_ *Call, a []any) (any, error) {
	u, ok := parseURL(a[0].(string))
	if !ok {
		return nil, nil
	}
	what := a[1].(string)
	if len(a) > 2 {
		if what != "QUERY" || u.query == nil {
			return nil, nil
		}
		for _, pair := range strings.Split(*u.query, "&") {
			if k, v, ok := strings.Cut(pair, "="); ok && k == a[2] {
				return v, nil
			}
		}
		return nil, nil
	}
	switch what {
	case "PROTOCOL":
		return u.protocol, nil
	case "HOST":
		return u.host, nil
	case "PATH":
		return u.path, nil
	case "FILE":
		if u.query != nil {
			return u.path + "?" + *u.query, nil
		}
		return u.path, nil
	case "AUTHORITY":
		return textOrNull(u.authority), nil
	case "QUERY":
		return textOrNull(u.query), nil
	case "REF":
		return textOrNull(u.ref), nil
	case "USERINFO":
		return textOrNull(u.userInfo), nil
	}
	return nil, nil
}

func textOrNull(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}
