package realapps

import (
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// copied makes a copy beside the application and returns it, not yet served.
func (r *running) copied() (*running, []string) {
	r.t.Helper()
	name := r.name + "_copy"
	mysqltest.ExecOn(r.t, r.config(""), "GRANT ALL ON "+mysql.QuoteName(name)+".* TO "+mysql.QuoteText(r.user)+"@'%'")
	root := filepath.Join(filepath.Dir(r.root), "copy")
	c := &running{app: &app{t: r.t, name: name, profile: r.profile, root: root, folder: r.folder, user: r.user, password: r.password}, server: r.server, php: append(slices.Clone(r.php), "APP_ROOT="+root), who: r.who}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.ok(err)
	c.web = l.Addr().(*net.TCPAddr).Port
	r.ok(l.Close())
	var done struct {
		Warnings []any `json:"warnings"`
		Copy     struct {
			SwitchedOff []string `json:"switched_off"`
		} `json:"copy"`
	}
	r.backstay(0, &done, "restore", r.name, "latest", "--as", "copy", "--root", root, "--to-database", name, "--url", c.address("/"), "--yes")
	return c, done.Copy.SwitchedOff
}

// differing lists the tables whose rows differ between the application and its
// copy.
func (r *running) differing(c *running) []string {
	r.t.Helper()
	ours, err := mysqltest.ChecksumOf(r.t.Context(), r.config(r.name))
	r.ok(err)
	theirs, err := mysqltest.ChecksumOf(r.t.Context(), r.config(c.name))
	r.ok(err)
	var names []string
	for table := range maps.Keys(ours) {
		if ours[table] != theirs[table] {
			names = append(names, table)
		}
	}
	slices.Sort(names)
	if len(ours) != len(theirs) {
		r.t.Errorf("%d tables, and %d in the copy", len(ours), len(theirs))
	}
	return names
}

// linksInto lists the symbolic links of the copy that lead into the application.
func (r *running) linksInto(c *running) (found []string) {
	r.t.Helper()
	r.ok(filepath.WalkDir(c.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink == 0 {
			return err
		}
		target, err := os.Readlink(path)
		if strings.HasPrefix(target+"/", r.root+"/") {
			found = append(found, path)
		}
		return err
	}))
	return found
}

// TestCopyOfRunningITop: the copy answers with its own data, quiet, and the
// original stays what it is.
func TestCopyOfRunningITop(t *testing.T) {
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITOP"), helpers(t)
	r := newRunning(t, "itop", checkout, "itop", "it'op-Pw_1")
	r.installITop(scripts)
	r.serve()
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	before := r.picture("log", "data/cache-production", "data/transactions")
	c, off := r.copied()
	if len(off) != 3 {
		t.Errorf("switched off: %q, want 3", off)
	}
	quiet := []string{"priv_action", "priv_async_task", "priv_backgroundtask"}
	for _, table := range r.differing(c) {
		if !slices.Contains(quiet, table) {
			t.Errorf("table %s of the copy differs", table)
		}
	}
	if links := r.linksInto(c); len(links) > 0 {
		t.Errorf("%d links lead into the original, the first being %s", len(links), links[0])
	}
	c.serve()
	for name, page := range map[string]func() (*http.Request, func(int, []byte) string){"login": get(c.address("/pages/UI.php"), fmt.Sprintf("127.0.0.1:%d", c.web)), "REST": c.restGet} {
		if what := ask(t.Context(), page); what != "" {
			t.Errorf("the copy, %s: %s", name, what)
		}
	}
	if out := c.runPHP("webservices/cron.php", "--auth_user=admin", "--auth_pwd=Admin-Pw_1x", "--verbose=1"); !strings.Contains(out, "execution time limit") || strings.Contains(out, "Processing ") {
		t.Errorf("cron of the copy does something:\n%s", out)
	}
	if diff := cmp.Diff(before, r.picture("log", "data/cache-production", "data/transactions")); diff != "" {
		t.Errorf("the original before (-) and after (+) the copy:\n%s", diff)
	}
}

// TestCopyOfRunningITFlow is the same of ITFlow.
func TestCopyOfRunningITFlow(t *testing.T) {
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITFLOW"), helpers(t)
	r := newRunning(t, "itflow", checkout, "itflow", writerPassword)
	r.installITFlow()
	t.Log("seed:", strings.TrimSpace(r.runPHP(filepath.Join(scripts, "itflow-seed.php"), r.root)))
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	before := r.picture("uploads/tmp")
	c, off := r.copied()
	if !slices.Contains(off, "switch off ITFlow's cron") || len(off) < 10 {
		t.Errorf("switched off: %q", off)
	}
	quiet := []string{"cron_jobs", "email_queue", "payment_providers", "recurring_invoices", "settings"}
	for _, table := range r.differing(c) {
		if !slices.Contains(quiet, table) {
			t.Errorf("table %s of the copy differs", table)
		}
	}
	c.serve()
	if what := ask(t.Context(), get(c.address("/login.php"), "password")); what != "" {
		t.Errorf("the copy: %s", what)
	}
	if diff := cmp.Diff(before, r.picture("uploads/tmp")); diff != "" {
		t.Errorf("the original before (-) and after (+) the copy:\n%s", diff)
	}
}
