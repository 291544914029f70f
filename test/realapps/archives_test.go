package realapps

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// imports is what import says.
type imports struct {
	Imports []struct {
		Archive archive.Info   `json:"archive"`
		Flaws   []archive.Flaw `json:"flaws"`
		Backup  *core.Backup   `json:"backup"`
		Server  string         `json:"scratch_server"`
	} `json:"imports"`
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
	} `json:"error"`
}

// run runs a subtest in which the application is used.
func (a *app) run(name string, test func(t *testing.T)) {
	outer := a.t
	outer.Run(name, func(t *testing.T) {
		a.t = t
		defer func() { a.t = outer }()
		test(t)
	})
}

// imported imports an archive and looks whether the backup is sound.
func (a *app) imported(file string, args ...string) core.Backup {
	a.t.Helper()
	var done imports
	began := time.Now()
	a.backstay(0, &done, append([]string{"import", a.name, file}, args...)...)
	if len(done.Imports) != 1 || done.Imports[0].Backup == nil {
		a.t.Fatalf("import %s: %+v", file, done)
	}
	b := *done.Imports[0].Backup
	a.t.Logf("imported %s in %v, on %s", filepath.Base(file), time.Since(began).Round(time.Millisecond), done.Imports[0].Server)
	a.backstay(0, nil, "verify", b.ID)
	return b
}

// exported is what export says.
type exported struct {
	Exported struct {
		File     string         `json:"file"`
		Bytes    int64          `json:"bytes"`
		Warnings []core.Warning `json:"warnings"`
	} `json:"exported"`
}

// export writes the latest backup as an archive and reports how long it took.
func (a *app) export(exit int, file string, args ...string) []core.Warning {
	a.t.Helper()
	var done exported
	began := time.Now()
	a.backstay(exit, &done, append([]string{"export", a.name + "@latest", file}, args...)...)
	a.t.Logf("exported %s in %v: %d bytes, warnings %v", filepath.Base(file), time.Since(began).Round(time.Millisecond), done.Exported.Bytes, done.Exported.Warnings)
	info, err := os.Stat(file)
	if err != nil {
		a.t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() != done.Exported.Bytes {
		a.t.Errorf("%s has mode %v and %d bytes, want 0600 and %d", file, info.Mode(), info.Size(), done.Exported.Bytes)
	}
	return done.Exported.Warnings
}

// unlike lists the tables whose rows differ, or which only one has.
func unlike(a, b map[string]string) (names []string) {
	all := maps.Clone(a)
	maps.Copy(all, b)
	for table := range all {
		if a[table] != b[table] {
			names = append(names, table)
		}
	}
	slices.Sort(names)
	return names
}

// sums are the checksums of a database's tables.
func (r *running) sums(database string) map[string]string {
	r.t.Helper()
	sums, err := mysqltest.ChecksumOf(r.t.Context(), r.config(database))
	r.ok(err)
	return sums
}

// reference loads a dump with the server's own client, and returns the
// checksums of what came of it.
func (r *running) reference(dump string) map[string]string {
	r.t.Helper()
	const name = "reference"
	mysqltest.ExecOn(r.t, r.config(""), "DROP DATABASE IF EXISTS "+name, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
	r.client(name, "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';\n"+dump) // ITFlow's own dump forgets it
	sums := r.sums(name)
	mysqltest.ExecOn(r.t, r.config(""), "DROP DATABASE "+name)
	return sums
}

// client runs SQL as a person would, with the server's client.
func (r *running) client(database, sql string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), tool(r.t, "mariadb", "mysql"), "--no-defaults", "--user=root", "--socket="+r.server.Socket, "--default-character-set=utf8mb4", database)
	cmd.Stdin = strings.NewReader(sql)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("the client: %v\n%s", err, out)
	}
}

// tool returns the first of these programs that is installed.
func tool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("none of %v is installed", names)
	return ""
}

// passTo gives a file to the web server's user, who runs the application's scripts.
func (r *running) passTo(file string) string {
	r.t.Helper()
	if r.who == nil {
		return file
	}
	to := filepath.Join(filepath.Dir(r.root), "handed-"+filepath.Base(file))
	data, err := os.ReadFile(file)
	r.ok(err)
	r.ok(os.WriteFile(to, data, 0o600))
	r.ok(os.Chown(to, int(r.who.Uid), int(r.who.Gid)))
	return to
}

// inFolders keeps what lies below the folders, and drops what transient says.
func inFolders(files map[string]string, transient []string, folders ...string) map[string]string {
	below := func(path string) func(string) bool {
		return func(folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }
	}
	out := maps.Clone(files)
	maps.DeleteFunc(out, func(path, _ string) bool {
		return !slices.ContainsFunc(folders, below(path)) || slices.ContainsFunc(transient, below(path))
	})
	return out
}

// contents are the files below a folder by their bytes alone: what archives
// without owners, times and empty folders can bring back.
func contents(files map[string]string) map[string]string {
	out := map[string]string{}
	for path, text := range files {
		if !strings.HasPrefix(text, "d") && !strings.HasPrefix(text, "L") {
			out[path] = text[strings.LastIndex(text, " ")+1:]
		}
	}
	return out
}

