package backups_test

import (
	"fmt"
	"github.com/backstay/backstay/internal/web/pages/pagestest"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/core"
)

func TestBackup(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[1]
	for _, role := range access.Roles() {
		content := s.Page(t, role, "/backups/"+id)
		pagestest.Holds(t, content, id, "helpdesk 1.2", "mariadb 10.11.6", "table-locks", "testhost", "/backups/"+id+"/files/files")
		for part, least := range map[string]access.Role{"/verify": access.Operator, "/pin": access.Operator, "/export": access.Admin, "/delete": access.Admin, "/apps/helpdesk/restore?backup=" + id: access.Admin} {
			if got, want := strings.Contains(content, part+`"`), role.May(least); got != want {
				t.Errorf("%s: %s is offered: %v", role, part, got)
			}
		}
	}
	for _, bad := range []string{"0123456789abcdef", id[:8], "..", "%2e%2e", "%00", strings.Repeat("a", 5000), "compare", "latest"} {
		if r := s.Ask(t, access.Admin, "/backups/"+bad, nil); r.StatusCode == http.StatusOK {
			t.Errorf("%s: %s", bad, r.Status)
		}
	}
}

func TestTables(t *testing.T) {
	s := newSite(t)
	id := s.AddBackup(t, "helpdesk", 0, consoletest.Uploads(), consoletest.Tables(250))
	content := s.Page(t, access.Viewer, "/backups/"+id+"/tables?sort=rows")
	pagestest.Holds(t, content, "table_249", "offset=100", "24,900")
	if strings.Contains(content, "table_149") {
		t.Error("more than a page is shown")
	}
	pagestest.Holds(t, s.Page(t, access.Viewer, "/backups/"+id+"/tables?sort=rows&offset=200"), "table_000", "offset=100")
	pagestest.Holds(t, s.Page(t, access.Viewer, "/backups/"+id+"/tables?name=_17"), "table_170", "10 tables")
	pagestest.Holds(t, s.Page(t, access.Viewer, "/backups/"+id+"/tables?name=%3Cb%3E&offset=-7&sort=x"), "&lt;b&gt;")
}

func TestFiles(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[0]
	content := s.Page(t, access.Admin, "/backups/"+id+"/files/files/uploads")
	pagestest.Holds(t, content, "c &lt;b&gt;&amp;.txt", "/download/files/uploads/c%20%3Cb%3E&amp;.txt", "-rw-r-----", "www-data:www-data", "deep/", `name="path" value="files/uploads/a.txt"`)
	content = s.Page(t, access.Viewer, "/backups/"+id+"/files/files/uploads")
	if strings.Contains(content, "/download/") || strings.Contains(content, `name="path"`) {
		t.Error("a viewer is offered content")
	}
	pagestest.Holds(t, s.Page(t, access.Viewer, "/backups/"+id+"/files/"), "database/", "files/")
	pagestest.Holds(t, s.Page(t, access.Viewer, "/backups/"+id+"/files/files/uploads?name=DEEP"), "deep/", "1 name")
	if strings.Contains(s.Page(t, access.Admin, "/backups/"+id+"/files/database"), `name="path"`) {
		t.Error("files of the database's own are offered to be restored")
	}
}

// TestLargeFolder is the folder of 100,000 names: see the limits.
func TestLargeFolder(t *testing.T) {
	s := newSite(t)
	files := map[string]string{}
	for i := range 100_000 {
		files[fmt.Sprintf("many/%05d a name as people give them, long enough.pdf", i)] = "x"
	}
	id := s.AddBackup(t, "helpdesk", 0, files, nil)
	for _, offset := range []int{0, 99_900} {
		content := s.Page(t, access.Admin, "/backups/"+id+"/files/files/many?offset="+strconv.Itoa(offset))
		pagestest.Holds(t, content, fmt.Sprintf("%05d a name", offset+99), "100,000 names")
		if len(content) > 100_000 {
			t.Errorf("the page has %d bytes", len(content))
		}
	}
}

