package notify

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
)

// stars stand where a secret was.
const stars = "***"

var (
	privateKeys = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)
	// A password may hold an @: the last one before the host ends it.
	urlUsers = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s"'<>]*@`)
	urlQuery = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'<>?#]*\?)([^\s"'<>#]*)`)
	// user:password@tcp(host:port)/name, as the driver of MySQL writes it. What
	// follows the colon of a sentence is a space.
	dataSources = regexp.MustCompile(`[^\s:@"'(]*:[^\s:].*@((?:tcp|tcp4|tcp6|udp|unix|pipe|memory)\()`)
	headers     = regexp.MustCompile(`(?i)\b(authorization\s*[:=]\s*)([a-z]+\s+)?\S+`)
	bearers     = regexp.MustCompile(`(?i)\b(bearer\s+)[a-z0-9+/=._~-]{12,}`)
	settings    = regexp.MustCompile(`(?i)([a-z0-9_.-]*(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key)["']?\s*(?:=>|[=:])\s*)("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,;&"']+)`)
	names       = regexp.MustCompile(`^[a-zA-Z0-9_.\[\]%-]*=`)
)

// Redact returns text with stars for everything in it that may be a secret:
// users, passwords and query values of addresses, data source names,
// Authorization headers, values of settings whose names say that they are
// secret, private keys, and each of secrets. Error texts of servers and
// libraries hold such things. It may take away more than it has to.
func Redact(text string, secrets ...core.Secret) string {
	for _, s := range secrets {
		if len(s.Reveal()) >= 3 { // shorter ones stand in every text
			text = strings.ReplaceAll(text, s.Reveal(), stars)
		}
	}
	text = privateKeys.ReplaceAllString(text, stars)
	text = urlUsers.ReplaceAllString(text, "$1"+stars+"@")
	text = urlQuery.ReplaceAllStringFunc(text, func(address string) string {
		at := strings.IndexByte(address, '?') + 1
		values := strings.FieldsFunc(address[at:], func(r rune) bool { return r == '&' || r == ';' })
		for i, v := range values {
			values[i] = names.FindString(v) + stars
		}
		return address[:at] + strings.Join(values, "&")
	})
	text = dataSources.ReplaceAllString(text, stars+"@$1")
	text = headers.ReplaceAllString(text, "${1}"+stars)
	text = bearers.ReplaceAllString(text, "${1}"+stars)
	return settings.ReplaceAllStringFunc(text, func(found string) string {
		parts := settings.FindStringSubmatch(found)
		switch strings.ToUpper(strings.TrimRight(parts[2], ").")) {
		case "YES", "NO", stars: // MySQL's "(using password: YES)" helps
			return found
		}
		return parts[1] + stars
	})
}

// clean returns text as one line of at most max runes: valid UTF-8, without
// control characters and without those that turn the direction of writing.
func clean(text string, max int) string {
	if len(text) > 16*max { // nobody reads it, and Redact need not either
		text = text[:16*max]
	}
	var b strings.Builder
	space, count := false, 0
	for _, r := range text {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = b.Len() > 0
			continue
		case r == utf8.RuneError, unicode.Is(unicode.Co, r):
			r = utf8.RuneError
		case unicode.Is(unicode.Cf, r) && r != '\u200d':
			continue
		}
		need := 1
		if space {
			need = 2
		}
		if count+need > max-2 {
			b.WriteString(" …")
			break
		}
		if space {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		space, count = false, count+need
	}
	return b.String()
}

// lineInput is how much of a text Line looks at.
const lineInput = 16 << 10

// Line returns text as one line that can be shown anywhere: redacted, clean,
// and of at most max runes. max is at least 3.
func Line(text string, max int) string {
	if len(text) > lineInput {
		text = text[:lineInput]
	}
	// A secret is looked for before anything is cut off it, and again in what
	// stands in one line then.
	return clean(Redact(clean(Redact(text), 4*max)), max)
}
