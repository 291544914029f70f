package corpus_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/corpus"
)

const document = "../../../docs/exactness.md"

// TestDocumentListsEveryCase: the table in the document is the corpus.
func TestDocumentListsEveryCase(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- cases -->\n")
	listed, _, ended := strings.Cut(rest, "<!-- end of cases -->\n")
	if !found || !ended {
		t.Fatalf("%s has no list of cases between its two marks", document)
	}
	var want strings.Builder
	for _, group := range corpus.Groups() {
		want.WriteString("\n### " + group.Name + "\n\n| case | guards against |\n|---|---|\n")
		for _, c := range group.Cases {
			want.WriteString("| " + c.Name + " | " + strings.ReplaceAll(c.Guards, "|", `\|`) + " |\n")
		}
	}
	want.WriteString("\n")
	if diff := cmp.Diff(want.String(), listed); diff != "" {
		t.Errorf("%s lists other cases (-corpus +document):\n%s", document, diff)
	}
}

func TestCasesAreNamedAndMarked(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range corpus.Cases() {
		if c.Name == "" || c.Guards == "" || seen[c.Name] || strings.ContainsAny(c.Name, "_/|") {
			t.Errorf("case %q (%q): want a name of its own, without _, / and |, and what it guards", c.Name, c.Guards)
		}
		seen[c.Name] = true
		for _, vendor := range []string{mysql.MariaDB, mysql.MySQL} {
			s := mysql.Server{VersionNumber: 999999}
			s.Vendor = vendor
			for _, statement := range c.Statements(s) {
				if strings.HasPrefix(statement, "/*m") {
					t.Errorf("case %s: the mark of %.60s is not understood", c.Name, statement)
				}
			}
		}
	}
}