func TestDownloadOfOneFile(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[0]
	for p, want := range consoletest.Uploads() {
		target := (&url.URL{Path: "/backups/" + id + "/download/files/" + p}).EscapedPath()
		r := s.Ask(t, access.Admin, target, nil)
		if got := pagestest.Text(t, r); r.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: %s, %d bytes of %d", p, r.Status, len(got), len(want))
		}
		h := r.Header
		if h.Get("Content-Type") != "application/octet-stream" || h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment; ") || h.Get("ETag") == "" {
			t.Errorf("%s: %v", p, h)
		}
		if len(want) < 100 {
			continue
		}
		if d := h.Get("Content-Disposition"); d != `attachment; filename="_n_ code.pdf"; filename*=UTF-8''%C3%BCn%C3%AF%20code.pdf` {
			t.Errorf("%s", d)
		}
		r = s.Ask(t, access.Admin, target, nil, "Range", "bytes=69990-", "If-Range", h.Get("ETag"))
		if got := pagestest.Text(t, r); r.StatusCode != http.StatusPartialContent || got != want[69990:] {
			t.Errorf("%s: the end: %s, %d bytes", p, r.Status, len(got))
		}
		r = s.Ask(t, access.Admin, target, nil, "Range", "bytes=10-", "If-Range", `"other"`)
		if got := pagestest.Text(t, r); r.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: the end of another file: %s, %d bytes", p, r.Status, len(got))
		}
		if r := s.Ask(t, access.Admin, target, nil, "Range", "bytes=70000-"); r.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("%s: beyond the end: %s", p, r.Status)
		}
		if r := s.Ask(t, access.Admin, target, nil, "If-None-Match", h.Get("ETag")); r.StatusCode != http.StatusNotModified {
			t.Errorf("%s: the same again: %s", p, r.Status)
		}
	}
	if want := "download file " + id + " files/uploads/a.txt ok"; !strings.Contains(strings.Join(s.Noted, "\n"), want) {
		t.Errorf("%q is not in the audit log: %q", want, s.Noted)
	}
	for _, role := range []access.Role{access.Anyone, access.Viewer, access.Operator} {
		if r := s.Ask(t, role, "/backups/"+id+"/download/files/uploads/a.txt", nil); r.StatusCode == http.StatusOK || strings.Contains(pagestest.Text(t, r), "first") {
			t.Errorf("%q gets a file: %s", role, r.Status)
		}
	}
}

// hostile are paths that lead out of a backup, or mean to.
func hostile() []string {
	return []string{
		"..", "../", "../../../../etc/passwd", "files/../../etc/passwd", "files/uploads/../uploads/a.txt", "files/./uploads/a.txt", "files//uploads/a.txt", "/etc/passwd", "//etc/passwd",
		"%2e%2e/%2e%2e/etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "files%2f..%2f..%2fetc%2fpasswd", "files/%2e/uploads/a.txt", "%252e%252e/etc/passwd", "%2fetc%2fpasswd", "%5c..%5cetc", `..\..\etc\passwd`,
		"files/uploads/a.txt%00", "%00", "files/uploads/a.txt%0d%0aX-Evil:%201", "files/uploads/a.txt/b", "files/uploads/A.TXT", "files/" + strings.Repeat("a/", 3000), "files/" + strings.Repeat("a", 9000), "manifest.json/..", "%ff%fe", "files/uploads/a.txt%2f..%2fdeep%2fb.txt",
	}
}

func TestHostilePaths(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[0]
	for _, route := range []string{"download", "files"} {
		for _, p := range hostile() {
			target := "/backups/" + id + "/" + route + "/" + p
			r := s.Ask(t, access.Admin, target, nil)
			content := pagestest.Text(t, r)
			if r.StatusCode < 300 || r.StatusCode >= 500 || strings.Contains(content, "root:x:") || r.Header.Get("X-Evil") != "" {
				t.Errorf("%s: %s, %.100s", target, r.Status, content)
			}
		}
	}
	for _, p := range []string{"files", "files/uploads", ""} {
		if r := s.Ask(t, access.Admin, "/backups/"+id+"/download/"+p, nil); r.StatusCode != http.StatusBadRequest {
			t.Errorf("a folder %q is downloaded: %s", p, r.Status)
		}
	}
}

