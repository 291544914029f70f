package drill

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestKitAlone: on a machine that has nothing but a database server, a copy of
// the repository and the kit, the kit restores the demo's helpdesk: in an empty
// root folder, without an environment.
func TestKitAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change the root folder of a process")
	}
	s := newSite(t)
	kit := filepath.Join(s.dir, "kit.tar")
	pass := filepath.Join(s.dir, "pass")
	if err := os.WriteFile(pass, []byte("a ship in a bottle, twice\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The program in the kit is the one that makes it, which must be the real one.
	program := filepath.Join(t.TempDir(), "backstay")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "github.com/backstay/backstay/cmd/backstay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), program, "--config", s.cfg, "key", "kit", kit, "--passphrase-file", pass).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var wanted struct{ Backups []core.Backup }
	out, err := s.on("list", "--json").Output()
	if err == nil {
		err = json.Unmarshal(out, &wanted)
	}
	if err != nil || len(wanted.Backups) == 0 {
		t.Fatalf("%v: %s", err, out)
	}

	root := t.TempDir()
	place := func(path string) string { return filepath.Join(root, path) }
	unpack(t, kit, root)
	for from, to := range map[string]string{kit: "kit.tar", pass: "pass"} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(place(to), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	repository := filepath.Join(s.dir, "repository")
	if err := errors.Join(os.MkdirAll(place("tmp"), 0o755), os.MkdirAll(place(filepath.Dir(repository)), 0o755), os.CopyFS(place(repository), os.DirFS(repository))); err != nil {
		t.Fatal(err)
	}
	// As in any container: files are told apart by what the system says of them.
	if err := os.Mkdir(place("proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("proc", place("proc"), "proc", syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("this machine lets no file system be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(place("proc"), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	// The server's socket, by another name: all that comes in from outside.
	server := mysqltest.Config(t, "")
	if err := os.Link(server.Socket, place("mysqld.sock")); err != nil {
		t.Skipf("the server's socket cannot be given another name: %v", err)
	}
	inside := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "/backstay", args...)
		cmd.Path, cmd.Err, cmd.Env, cmd.Dir = "/backstay", nil, []string{"TMPDIR=/tmp"}, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return string(out)
	}
	said := inside("key", "open", "/kit.tar", "--into", "/into", "--passphrase-file", "/pass")
	if !strings.Contains(said, "--config /into/backstay.yaml list") {
		t.Errorf("it does not say how to go on: %s", said)
	}
	newest := wanted.Backups[0]
	for _, b := range wanted.Backups {
		if !b.Aside() {
			newest = b
		}
	}
	database := mysqltest.Database(t)
	inside("--config", "/into/backstay.yaml", "--no-progress", "restore", "helpdesk", newest.ID, "--root", "/helpdesk", "--yes", "--no-config", "--force", "not-configured",
		"--database-socket", "/mysqld.sock", "--database-user", server.User, "--database-name", database)

	conn := mysqltest.Connect(t, mysqltest.Config(t, database))
	tables, err := conn.Query(t.Context(), "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE='BASE TABLE' AND TABLE_NAME NOT LIKE '\\_backstay%'")
	if err != nil {
		t.Fatal(err)
	}
	var rows int64
	for _, name := range tables {
		count, err := conn.Query(t.Context(), "SELECT COUNT(*) FROM `"+name[0].Text+"`")
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseInt(count[0][0].Text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		rows += n
	}
	if want := newest.Components[core.ComponentDatabase]; len(tables) != want.Tables || rows != want.Rows {
		t.Errorf("%d tables with %d rows are back, not %d with %d", len(tables), rows, want.Tables, want.Rows)
	}
	var files int64
	err = filepath.WalkDir(place("helpdesk"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files++
		}
		return err
	})
	if want := newest.Components[core.ComponentFiles].Files + newest.Components[core.ComponentConfig].Files; err != nil || files != want {
		t.Errorf("%d files are back, not %d (%v)", files, want, err)
	}
}

// unpack unpacks a kit as any tar does.
func unpack(t *testing.T, kit, into string) {
	t.Helper()
	f, err := os.Open(kit)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		to, err := os.OpenFile(filepath.Join(into, filepath.Base(h.Name)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode())
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(to, r)
		if err = errors.Join(err, to.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
