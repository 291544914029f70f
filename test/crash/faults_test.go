package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// asItWas is what every restore says that failed before or in its switch.
const asItWas = "the live app is wholly as it was"

// again restores once more, to see that it can be done, and goes back.
func (s *site) again() {
	s.t.Helper()
	s.restore("--no-safety-backup").says(0)
	s.want("new")
	s.undo()
	s.drop()
}

// held begins a command and waits until it is held at a statement.
func (s *site) held(w *wire, args ...string) *running {
	s.t.Helper()
	s.config(w.port())
	r := s.start(args...)
	if !r.reaches(w) {
		s.t.Fatal("it was not held")
	}
	s.config(s.server.Port)
	return r
}

// ends waits for the end of a command.
func (s *site) ends(r *running, name string) *ended {
	s.t.Helper()
	<-r.done
	return &ended{s.t, name, r.cmd.ProcessState.ExitCode(), r.stderr.String()}
}

func (s *site) undoing() []string { return []string{"undo", "wiki", "--yes", "--no-wait"} }

// TestServerKilled kills the database server while a restore builds, in the one
// statement of its switch, and in that of an undo.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	server := mysqltest.Start(t, localserver.Options{Name: "killed", TCP: true})
	s := newSite(t, siteOptions{server: server})
	kill := func(w *wire, args ...string) *ended {
		t.Helper()
		r := s.held(w, args...)
		s.ok(server.Kill())
		w.close()
		return s.ends(r, args[0])
	}
	t.Run("building", func(t *testing.T) {
		e := kill(newWire(t, s.target(), first("LOAD DATA", before)), s.restoring("--no-safety-backup")...)
		s.ok(server.Restart(t.Context()))
		e.says(1, asItWas)
		s.want("old")
		s.again() // it removes what was left by itself
	})
	for _, way := range ways {
		t.Run("switching and "+way, func(t *testing.T) {
			e := kill(newWire(t, s.target(), first("RENAME TABLE `"+s.db+"`.`log`", during)), s.restoring("--no-safety-backup")...)
			s.ok(server.Restart(t.Context()))
			e.says(1, "could not be taken back", "backstay undo wiki", "backstay restore --resume wiki")
			s.wayOut(way)
		})
		t.Run("undoing and "+way, func(t *testing.T) {
			s.restores(0, "--no-safety-backup")
			e := kill(newWire(t, s.target(), first("RENAME TABLE", during)), s.undoing()...)
			s.ok(server.Restart(t.Context()))
			e.says(1, "could not be brought to one state", "backstay undo wiki", "backstay restore --resume wiki")
			s.wayOut(way)
		})
	}
	s.goesOn()
}

// TestServerFull has the file system of the server's data be full while a
// restore builds.
func TestServerFull(t *testing.T) {
	t.Parallel()
	disk := filepath.Join(t.TempDir(), "disk")
	mount(t, disk, "size=160m")
	server := mysqltest.Start(t, localserver.Options{Name: "full", TCP: true, Dir: disk})
	s := newSite(t, siteOptions{server: server, rows: 20000})
	w := newWire(t, s.target(), first("LOAD DATA", before))
	r := s.held(w, s.restoring("--no-safety-backup")...)
	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	s.ok(err)
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	s.ok(f.Close())
	w.release()
	e := s.ends(r, "restore with a full disk")
	s.ok(os.Remove(ballast))
	e.says(1, asItWas, "free some space on the database server")
	s.want("old")
	if phases := s.journals(); len(phases) > 0 {
		s.wayOut("resume")
	}
	s.nothingLeft()
	s.goesOn()
}

// TestTablesInUse has another session hold a table when a restore and an undo
// want to switch.
func TestTablesInUse(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{})
	for name, statements := range map[string][]string{
		"transaction": {"START TRANSACTION", "SELECT COUNT(*) FROM pages"},
		"lock":        {"LOCK TABLES pages READ"},
	} {
		hold := func(t *testing.T) *mysql.Conn {
			c, err := mysql.Connect(t.Context(), s.account)
			s.ok(err)
			for _, statement := range statements {
				if strings.HasPrefix(statement, "SELECT") {
					_, err = c.Query(t.Context(), statement)
				} else {
					_, err = c.Exec(t.Context(), statement)
				}
				s.ok(err)
			}
			return c
		}
		t.Run(name, func(t *testing.T) {
			holder := hold(t)
			s.restore("--no-safety-backup").says(11, asItWas, "table pages is in use", s.account.User)
			s.want("old")
			s.nothingLeft()
			s.ok(holder.Close())
			s.restores(0, "--no-safety-backup")
			holder = hold(t)
			s.tries(s.undoing()...).says(11, "table pages is in use", "wholly of backup "+s.backup, "as it was")
			s.want("new")
			s.ok(holder.Close())
			s.undo()
			s.drop()
		})
	}
	s.goesOn()
}

