package readme

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

var update = flag.Bool("update", false, "write what the commands print now into the guides in docs, and into README.md what the service shows")

// guide is a machine on which the commands of a page run: with a helpdesk, an
// iTop of a few files, and a database for each.
type guide struct {
	t           *testing.T
	page, dir   string
	section     string // the heading below which its commands are; "": all of the page
	env         []string
	here, there *strings.Replacer // of the page's paths, and back
}

// Of two runs of the same command these differ.
var (
	progress  = regexp.MustCompile(`(?m)^(?:backstay: [^:]+: (?:[\d.,]+ [kMG]?B |done )?in [\d.,]+ (?:ms|s|min).*|  (?:it is )?the newest backup of .*)\n`) // of two of one time either is the newest
	versionOf = regexp.MustCompile(`(scratch database of|into database \S+ on) (?:mariadb|mysql) [^,;\s]+`)
	link      = regexp.MustCompile(`key=[\w-]{43}`)
	position  = regexp.MustCompile(`begins at line \d+|the dump ends inside .*|ends too early.*| \(line \d+\)`)
)

func newGuide(t *testing.T, page string) *guide {
	t.Helper()
	if !mysqltest.OnMariaDB(t) {
		t.Skip(page + " shows MariaDB's programs and messages")
	}
	for _, program := range []string{"bash", "tar", "gzip", "zstd", "sha256sum", "mariadb", "mariadb-dump"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s needs %s, which is not installed", page, program)
		}
	}
	dir := t.TempDir()
	g := &guide{t: t, page: filepath.Join("../../docs", page), dir: dir}
	g.env = append(os.Environ(), "TZ=UTC", "PATH="+dir+"/bin:"+os.Getenv("PATH"), "BACKSTAY_CONFIG="+dir+"/backstay.yaml", "HOME="+dir)
	names := []string{
		"/srv/archives", dir + "/archives", "/root/backup.cnf", dir + "/backup.cnf", "/usr/local/sbin", dir + "/sbin", "/var/www/itop", dir + "/itop",
		"/var/www/helpdesk", dir + "/www", "/run/mysqld/mysqld.sock", mysqltest.Server(t).Socket,
	}
	var back []string
	for i := 0; i < len(names); i += 2 {
		back = append(back, names[i+1], names[i])
	}
	g.here, g.there = strings.NewReplacer(names...), strings.NewReplacer(back...)
	g.prepare()
	return g
}

// prepare makes what the page takes for granted.
func (g *guide) prepare() {
	g.t.Helper()
	root, err := filepath.Abs("../..")
	g.ok(err)
	socket := mysqltest.Server(g.t).Socket
	for _, sub := range []string{"archives", "sbin", "itop/conf/production", "itop/data/production-modules/mine", "itop/extensions/ours"} {
		g.ok(os.MkdirAll(filepath.Join(g.dir, sub), 0o755))
	}
	client := "[client]\nuser=root\nsocket=" + socket + "\n"
	for name, text := range map[string]string{
		"backup.cnf": client, ".my.cnf": client,
		"itop/conf/production/config-itop.php": "<?php\n$MySettings = array(\n\t'db_host' => 'localhost',\n\t'db_user' => 'itop',\n\t'db_pwd' => 'secret',\n\t'db_name' => 'itop',\n\t'db_subname' => '',\n);\n$MyModuleSettings = array();\n$MyModules = array();\n",
		"itop/data/production.delta.xml":       "<itop_design/>\n", "itop/data/production-modules/mine/module.mine.php": "<?php\n", "itop/extensions/ours/extension.xml": "<extension/>\n",
	} {
		g.ok(os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o600))
	}
	build := exec.CommandContext(g.t.Context(), "go", "build", "-o", filepath.Join(g.dir, "bin/backstay"), "./cmd/backstay")
	build.Dir = root // with the home folder, and so the cache, of whoever runs the test
	if out, err := build.CombinedOutput(); err != nil {
		g.t.Fatalf("go build: %v\n%s", err, out)
	}
	g.must("backstay demo --size 20 --keep=" + g.dir + "/demo")
	g.t.Cleanup(g.drop)
	g.must("backstay restore helpdesk latest --repository file://" + g.dir + "/demo/repository --password-file " + g.dir + "/demo/repository.key --root " + g.dir +
		"/www --state-dir " + g.dir + "/state --database-socket " + socket + " --database-user root --database-name helpdesk --yes --no-safety-backup")
	g.must("printf '  - {name: itop, profile: itop, root: " + g.dir + "/itop}\n' >> " + g.dir + "/backstay.yaml")
	g.must("backstay undo helpdesk --drop --yes")
	g.must("backstay backup helpdesk")
	mysqltest.Exec(g.t, "CREATE DATABASE itop CHARACTER SET utf8mb4")
	mysqltest.ExecIn(g.t, "itop",
		"CREATE TABLE priv_module_install (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255), version VARCHAR(255), installed DATETIME, parent_id INT)",
		"CREATE TABLE priv_extension_install (id INT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(255), label VARCHAR(255), version VARCHAR(255), source VARCHAR(255), installed DATETIME)",
		"INSERT INTO priv_module_install VALUES (1, 'datamodel', '3.3.0', '2026-01-01', 0), (2, 'iTop', '3.3.0', '2026-01-01', 0), (3, 'itop-tickets', '3.3.0', '2026-01-01', 2)",
		"CREATE TABLE ticket (id INT PRIMARY KEY, title VARCHAR(255), weight FLOAT)", "INSERT INTO ticket VALUES (1, 'printer 🔥', 16777217), (2, 'network', 0.1)",
		"CREATE PROCEDURE close_all() DELETE FROM ticket")
}

