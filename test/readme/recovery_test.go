package readme

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// TestDisasterRecovery follows docs/disaster-recovery.md: with the repository of
// a machine that is gone, on a database server that has nothing of it.
func TestDisasterRecovery(t *testing.T) {
	text, err := os.ReadFile("../../docs/disaster-recovery.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	socket := mysqltest.Server(t).Socket
	env := append(os.Environ(), "TZ=UTC", "PATH="+dir+"/bin:"+os.Getenv("PATH"), "BACKSTAY_CONFIG="+dir+"/backstay.yaml")
	run := func(command string) (stdout string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", command)
		cmd.Dir, cmd.Env = dir, env
		var out, errors bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errors
		if err := cmd.Run(); err != nil {
			t.Fatalf("$ %s\n%v\n%s%s", command, err, out.String(), errors.String())
		}
		return out.String()
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	run("cd " + root + " && go build -o " + dir + "/bin/backstay ./cmd/backstay")
	run("backstay demo --size 20 --keep=" + dir + "/gone")
	t.Cleanup(func() {
		conn, err := mysql.Connect(context.WithoutCancel(t.Context()), mysqltest.Config(t, ""))
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := conn.Exec(context.WithoutCancel(t.Context()), "DROP DATABASE IF EXISTS helpdesk"); err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	names := []string{
		"/mnt/backups/repository", dir + "/gone/repository", "/root/repository.key", dir + "/gone/repository.key", "/var/www/helpdesk", dir + "/www",
		"/run/mysqld/mysqld.sock", socket, "/etc/backstay/backstay.yaml", dir + "/backstay.yaml", "/var/www", dir,
	}
	var back []string
	for i := 0; i < len(names); i += 2 {
		back = append(back, names[i+1], names[i])
	}
	here, there := strings.NewReplacer(names...), strings.NewReplacer(back...)
	all := steps(t, string(text))
	if len(all) < 4 {
		t.Fatalf("docs/disaster-recovery.md has only %d commands in console blocks", len(all))
	}
	for _, s := range all {
		command := here.Replace(s.command)
		if strings.Contains(command, "--repository") { // its default lies outside of the test's folder
			command += " --state-dir " + dir + "/state"
		}
		got := there.Replace(run(command))
		server := regexp.MustCompile(`, (?:mariadb|mysql) \S+`)
		want, now := normal(server.ReplaceAllString(s.output, "")), normal(server.ReplaceAllString(got, ""))
		if diff := cmp.Diff(want, now); diff != "" {
			t.Errorf("$ %s\nprints something else than docs/disaster-recovery.md shows (-shown +now, numbers as N):\n%s\n%s", s.command, diff, got)
		}
	}
}