// TestHooksFail has the app's own commands fail.
func TestHooksFail(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{databases: true})
	logged := func() string {
		text, err := os.ReadFile(filepath.Join(s.dir, "log"))
		s.ok(err)
		s.ok(os.Remove(filepath.Join(s.dir, "log")))
		return strings.ReplaceAll(string(text), "\n", " ")
	}
	set := func(on, off, after string) {
		s.hooks = fmt.Sprintf(`hooks: {maintenance_on: ["echo on >> %[1]s/log; %[2]s"], maintenance_off: ["echo off >> %[1]s/log; %[3]s"], after_restore: ["echo after >> %[1]s/log; %[4]s"]}`, s.dir, on, off, after)
		s.config(s.server.Port)
	}
	t.Run("maintenance_on", func(t *testing.T) {
		set("false", "true", "true")
		s.restore("--no-safety-backup").says(1, asItWas, "hooks.maintenance_on[0]")
		s.want("old")
		s.nothingLeft()
		if got := logged(); got != "on off " {
			t.Errorf("hooks: %s", got)
		}
	})
	t.Run("after_restore", func(t *testing.T) {
		set("true", "true", "test -e "+s.dir+"/fixed")
		s.restore("--no-safety-backup").says(3, "hooks.after_restore[0]", "backstay restore --resume wiki", "backstay undo wiki")
		s.want("new")
		if got := logged(); got != "on after off " {
			t.Errorf("hooks: %s", got)
		}
		s.tries("list").says(0, "steps are left to do", "backstay restore --resume wiki")
		s.tries("restore", "--resume", "wiki", "--yes", "--no-wait").says(3, "hooks.after_restore[0]")
		s.write("fixed", "")
		s.tries("restore", "--resume", "wiki", "--yes", "--no-wait").says(0, "wiki is wholly of backup")
		s.want("new")
		logged()
		s.undo()
		s.drop()
		logged()
	})
	t.Run("maintenance_off", func(t *testing.T) {
		set("true", "test -e "+s.dir+"/let", "true")
		s.restore("--no-safety-backup").says(3, "users could not be let in", "hooks.maintenance_off[0]", "backstay restore --resume wiki")
		s.want("new")
		logged()
		s.write("let", "")
		s.tries("restore", "--resume", "wiki", "--yes", "--no-wait").says(0)
		if got := logged(); !strings.HasPrefix(got, "off ") {
			t.Errorf("resume did not let users in: %s", got)
		}
		s.want("new")
		s.undo()
		s.drop()
		logged()
	})
	t.Run("maintenance_on of an undo", func(t *testing.T) {
		set("test ! -e "+s.dir+"/stop", "true", "true")
		s.restores(0, "--no-safety-backup")
		s.write("stop", "")
		logged()
		s.tries(s.undoing()...).says(1, "hooks.maintenance_on[0]", "wholly of backup "+s.backup)
		s.want("new")
		if got := logged(); got != "on off " {
			t.Errorf("hooks: %s", got)
		}
		s.ok(os.Remove(filepath.Join(s.dir, "stop")))
		s.undo()
		s.drop()
	})
	s.hooks = ""
	s.goesOn()
}

