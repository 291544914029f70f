package evidence_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s (go test -update writes it anew):\n%s", path, diff)
	}
}

func TestPage(t *testing.T) {
	passed := drillOf("desk", noon)
	passed.Signer = strings.Repeat("5a", 32)
	failed := drillOf("desk", noon)
	failed.Signer, failed.Passed, failed.Mode = passed.Signer, false, evidence.DrillSample
	failed.Sampled = &evidence.Sampled{Tables: 132, Rows: 241000, RowsOf: 4821733, Chunks: 132, ChunksOf: 900, Files: 40, FilesOf: 812, Seed: 42, SchemaWhole: true}
	failed.Failure, failed.Hint, failed.Place.PHP, failed.Left = "the disk is full", "free some room", "", []string{"/scratch/desk"}
	failed.Proofs = append(failed.Proofs, core.Proof{Name: "stored-data", Outcome: core.ProofFailed, Object: "table tickets, database/tickets.3", Message: "it cannot be read back", Hint: "backstay verify --repair desk"})
	for name, d := range map[string]evidence.Drill{"passed.html": passed, "failed.html": failed} {
		text, err := evidence.Page(d)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, text)
	}
	if text, err := evidence.Page(failed); err != nil || bytes.Index(text, []byte("Failed (1)")) > bytes.Index(text, []byte("As captured, and working (1)")) {
		t.Errorf("what failed does not come first: %v", err)
	}
}

// TestPageIsInert: what stands in names is text, and the page needs and runs
// nothing.
func TestPageIsInert(t *testing.T) {
	d := drillOf("desk", noon)
	d.App, d.Host, d.Failure, d.Hint, d.Trigger, d.Profile, d.Backstay = hostile, hostile, hostile, hostile, hostile, hostile, hostile
	d.Place = evidence.Place{Server: hostile, PHP: hostile, Isolation: []string{hostile}}
	d.Backup.Versions, d.Backup.Server, d.Backup.Host, d.Backup.ID = map[string]string{hostile: hostile}, hostile, hostile, hostile
	d.Left = []string{hostile}
	d.Steps = []evidence.Step{{Name: hostile, DurationMS: -5}, {Name: "\xff\x00", DurationMS: 1 << 62, Bytes: 1 << 62}}
	d.Proofs = []core.Proof{{Name: hostile, Outcome: core.ProofFailed, Object: hostile, Message: hostile, Hint: hostile}, {Name: hostile, Outcome: hostile, Message: hostile}, {Outcome: core.ProofSkipped, Message: hostile}}
	text, err := evidence.Page(d)
	if err != nil {
		t.Fatal(err)
	}
	inert(t, text)
	if !bytes.Contains(text, []byte("&lt;script&gt;")) {
		t.Error("the name is not on the page")
	}
}

func inert(t *testing.T, text []byte) {
	t.Helper()
	low := bytes.ToLower(text)
	for _, bad := range []string{"<script", "<img", "<link", "<iframe", "src=", "href=", "@import", "url(", "javascript:", "http://", "https://"} {
		if bytes.Contains(low, []byte(bad)) {
			t.Errorf("the page has %s", bad)
		}
	}
	if n := bytes.Count(low, []byte("</svg>")); n > 1 {
		t.Errorf("%d pictures end", n)
	}
}
