package browser

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/test/browser/chrome"
)

const password = "a ship in a bottle, twice"

// setUp opens a browser and makes the first admin.
func setUp(t *testing.T, m *machine) *chrome.Browser {
	t.Helper()
	b := chrome.Open(t, artifacts())
	b.Go(m.link())
	b.Picture("setup")
	b.Accessible("setup")
	b.Fill("input[name=name]", "anna")
	b.Fill("input[name=password]", password)
	b.Fill("input[name=again]", password)
	b.Press("main form button.primary")
	return b
}

// TestEveryPageIsForEverybody goes wherever a link of the console leads, and
// looks at each kind of page once: in light and dark, on a desk and a telephone.
func TestEveryPageIsForEverybody(t *testing.T) {
	m := newMachine(t)
	m.run("backup", "helpdesk")
	m.run("drill", "helpdesk")
	m.serve("127.0.0.1:0")
	b := setUp(t, m)
	id := regexp.MustCompile(`/[0-9a-f]{16,}|/[0-9]+|=[^&]*`)
	seen, todo := map[string]bool{}, []string{m.url + "/", m.url + "/account"}
	looked := 0
	for len(todo) > 0 {
		address := todo[0]
		todo = todo[1:]
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		kind := id.ReplaceAllStringFunc(u.RequestURI(), func(part string) string {
			if part[0] == '/' {
				return "/one"
			}
			return "-"
		})
		// The folders of a backup are one kind, and a section is alike for all.
		kind = regexp.MustCompile(`/files/.+`).ReplaceAllString(kind, "/files/folder")
		kind = regexp.MustCompile(`^/drills/[^/]+`).ReplaceAllString(kind, "/drills/one")
		kind = regexp.MustCompile(`^/settings/[^/]+/`).ReplaceAllString(kind, "/settings/")
		if seen[kind] || strings.HasPrefix(u.Path, "/api/") {
			continue
		}
		seen[kind] = true
		if status := b.Go(address); status != 200 {
			t.Errorf("%s answers %d", u.RequestURI(), status)
			continue
		}
		looked++
		todo = append(todo, b.Find(`Array.from(document.querySelectorAll("main a[href], header a[href]"))
			.filter((a) => a.origin === location.origin && !a.hasAttribute("download") && !a.pathname.includes("/download/") && !/^\/downloads\/[^/]+\//.test(a.pathname)).map((a) => a.href.split("#")[0])`)...)
		name := strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(kind, "-"), "-")
		if name == "" {
			name = "overview"
		}
		b.Look(name)
	}
	if looked < 2 {
		t.Errorf("looked at %d pages only", looked)
	}
	t.Logf("looked at %d kinds of pages: %v", looked, slices.Sorted(func(yield func(string) bool) {
		for kind := range seen {
			if !yield(kind) {
				return
			}
		}
	}))
}