// TestRepositoryBroken has data of the backup damaged or gone, and the key be
// another one.
func TestRepositoryBroken(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{})
	s.ok(os.CopyFS(filepath.Join(s.dir, "copy"), os.DirFS(filepath.Join(s.dir, "repo"))))
	forget := func() { // what of it is kept outside it
		entries, err := os.ReadDir(filepath.Join(s.dir, "state"))
		s.ok(err)
		for _, e := range entries {
			if e.Name() != "restores" && e.Name() != "locks" {
				s.ok(os.RemoveAll(filepath.Join(s.dir, "state", e.Name())))
			}
		}
	}
	mend := func() {
		s.ok(os.RemoveAll(filepath.Join(s.dir, "repo")))
		s.ok(os.CopyFS(filepath.Join(s.dir, "repo"), os.DirFS(filepath.Join(s.dir, "copy"))))
		forget()
	}
	t.Run("damaged", func(t *testing.T) {
		for _, name := range s.blobs()["p"] {
			path := filepath.Join(s.dir, "repo", name)
			data, err := os.ReadFile(path)
			s.ok(err)
			for i := len(data) / 3; i < len(data)/3+64; i++ {
				data[i] ^= 0x55
			}
			s.ok(os.Chmod(path, 0o600))
			s.ok(os.WriteFile(path, data, 0o600))
		}
		forget()
		s.tries("restore", "wiki", s.backup, "--dry-run").says(4, "damaged")
		s.restore("--no-safety-backup").says(4, asItWas, "damaged")
		s.want("old")
		s.nothingLeft()
		mend()
	})
	t.Run("gone", func(t *testing.T) {
		for _, name := range s.blobs()["p"] {
			s.ok(os.Remove(filepath.Join(s.dir, "repo", name)))
		}
		forget()
		s.restore("--no-safety-backup").says(4, "the repository is damaged", "hint")
		s.want("old")
		s.nothingLeft()
		mend()
	})
	t.Run("other key", func(t *testing.T) {
		key, err := os.ReadFile(filepath.Join(s.dir, "repository.key"))
		s.ok(err)
		s.write("repository.key", strings.Repeat("0", 64)+"\n")
		s.restore().says(12, "hint")
		s.want("old")
		s.write("repository.key", string(key))
	})
	t.Run("undo without it", func(t *testing.T) {
		s.restores(0, "--no-safety-backup")
		s.ok(os.RemoveAll(filepath.Join(s.dir, "repo")))
		s.undo()
		mend()
		s.drop()
	})
	s.goesOn()
}

// TestMissingRights takes one right after the other from the account.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{})
	root := mysqltest.ConfigOf(s.server, "")
	on := " ON `" + strings.ReplaceAll(s.db, "_", `\_`) + "`.* "
	account := mysql.QuoteText(s.account.User) + "@'%'"
	for _, right := range []string{"CREATE", "DROP", "ALTER", "INSERT", "TRIGGER", "CREATE ROUTINE", "EVENT"} {
		t.Run(right, func(t *testing.T) {
			mysqltest.ExecOn(t, root, "REVOKE "+right+on+"FROM "+account)
			s.restore("--no-safety-backup").says(1, "nothing was changed", right)
			s.want("old")
			s.nothingLeft()
			mysqltest.ExecOn(t, root, "GRANT "+right+on+"TO "+account)
		})
	}
	s.goesOn()
}

// TestOfParts restores backups that are empty or hold a part of the app, and
// parts of backups.
func TestOfParts(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{})
	old := func() { t.Helper(); s.undo(); s.drop() }
	newest := func() string { t.Helper(); ids := s.list(); return ids[len(ids)-1] }
	t.Run("clean", func(t *testing.T) {
		s.restore("--no-safety-backup", "--clean").says(0)
		now := s.state()
		for _, gone := range []string{"rows of extra", "file uploads/extra.txt"} {
			if now[gone] != "" {
				t.Errorf("%s is still there", gone)
			}
		}
		old()
	})
	t.Run("database", func(t *testing.T) {
		s.tries("backup", "--only", "database").says(0)
		before := s.state()
		s.execute("DELETE FROM pages")
		s.write("apps/app/uploads/a.txt", "once more\n")
		s.tries("restore", "wiki", newest(), "--yes", "--no-safety-backup").says(0, "holds only a part of the app")
		now := s.state()
		if now["rows of pages"] != before["rows of pages"] || now["file uploads/a.txt"] == before["file uploads/a.txt"] {
			t.Error("not the tables alone were restored")
		}
		s.tries(s.undoing()...).says(0)
		s.drop()
	})
	t.Run("empty", func(t *testing.T) {
		was := s.state()
		e := newEmptySite(t)
		if e.state()["rows of later"] == "" {
			t.Error("a table that the empty backup does not have is gone")
		}
		if diff := cmp.Diff(was, s.state()); diff != "" {
			t.Error(diff)
		}
	})
}

