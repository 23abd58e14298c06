package secret

import (
	"regexp"
	"strings"
)

// hidden replaces secrets.
const hidden = "******"

// secretKeys are substrings of the names of secret options.
var secretKeys = []string{
	"password", "passwd", "secret", "credential", "jaas.config", "token", "apikey", "api-key", "api_key", "access-key", "user-info", "keystore.key", "authorization", "cookie",
	"private-key",
}

// Option reports whether an option's value must not be shown.
func Option(key string) bool {
	key = strings.ToLower(key)
	if strings.HasSuffix(key, "credentials-source") { // names the source of the secret, not the secret
		return false
	}
	for _, part := range secretKeys {
		if strings.Contains(key, part) {
			return true
		}
	}
	return false
}

var (
	// 'key' = 'value' in SQL, with quotes in the value escaped as ''; key=value, key: value and
	// "key":"value" in settings and logs.
	sqlOption   = regexp.MustCompile(`'([^'\n]{1,200})'(\s*=\s*)'((?:[^']|'')*)'`)
	plainOption = regexp.MustCompile(`(?i)("?[\w.\-]*(?:password|passwd|secret|jaas\.config|token|api[-_]?key|user-info|keystore\.key)[\w.\-]*"?)(\s*[=:]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;}\])]+)`)
	userInURL   = regexp.MustCompile(`(://)[^/@\s:]+:[^/@\s]+@`)
	pemBlock    = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`)
)

// onlyReference matches a value that is no secret, but refers to one, perhaps after a user's name.
var onlyReference = regexp.MustCompile(`^(?:[\w.@-]*:)?\$\{(?:env|file):[^}]*\}$`)

// Redact replaces the secrets in a text: values of options that hold passwords, in SQL and
// elsewhere, private keys, and credentials in URLs. References to secrets remain.
func Redact(text string) string {
	text = sqlOption.ReplaceAllStringFunc(text, func(option string) string {
		part := sqlOption.FindStringSubmatch(option)
		if !Option(part[1]) || onlyReference.MatchString(part[3]) {
			return option
		}
		return "'" + part[1] + "'" + part[2] + "'" + hidden + "'"
	})
	text = pemBlock.ReplaceAllString(text, hidden)
	text = plainOption.ReplaceAllStringFunc(text, func(option string) string {
		part := plainOption.FindStringSubmatch(option)
		if part[3] == "'"+hidden+"'" || onlyReference.MatchString(strings.Trim(part[3], `'"`)) {
			return option
		}
		quote := ""
		if q := part[3][:1]; q == `"` || q == "'" {
			quote = q
		}
		return part[1] + part[2] + quote + hidden + quote
	})
	return userInURL.ReplaceAllString(text, "${1}"+hidden+"@")
}