// owners are the owners of files.
func owners(files map[string]string) map[string]string {
	out := map[string]string{}
	for path, text := range files {
		out[path] = strings.Fields(text)[1]
	}
	return out
}

// awkward are values that readers of SQL stumble over: of every byte, of
// characters outside the basic plane, ends of lines and of statements, comments,
// escapes, and what clients take for commands.
func awkward() []string {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return []string{
		"", "NULL", `\N`, `\`, `ends with \`, `it's "quoted" \' \"`, "one;\ntwo;\r\nthree;\r", "-- no comment\n# none either\n/* nor this */;\n", "DELIMITER $$\n;\n$$\n",
		"\\! id\n\\. /etc/passwd\nsource /etc/passwd\nuse mysql;\n", "nul \x00, \x1a, \b\t end", "ünï 中文 👩‍👩‍👧‍👦 🔥", "%_`${x}", "/*!50000 SELECT 1 */", "');\nDROP TABLE clients;\n--", strings.Repeat("x;\n", 40_000),
		" trailing \n", "\n\n;", ";", "--", "#", string(every),
	}
}

// makeAwkward adds a table of every kind of value. all: with those that ITFlow
// has no column of, and whose backup writes them in a way that says something
// else: bits and geometry as text, and TIMESTAMPs without their time zone.
func (r *running) makeAwkward(all bool) {
	r.t.Helper()
	const columns = "id INT AUTO_INCREMENT PRIMARY KEY, bytes LONGBLOB, words LONGTEXT, few VARBINARY(300), bits BIT(9), f FLOAT, d DOUBLE, n DECIMAL(30,10), at DATETIME(6), ts TIMESTAMP(3) NULL, y YEAR, t TIME(6), e ENUM('a;','b''','\\\\'), doc JSON, place GEOMETRY"
	mysqltest.ExecOn(r.t, r.config(r.name), "CREATE TABLE rig_awkward ("+columns+") CHARACTER SET utf8mb4 COMMENT 'it''s; -- odd'",
		"SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO'",
		"INSERT INTO rig_awkward (id, f, d, n, bits, at, ts, y, t, e, doc, place) VALUES (0, 0.1, 0.1, -12345678901234567890.0123456789, b'101000001', '2026-11-23 01:02:03.000001', '2026-10-25 02:30:00.5', 1999, '-12:34:56.000007', '\\\\', '{\"a\": \"\\\\n;\"}', ST_GeomFromText('POINT(1.1 2.2)')),"+
			" (5, 1/3, 1/3, 0, 0, NULL, NULL, NULL, NULL, 'a;', NULL, NULL), (6, 16777217, 1e308, 0, 1, '0001-01-01', NULL, 2155, '838:59:59', 'b''', '[]', NULL), (7, 3.4028235e38, 2.2250738585072014e-308, 1, 511, NULL, NULL, NULL, NULL, NULL, '\"x\"', NULL), (8, 1.17549435e-38, -0e0, 1, 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL)")
	if !all {
		mysqltest.ExecOn(r.t, r.config(r.name), "ALTER TABLE rig_awkward DROP bits, DROP place, DROP ts")
	}
	for _, value := range awkward() {
		words := fmt.Sprintf("CONVERT(X'%x' USING utf8mb4)", value)
		if !utf8.ValidString(value) {
			words = "NULL"
		}
		mysqltest.ExecOn(r.t, r.config(r.name), fmt.Sprintf("INSERT INTO rig_awkward (bytes, words, few) VALUES (X'%x', %s, LEFT(X'%[1]x', 300))", value, words))
	}
}

// same compares two sets of checksums, but for some tables.
func (r *running) same(what string, want, got map[string]string, but ...string) {
	r.t.Helper()
	var differ []string
	for _, table := range unlike(want, got) {
		if !slices.Contains(but, table) {
			differ = append(differ, fmt.Sprintf("%s (%s, now %s)", table, want[table], got[table]))
		}
	}
	if len(differ) > 0 {
		r.t.Errorf("%s: %d of %d tables differ: %v", what, len(differ), len(want), differ)
	}
}

// sameFiles compares files.
func (r *running) sameFiles(what string, want, got map[string]string) {
	r.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("%s: files, before (-) and after (+):\n%s", what, diff)
	}
}

// restoreArchive restores an archive over the live application.
func (r *running) restoreArchive(file string, args ...string) {
	r.t.Helper()
	began := time.Now()
	var done outcome
	r.backstay(0, &done, append([]string{"restore", r.name, "--from-archive", file, "--yes"}, args...)...)
	r.t.Logf("restore --from-archive %s: %v", filepath.Base(file), time.Since(began).Round(time.Millisecond))
	r.switched("restore --from-archive "+filepath.Base(file), done)
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nothing was sent
	return l.Addr().(*net.TCPAddr).Port
}

func hexOf(text string) string { return hex.EncodeToString([]byte(text)) }
