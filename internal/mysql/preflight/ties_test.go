package preflight

import "testing"

func TestNamesTable(t *testing.T) {
	for _, c := range []struct {
		text string
		want bool
	}{
		{"select `wiki`.`pages`.`id` from `wiki`.`pages`", true},
		{"INSERT INTO pages VALUES (1)", true},
		{"pages", true},
		{"DELETE FROM wiki.pages", true},
		{"SELECT * FROM old_pages, pages2, pagesé", false},
		{"SELECT * FROM old_pages WHERE id IN (SELECT id FROM pages)", true},
		{"", false},
	} {
		if got := namesTable(c.text, "pages"); got != c.want {
			t.Errorf("%q names pages: %v", c.text, got)
		}
	}
}
