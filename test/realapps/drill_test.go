package realapps

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
)

type drills struct {
	Drills []evidence.Drill `json:"drills"`
}

// drill drills the newest backup with the command.
func (r *running) drill(exit int, args ...string) evidence.Drill {
	r.t.Helper()
	place := r.t.TempDir()
	for d := place; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		r.ok(os.Chmod(d, 0o755)) // the application's user comes through
	}
	var out drills
	r.backstay(exit, &out, append([]string{"drill", r.name, "--dir", place}, args...)...)
	if len(out.Drills) != 1 {
		r.t.Fatalf("%d drills", len(out.Drills))
	}
	left, err := os.ReadDir(place)
	r.ok(err)
	if len(left) != 0 || len(out.Drills[0].Left) != 0 {
		r.t.Errorf("the drill left %v %q", left, out.Drills[0].Left)
	}
	for _, p := range out.Drills[0].Proofs {
		r.t.Logf("%-8s %s %s: %s", p.Outcome, p.Name, p.Object, p.Message)
	}
	for _, s := range out.Drills[0].Steps {
		r.t.Logf("%6d ms %s", s.DurationMS, s.Name)
	}
	return out.Drills[0]
}

// proven says whether a drill has a proof of a thing, with an outcome. An empty
// object is any.
func proven(d evidence.Drill, outcome core.ProofOutcome, name, object string) bool {
	return slices.ContainsFunc(d.Proofs, func(p core.Proof) bool {
		return p.Name == name && p.Outcome == outcome && (object == "" || p.Object == object)
	})
}

// passes fails the test where a drill did not pass, or has not all of some
// proofs.
func (r *running) passes(d evidence.Drill, names ...string) {
	r.t.Helper()
	if !d.Passed || d.Failure != "" {
		r.t.Errorf("the drill did not pass: %s %+v", d.Failure, d.Failed())
	}
	for _, name := range names {
		if !proven(d, core.ProofOK, name, "") {
			r.t.Errorf("%s was not proven", name)
		}
	}
	if os.Geteuid() == 0 && !slices.ContainsFunc(d.Place.Isolation, func(s string) bool { return strings.HasPrefix(s, "network namespace") }) {
		r.t.Errorf("the application ran with %q", d.Place.Isolation)
	}
}

// TestDrillITop drills an iTop with a login.
func TestDrillITop(t *testing.T) {
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITOP"), helpers(t)
	r := newRunning(t, "itop", checkout, "itop", "it'op-Pw_1")
	r.installITop(scripts)
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	password := filepath.Join(r.folder, "drill.pw")
	r.write(password, "Admin-Pw_1x\n", 0o600)
	d := r.drill(0, "--login-user", "admin", "--login-password-file", password)
	r.passes(d, "rows", "files", "version", "administrator", "modules", "encryption", "php", "page", "login-form", "login")
}

// TestDrillITFlow drills an ITFlow with a login.
func TestDrillITFlow(t *testing.T) {
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITFLOW"), helpers(t)
	r := newRunning(t, "itflow", checkout, "itflow", writerPassword)
	r.installITFlow()
	t.Log("seed:", strings.TrimSpace(r.runPHP(filepath.Join(scripts, "itflow-seed.php"), r.root)))
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	password := filepath.Join(r.folder, "drill.pw")
	r.write(password, "Corr3ct horse! batterie é\n", 0o600)
	d := r.drill(0, "--login-user", "user@example.test", "--login-password-file", password)
	r.passes(d, "rows", "files", "settings", "schema-version", "administrator", "row-files", "credentials", "php", "page", "login-form", "login")
}