// newEmptySite backs up an app with no tables and no files, fills it, and
// restores the backup with and without what it does not have.
func newEmptySite(t *testing.T) *site {
	t.Helper()
	p := &place{t: t, dir: t.TempDir(), server: mysqltest.Server(t)}
	s := &site{place: p}
	s.makeAccount(false, true)
	p.appRoot = filepath.Join(p.dir, "apps/app")
	for _, d := range []string{"tmp", "home", "apps/app/uploads"} {
		p.ok(os.MkdirAll(filepath.Join(p.dir, d), 0o700))
	}
	p.write("db.pw", p.password+"\n")
	p.config(s.server.Port)
	p.runs(0, "init")
	p.runs(3, "backup") // it wonders
	s.backup = p.list()[0]
	s.execute("CREATE TABLE later (id INT PRIMARY KEY)", "INSERT INTO later VALUES (1)")
	p.write("apps/app/uploads/later.txt", "later\n")
	s.old = s.state()
	s.restore().says(0)
	if now := s.state(); now["rows of later"] != s.old["rows of later"] || now["file uploads/later.txt"] != s.old["file uploads/later.txt"] {
		t.Errorf("what an empty backup does not have did not stay: %v", now)
	}
	s.undo()
	s.drop()
	s.restore("--clean", "--force", "incomplete-backup").says(0)
	if now := s.state(); now["rows of later"] != "" || now["file uploads/later.txt"] != "" {
		t.Errorf("restored clean from an empty backup: %v", now)
	}
	s.undo()
	s.drop()
	s.restore("--only", "database").says(0)
	s.want("old")
	return s
}

// TestAtOnce has operations on one app meet.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{databases: true})
	gatePath := filepath.Join(s.dir, "gate")
	s.ok(syscall.Mkfifo(gatePath, 0o600))
	wait := fmt.Sprintf(`"echo > %[1]s/started; timeout 60 head -n 1 %[1]s/gate > %[1]s/line"`, s.dir)
	begin := func(hooks string, args ...string) *running {
		t.Helper()
		s.hooks = hooks
		s.config(s.server.Port)
		r := s.start(args...)
		s.wait("it to begin", func() bool { _, err := os.Stat(filepath.Join(s.dir, "started")); return err == nil })
		s.hooks = ""
		s.config(s.server.Port)
		return r
	}
	finish := func(r *running, name string) {
		t.Helper()
		s.ok(os.WriteFile(gatePath, []byte("\n"), 0o600))
		s.ends(r, name).says(0)
		s.ok(os.Remove(filepath.Join(s.dir, "started")))
	}
	busy := func() {
		t.Helper()
		for _, args := range [][]string{s.restoring(), {"backup", "--no-wait"}, s.undoing(), {"undo", "wiki", "--drop", "--yes", "--no-wait"}, {"restore", "--resume", "wiki", "--yes", "--no-wait"}} {
			if e := s.tries(args...); e.code != 11 && !(e.code == 1 && strings.Contains(e.output, "no restore of it is kept")) {
				e.says(11, "another operation works on it")
			}
		}
	}
	r := begin("hooks: {maintenance_on: ["+wait+"], maintenance_off: [\"true\"]}", s.restoring("--no-safety-backup")...)
	busy()
	finish(r, "restore")
	s.want("new")
	s.undo()
	s.drop()

	r = begin("hooks: {before: ["+wait+"]}", "backup")
	busy()
	s.want("old")
	finish(r, "backup")

	s.restores(0, "--no-safety-backup")
	r = begin("hooks: {maintenance_on: ["+wait+"], maintenance_off: [\"true\"]}", s.undoing()...)
	busy()
	finish(r, "undo")
	s.want("old")
	s.drop()
	s.goesOn()
}