func (g *guide) drop() {
	for _, name := range []string{"helpdesk", "helpdesk_copy", "itop", "look_at_it"} {
		cmd := exec.Command("mariadb", "-e", "DROP DATABASE IF EXISTS "+name)
		cmd.Env = g.env
		if out, err := cmd.CombinedOutput(); err != nil {
			g.t.Errorf("drop database %s: %v\n%s", name, err, out)
		}
	}
}

func (g *guide) ok(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// run runs a command in the folder of the archives and returns what it prints.
func (g *guide) run(command string) (string, error) {
	cmd := exec.CommandContext(g.t.Context(), "bash", "-c", command)
	cmd.Dir, cmd.Env = filepath.Join(g.dir, "archives"), g.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (g *guide) must(command string) {
	g.t.Helper()
	if out, err := g.run(command); err != nil {
		g.t.Fatalf("$ %s\n%v\n%s", command, err, out)
	}
}

// scripts saves the scripts of the page under the names that their second
// lines have.
func (g *guide) scripts(text string) {
	g.t.Helper()
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(#!/bin/bash\n# ([a-z-]+) .*?)^```$").FindAllStringSubmatch(text, -1) {
		g.ok(os.WriteFile(filepath.Join(g.dir, "sbin", block[2]), []byte(g.here.Replace(block[1])), 0o700))
	}
}

// follow runs the page's commands in their order.
func (g *guide) follow(least int) {
	t := g.t
	t.Helper()
	raw, err := os.ReadFile(g.page)
	g.ok(err)
	head, text, tail := sectionOf(t, string(raw), g.section)
	g.scripts(text)
	all := steps(t, text)
	if len(all) < least {
		t.Fatalf("%s has only %d commands in console blocks", g.page, len(all))
	}
	done := ""
	for _, s := range all {
		command := g.here.Replace(s.command)
		got, err := g.run(command)
		if err != nil {
			t.Fatalf("$ %s\n%v\n%s", s.command, err, got)
		}
		got = g.there.Replace(progress.ReplaceAllString(got, ""))
		if *update {
			before, after, _ := strings.Cut(text[len(done):], "$ "+s.command+"\n"+s.output)
			done += before + "$ " + s.command + "\n" + got
			text = done + after
			continue
		}
		if diff := cmp.Diff(same(s.output), same(got)); diff != "" {
			t.Errorf("$ %s\nprints something else than %s shows (-shown +now, numbers as N):\n%s\n%s", s.command, g.page, diff, got)
		}
	}
	if *update {
		g.ok(os.WriteFile(g.page, []byte(head+text+tail), 0o644))
	}
}

// sectionOf cuts out what stands below a heading, to the next.
func sectionOf(t *testing.T, page, heading string) (head, section, tail string) {
	t.Helper()
	if heading == "" {
		return "", page, ""
	}
	head, section, ok := strings.Cut(page, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("the page has no section %q", heading)
	}
	head += "\n## " + heading + "\n"
	if i := strings.Index(section, "\n## "); i >= 0 {
		section, tail = section[:i], section[i:]
	}
	return head, section, tail
}

// same leaves of an output what is the same on another machine and another day.
func same(s string) string {
	s = versionOf.ReplaceAllString(s, "$1 SERVER")
	s = link.ReplaceAllString(s, "key=SECRET")
	return normal(position.ReplaceAllString(s, "PLACE"))
}

func TestArchivesGuide(t *testing.T) { newGuide(t, "archives.md").follow(20) }

func TestManualBackupGuide(t *testing.T) {
	g := newGuide(t, "manual-backup.md")
	g.follow(7)
	// What the table on the page says of the lines that are usual.
	for _, claim := range []struct{ command, want string }{
		{"mysqldump --opt --default-character-set=utf8mb4 --single-transaction --add-drop-database itop > usual.sql; grep -c -e PROCEDURE -e 'DROP DATABASE' usual.sql || true", "0"},
		{"grep -o '16777[0-9]*' usual.sql", "16777200"},
		{"mysqldump --user=nobody --password=wrong itop 2>/dev/null | gzip > nothing.sql.gz; echo $? $(stat -c %s nothing.sql.gz)", "0 20"},
		{"mysqldump --default-character-set=utf8mb3 itop ticket | grep -c 'printer ?'", "1"},
		{"umask 022; mysqldump itop > open.sql; stat -c %a open.sql", "644"},
		{"stat -c %a itop.sql.gz itop.sql.gz.sha256 itop-by-hand.tar.gz itop-files.tar.gz | sort -u", "600"},
		{"mysqldump itop | sed '$d' > short.sql; backstay import itop short.sql --dry-run > /dev/null 2>&1; echo $?", "4"},
		{"mariadb -e 'CREATE DATABASE look_at_it' && mariadb look_at_it < short.sql; echo $?", "0"},
		{"backstay ls itop@latest files/app/data/production-modules/mine | grep -c module.mine.php", "1"},
	} {
		got, err := g.run(claim.command)
		if err != nil || strings.TrimSpace(got) != claim.want {
			t.Errorf("$ %s\nprints %q (%v), and docs/manual-backup.md rests on %q", claim.command, strings.TrimSpace(got), err, claim.want)
		}
	}
}
