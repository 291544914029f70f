package wire

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
)

// stars stand where a secret was.
const stars = "*****"

// Veil covers secrets in texts that come from elsewhere: another system may
// send back what it was sent, and libraries put addresses into errors. The zero
// Veil covers the paths of addresses and nothing else. It is safe for
// concurrent use.
type Veil struct {
	words *regexp.Regexp // nil: none
	bytes []string       // what is no text, as passwords in an old encoding are
}

// NewVeil returns a veil over secrets, in each form in which they travel. One
// of fewer than three characters is not covered: it stands in every text.
func NewVeil(secrets ...core.Secret) Veil {
	var words []string
	for _, s := range secrets {
		words = append(words, forms(s.Reveal())...)
	}
	return veilOver(words)
}

// VeilURL returns a veil over secrets and over all parts of an address that may
// be one: password, path, values of its query, and a host that is no name.
func VeilURL(address core.Secret, secrets ...core.Secret) Veil {
	words := forms(address.Reveal())
	for _, s := range secrets {
		words = append(words, forms(s.Reveal())...)
	}
	u, err := url.Parse(strings.TrimSpace(address.Reveal()))
	if err != nil {
		return veilOver(append(words, pieces(address.Reveal())...))
	}
	if password, ok := u.User.Password(); ok {
		words = append(words, forms(password)...)
		words = append(words, forms(u.User.Username()+":"+password)...)
		words = append(words, pieces(password)...)
	}
	maybe := append(pieces(u.User.Username()), pieces(u.Path)...)
	if host := u.Hostname(); !strings.ContainsAny(host, ".:") && host != "localhost" {
		maybe = append(maybe, pieces(host)...)
	} else { // some services have a key with a dot there
		maybe = append(maybe, slices.DeleteFunc(pieces(host), func(label string) bool { return len(label) < 24 })...)
	}
	for _, values := range u.Query() {
		for _, value := range values {
			if len(value) >= shortest {
				maybe = append(maybe, forms(value)...)
			}
			maybe = append(maybe, pieces(value)...)
		}
	}
	maybe = slices.DeleteFunc(maybe, func(word string) bool { return strings.EqualFold(word, u.Scheme) })
	return veilOver(append(words, maybe...))
}

// forms returns text as it stands in addresses, in JSON and in the headers of
// basic authentication.
func forms(text string) []string {
	if len(text) < 3 {
		return nil
	}
	words := []string{
		text, url.QueryEscape(text), url.PathEscape(text),
		base64.StdEncoding.EncodeToString([]byte(text)), base64.URLEncoding.EncodeToString([]byte(text)),
	}
	if quoted, err := json.Marshal(text); err == nil {
		words = append(words, strings.Trim(string(quoted), `"`))
	}
	return words
}

// shortest is the length from which a part of an address may be a secret.
const shortest = 6

// pieces returns the words of text that may be secrets: what a library makes an
// address of may put other signs between them.
func pieces(text string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
	}), func(word string) bool { return len(word) < shortest })
}

func veilOver(words []string) Veil {
	for _, word := range slices.Clone(words) { // a token of parts that are joined by dashes may come apart
		for part := range strings.SplitSeq(word, "-") {
			if len(part) >= shortest && part != word {
				words = append(words, part)
			}
		}
	}
	var v Veil
	var patterns []string
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) }) // the longest first: it may hold a shorter one
	for _, word := range words {
		switch {
		case len(word) < 3:
		case utf8.ValidString(word):
			patterns = append(patterns, regexp.QuoteMeta(word))
		default:
			v.bytes = append(v.bytes, word)
		}
	}
	if len(patterns) > 0 {
		v.words = regexp.MustCompile("(?i)" + strings.Join(slices.Compact(patterns), "|"))
	}
	return v
}

var addresses = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)([^/\s"'<>?#]*@)?([^/\s"'<>?#]*)[^\s"'<>]*`)

// Cover returns text in one line with stars for what the veil covers, and
// without the user, the path and the query of any address in it.
func (v Veil) Cover(text string) string {
	text = addresses.ReplaceAllString(text, "$1$3/…")
	for _, b := range v.bytes {
		text = strings.ReplaceAll(text, b, stars)
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if v.words != nil {
		text = v.words.ReplaceAllString(text, stars)
	}
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}