// TestInterruptedRestore interrupts a restore while it builds, while it waits
// for users to be out, in its switch, and while its last steps run.
func TestInterruptedRestore(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{})
	for name, signal := range map[string]syscall.Signal{"interrupt": syscall.SIGINT, "terminate": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, s.target(), first("LOAD DATA", before))
			r := s.held(w, s.restoring("--no-safety-backup")...)
			s.ok(r.cmd.Process.Signal(signal))
			w.release()
			s.ends(r, "restore, interrupted while it loads").says(130, "cancelled", "backstay: hint: ")
			w.close()
			s.alone()
			s.want("old")
			if !strings.Contains(r.stderr.String(), asItWas) {
				t.Errorf("it does not say what the app is:\n%s", &r.stderr)
			}
			if phases := s.journals(); len(phases) > 0 { // the silent server could not be cleaned
				s.wayOut("undo")
			}

			s.hooks = fmt.Sprintf(`hooks: {maintenance_on: ["echo > %[1]s/started; sleep 60"], maintenance_off: ["echo > %[1]s/ended"]}`, s.dir)
			s.config(s.server.Port)
			r = s.start(s.restoring("--no-safety-backup")...)
			s.wait("the hook", func() bool { return os.Remove(filepath.Join(s.dir, "started")) == nil })
			r.end(signal)
			s.want("old")
			s.ok(os.Remove(filepath.Join(s.dir, "ended")))
			s.nothingLeft()
			if !strings.Contains(r.stderr.String(), asItWas) {
				t.Errorf("it does not say what the app is:\n%s", &r.stderr)
			}

			s.hooks = ""
			s.config(s.server.Port)
			w = newWire(t, s.target(), first("RENAME TABLE", before))
			r = s.held(w, s.restoring("--no-safety-backup")...)
			s.ok(r.cmd.Process.Signal(signal))
			w.release()
			interrupted := []string{"the app is wholly of backup " + s.backup, "cancelled", "backstay restore --resume wiki"}
			s.ends(r, "restore, interrupted in its switch").says(130, interrupted...)
			s.wantUnsettled("new")
			w.close()
			s.alone()
			s.wayOut("resume")

			s.hooks = fmt.Sprintf(`hooks: {after_restore: ["echo > %[1]s/started; sleep 60"]}`, s.dir)
			s.config(s.server.Port)
			r = s.start(s.restoring("--no-safety-backup")...)
			s.wait("the hook", func() bool { return os.Remove(filepath.Join(s.dir, "started")) == nil })
			s.ok(r.cmd.Process.Signal(signal))
			s.ends(r, "restore, interrupted in its last steps").says(130, interrupted...)
			s.wantUnsettled("new")
			s.hooks = ""
			s.config(s.server.Port)
			s.wayOut("resume")
		})
	}
	s.goesOn()
}

// TestStateFolderReadOnly has the folder of journals and locks be read-only.
func TestStateFolderReadOnly(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root mounts file systems")
	}
	s := newSite(t, siteOptions{})
	dir := filepath.Join(s.dir, "state")
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("no folder can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	readonly := func(is bool) {
		flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT)
		if is {
			flags |= unix.MS_RDONLY
		}
		s.ok(unix.Mount(dir, dir, "", flags, ""))
	}
	readonly(true)
	s.restore("--no-safety-backup").says(1, "read-only file system", "hint")
	s.want("old")
	readonly(false)
	s.nothingLeft()
	s.restores(0, "--no-safety-backup")
	readonly(true)
	s.tries(s.undoing()...).says(1, "read-only file system", "hint")
	s.want("new")
	readonly(false)
	s.undo()
	s.drop()
	s.goesOn()
}

// TestPartAfterWhole restores a part while what a whole restore replaced is kept,
// or was being built when it was killed: what is left of the whole one goes.
func TestPartAfterWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{databases: true})
	s.restores(0, "--no-safety-backup")
	s.write("apps/app/app.ini", "x=3\n")
	s.restores(0, "--no-safety-backup", "--only", "config")
	if n := len(s.journals()); n != 1 {
		t.Errorf("%d restores are kept, want the last one only", n)
	}
	s.tries(s.undoing()...).says(0)
	s.drop()

	w := newWire(t, s.target(), first("LOAD DATA", after))
	r := s.held(w, s.restoring("--no-safety-backup")...)
	r.end(syscall.SIGKILL)
	w.close()
	s.alone()
	s.restores(0, "--no-safety-backup", "--only", "config")
	s.tries(s.undoing()...).says(0)
	s.drop()
}