func TestCompare(t *testing.T) {
	s := newSite(t)
	ids := ids(t, s)
	content := s.Page(t, access.Viewer, "/backups/compare?former="+ids[0]+"&backup="+ids[1])
	pagestest.Holds(t, content, "table_003", "added", "files/uploads/day.txt")
	same := s.AddBackup(t, "helpdesk", 0, consoletest.Uploads(), consoletest.Tables(3))
	again := s.AddBackup(t, "helpdesk", 0, consoletest.Uploads(), consoletest.Tables(3))
	s.Clock.Pass(time.Minute) // lists are seconds old at most
	pagestest.Holds(t, s.Page(t, access.Viewer, "/backups/compare?former="+same+"&backup="+again), "hold the same")
	for _, bad := range []string{"", "?former=" + ids[0], "?former=" + ids[0] + "&backup=" + ids[0], "?former=..&backup=" + ids[0], "?former=%00&backup=x"} {
		if r := s.Ask(t, access.Viewer, "/backups/compare"+bad, nil); r.StatusCode != http.StatusBadRequest && r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", bad, r.Status)
		}
	}
}

func TestPinVerifyDelete(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[0]
	form := url.Values{}
	if r := s.Ask(t, access.Operator, "/backups/"+id+"/pin", form); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/backups/"+id {
		t.Errorf("pin: %s, %s", r.Status, pagestest.Text(t, r))
	}
	pagestest.Holds(t, s.Page(t, access.Operator, "/backups/"+id), "/unpin")
	pagestest.Holds(t, s.Page(t, access.Admin, "/backups/"+id+"/delete"), "Unpin it first")
	confirmed := url.Values{"confirm": {"helpdesk"}}
	if r := s.Ask(t, access.Admin, "/backups/"+id+"/delete", confirmed); r.StatusCode < 400 {
		t.Errorf("a pinned backup is deleted: %s", r.Status)
	}
	if r := s.Ask(t, access.Operator, "/backups/"+id+"/unpin", form); r.StatusCode != http.StatusSeeOther {
		t.Errorf("unpin: %s", r.Status)
	}
	if r := s.Ask(t, access.Operator, "/backups/"+id+"/verify", form); r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(r.Header.Get("Location"), "/runs/") {
		t.Errorf("verify: %s", r.Status)
	}
	if l := s.Launcher.Launched(); len(l) != 1 || l[0].Kind != core.RunVerify || l[0].By != "the-operator" || l[0].Via != "console" {
		t.Errorf("%+v", l)
	}
	for _, wrong := range []string{"", "Helpdesk", "helpdesk2", "wiki"} {
		if r := s.Ask(t, access.Admin, "/backups/"+id+"/delete", url.Values{"confirm": {wrong}}); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%q deletes it: %s", wrong, r.Status)
		}
	}
	if r := s.Ask(t, access.Operator, "/backups/"+id+"/delete", confirmed); r.StatusCode != http.StatusForbidden {
		t.Errorf("an operator deletes it: %s", r.Status)
	}
	if len(ids(t, s)) != 3 {
		t.Fatal("a backup is gone")
	}
	if r := s.Ask(t, access.Admin, "/backups/"+id+"/delete", confirmed); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/apps/helpdesk" {
		t.Errorf("%s, %s", r.Status, pagestest.Text(t, r))
	}
	if len(ids(t, s)) != 2 {
		t.Error("it is not deleted")
	}
	if r := s.Ask(t, access.Admin, "/backups/"+id, nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("%s", r.Status)
	}
	pagestest.Holds(t, strings.Join(s.Noted, "\n"), "pin "+id+" ok", "delete "+id+" invalid", "delete "+id+" forbidden", "delete "+id+" ok")
}

