package visit

import (
	"fmt"
	"html"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

// kinds are what PHP calls what it has to say; the first ones are faults.
var (
	faults = regexp.MustCompile(`(?:^|[>\s])(?:PHP )?(Fatal error|Recoverable fatal error|Parse error|Warning)(?:</b>)?:\s`)
	notes  = regexp.MustCompile(`(?:^|[>\s])(?:PHP )?(Notice|Deprecated)(?:</b>)?:\s`)
	// place ends what PHP says.
	place = regexp.MustCompile(` in (?:<b>)?([^\s<]+?)(?:</b>)? on line (?:<b>)?(\d+)`)
	// uncaught names the class of an exception.
	uncaught = regexp.MustCompile(`^Uncaught ([\w\\]{1,100})\b`)
	trace    = regexp.MustCompile(`Stack trace:(?:\s|<[^>]{0,20}>)*#0 `)
)

// maxSaid is how far behind the kind the place is looked for.
const maxSaid = 16 << 10

// fault returns what PHP says in the page, without its words, which may hold
// data: the kind and the place in the code. serious leaves out what is none.
func (p *Page) fault(serious bool) string {
	pattern := notes
	if serious {
		pattern = faults
	}
	for _, at := range pattern.FindAllStringSubmatchIndex(p.Body, 50) {
		said := p.Body[at[1]:min(len(p.Body), at[1]+maxSaid)]
		where := place.FindStringSubmatch(said)
		if where == nil {
			continue // words of the application's own
		}
		kind := p.Body[at[2]:at[3]]
		if m := uncaught.FindStringSubmatch(strings.TrimSpace(said)); m != nil {
			kind += " (" + m[1] + ")"
		}
		return fmt.Sprintf("PHP says in it: %s in %s, line %s", kind, p.source(where[1]), where[2])
	}
	if serious && trace.MatchString(p.Body) {
		return "it shows a stack trace of PHP's"
	}
	return ""
}

// source is a file of the code, relative to the copy's folder.
func (p *Page) source(path string) string {
	path = html.UnescapeString(path)
	if rel, err := filepath.Rel(p.root, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return filepath.Base(path)
}

var (
	input     = regexp.MustCompile(`(?is)<(?:input|button|select|textarea)\b((?:"[^"]*"|'[^']*'|[^>"'])*)>`)
	attribute = regexp.MustCompile(`(?s)([a-zA-Z-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))`)
)

// maxFields bounds how many fields of a page are looked at.
const maxFields = 10_000

// Fields returns the names of the page's form fields with their values.
func (p *Page) Fields() url.Values { return p.fields(func(map[string]string) bool { return true }) }

// Hidden returns the form fields that a browser sends without showing them.
func (p *Page) Hidden() url.Values {
	return p.fields(func(a map[string]string) bool { return strings.EqualFold(a["type"], "hidden") })
}

func (p *Page) fields(which func(attributes map[string]string) bool) url.Values {
	out := url.Values{}
	for _, tag := range input.FindAllStringSubmatch(p.Body, maxFields) {
		attributes := map[string]string{}
		for _, a := range attribute.FindAllStringSubmatch(tag[1], -1) {
			attributes[strings.ToLower(a[1])] = html.UnescapeString(a[2] + a[3] + a[4])
		}
		if name := attributes["name"]; name != "" && which(attributes) {
			out.Add(name, attributes["value"])
		}
	}
	return out
}

// Lacks returns the first of the fields that the page does not have, "" when it
// has them all.
func (p *Page) Lacks(fields ...string) string {
	have := p.Fields()
	for _, f := range fields {
		if !have.Has(f) {
			return f
		}
	}
	return ""
}

// Shows says whether people see the text in the page. Blanks and backslashes
// do not count: applications fold the ones and strip the others.
func (p *Page) Shows(text string) bool {
	fold := func(s string) string {
		return strings.Join(strings.Fields(strings.ReplaceAll(s, `\`, "")), " ")
	}
	text = fold(text)
	// Some texts were escaped before they were stored.
	body := html.UnescapeString(p.Body)
	return text != "" && (strings.Contains(fold(body), text) || strings.Contains(fold(html.UnescapeString(body)), fold(html.UnescapeString(text))))
}