func TestArchive(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[0]
	pagestest.Holds(t, s.Page(t, access.Admin, "/backups/"+id+"/export"), `value="backstay" checked`, `value="sql"`)
	for _, form := range []url.Values{{}, {"format": {"itop"}}, {"format": {"../x"}}, {"format": {"backstay"}, "password": {"a"}, "again": {"b"}}, {"format": {"sql"}, "password": {"a"}, "again": {"a"}}} {
		if r := s.Ask(t, access.Admin, "/backups/"+id+"/export", form); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%v: %s", form, r.Status)
		}
	}
	r := s.Ask(t, access.Admin, "/backups/"+id+"/export", url.Values{"format": {"backstay"}, "password": {" secret "}, "again": {" secret "}})
	if r.StatusCode != http.StatusSeeOther || len(s.Launcher.Launched()) != 1 {
		t.Fatalf("%s, %+v", r.Status, s.Launcher.Launched())
	}
	launched := s.Launcher.Launched()[0]
	if launched.Secret.Reveal() != " secret " || strings.Contains(strings.Join(launched.Args, " "), "secret") {
		t.Errorf("%+v", launched)
	}
	run, err := strconv.ParseInt(strings.TrimPrefix(r.Header.Get("Location"), "/runs/"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	pagestest.Holds(t, s.Page(t, access.Admin, "/downloads"), fmt.Sprintf(`data-run="%d"`, run), "is being made")
	want := strings.Repeat("archive", 10_000)
	if err := os.WriteFile(filepath.Join(s.StateDir, "console", "downloads", strconv.FormatInt(run, 10), "helpdesk ä.tar.zst"), []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Finish(t, run, core.OutcomeOK, "", "", "")
	target := fmt.Sprintf("/downloads/%d/helpdesk%%20%%C3%%A4.tar.zst", run)
	pagestest.Holds(t, s.Page(t, access.Admin, "/downloads"), target, "the-admin")
	r = s.Ask(t, access.Admin, target, nil)
	if got := pagestest.Text(t, r); r.StatusCode != http.StatusOK || got != want {
		t.Fatalf("%s, %d bytes", r.Status, len(got))
	}
	rest := s.Ask(t, access.Admin, target, nil, "Range", "bytes=100-", "If-Range", r.Header.Get("ETag"))
	if got := pagestest.Text(t, rest); rest.StatusCode != http.StatusPartialContent || got != want[100:] {
		t.Errorf("%s, %d bytes", rest.Status, len(got))
	}
	for _, bad := range []string{fmt.Sprintf("/downloads/%d/other", run), fmt.Sprintf("/downloads/%d/.download.json", run), fmt.Sprintf("/downloads/%d/..%%2f..%%2fx", run), "/downloads/0/x", "/downloads/-1/x", "/downloads/99999999999999999999/x", "/downloads/..%2f1/x", fmt.Sprintf("/downloads/%d/", run)} {
		if r := s.Ask(t, access.Admin, bad, nil); r.StatusCode != http.StatusNotFound && r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", bad, r.Status)
		}
	}
	for _, role := range []access.Role{access.Anyone, access.Viewer, access.Operator} {
		if r := s.Ask(t, role, target, nil); strings.Contains(pagestest.Text(t, r), "archive"+"archive") {
			t.Errorf("%q gets an archive", role)
		}
	}
	if r := s.Ask(t, access.Admin, fmt.Sprintf("/downloads/%d/remove", run), url.Values{}); r.StatusCode != http.StatusSeeOther {
		t.Errorf("%s", r.Status)
	}
	if r := s.Ask(t, access.Admin, target, nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("%s", r.Status)
	}
	pagestest.Holds(t, s.Page(t, access.Admin, "/downloads"), "nothing to download")
}

// TestManyBackups is the list of 5,000 backups, of which the page offers some.
func TestManyBackups(t *testing.T) {
	s := newSite(t)
	for range 300 {
		s.AddBackup(t, "helpdesk", 0, nil, nil)
	}
	content := s.Page(t, access.Admin, "/backups/"+ids(t, s)[0])
	if n := strings.Count(content, "<option"); n < 50 || n > 61 || len(content) > 100_000 {
		t.Errorf("%d options, %d bytes", n, len(content))
	}
}

func TestLanguages(t *testing.T) {
	s := newSite(t)
	id := ids(t, s)[0]
	for language, word := range map[string]string{"de": "Verlässlichkeit", "fr": "Fiabilité", "en": "Trust"} {
		pagestest.Holds(t, pagestest.Text(t, s.Ask(t, access.Viewer, "/backups/"+id, nil, "Accept-Language", language)), word)
	}
}
