package crash

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// of says whether a call changes the app's files, what lies beside them, or the
// journal, or brings them to disk.
func (s *site) of(c call) bool {
	switch c.nr {
	case unix.SYS_OPENAT, unix.SYS_WRITE:
		return false
	}
	return strings.HasPrefix(c.path, s.dir+"/apps") || strings.HasPrefix(c.path, s.dir+"/state/restores")
}

// step is how many calls a test goes on by: it takes some of them, which are
// others each time that the number of calls changes.
func step(every int) int {
	if long() {
		return 1
	}
	return every
}

// TestKilledBetweenCalls kills a restore and its undoing before calls of the
// system that change files, that is also before each step is noted in the
// journal, and before anything is synced.
func TestKilledBetweenCalls(t *testing.T) {
	t.Parallel()
	for _, undoing := range []bool{false, true} {
		t.Run(word(undoing, "undo", "restore"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, siteOptions{databases: undoing})
			for at, turn := 0, 0; ; at, turn = at+step(6), turn+1 {
				args := s.restoring("--no-safety-backup")
				if undoing {
					s.restores(0, "--no-safety-backup")
					args = []string{"undo", "wiki", "--yes", "--no-wait"}
				}
				seen, last := 0, call{}
				e := s.traced(func(c call) verdict {
					if !s.of(c) {
						return verdict{}
					}
					seen, last = seen+1, c
					return verdict{kill: seen > at}
				}, args...)
				if e.code == 0 { // there are no more
					break
				}
				e.says(-1)
				s.alone()
				t.Logf("%d: killed at %s, as it was %v", at, strings.ReplaceAll(last.String(), s.dir, ""), s.journals())
				s.wayOut(ways[turn%2])
			}
			if !undoing {
				s.undo()
			}
			s.drop()
			s.goesOn()
		})
	}
}

// TestDiskFullAtEveryCall has calls that change files fail for want of room,
// one in each restore.
func TestDiskFullAtEveryCall(t *testing.T) {
	t.Parallel()
	for _, undoing := range []bool{false, true} {
		t.Run(word(undoing, "undo", "restore"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, siteOptions{})
			for at := 0; ; at += step(6) {
				args := s.restoring("--no-safety-backup")
				if undoing {
					s.restores(0, "--no-safety-backup")
					args = []string{"undo", "wiki", "--yes", "--no-wait"}
				}
				seen, last := 0, call{}
				e := s.traced(func(c call) verdict {
					if !s.of(c) || c.nr == unix.SYS_UNLINKAT || c.nr == unix.SYS_RMDIR || c.nr == unix.SYS_UNLINK {
						return verdict{}
					}
					if seen++; seen == at+1 {
						last = c
						return verdict{fail: unix.ENOSPC}
					}
					return verdict{}
				}, args...)
				if seen <= at {
					e.says(0)
					break
				}
				phases := s.journals()
				t.Logf("%d: full at %s: exit code %d, as it was %v", at, strings.ReplaceAll(last.String(), s.dir, ""), e.code, phases)
				s.afterFull(e, undoing)
			}
			if !undoing {
				s.undo()
			}
			s.drop()
			s.goesOn()
		})
	}
}

// afterFull looks whether a full disk left the app in one state, and whether
// what was printed says which, and goes back to the old one.
func (s *site) afterFull(e *ended, undoing bool) {
	s.t.Helper()
	phases := s.journals()
	from, to := "old", "new"
	if undoing {
		from, to = to, from
	}
	unfinished := strings.Contains(e.output, "--resume wiki")
	switch {
	case e.code == 0 || e.code == 3: // it was of no consequence
		s.want(to)
	case unfinished:
		e.says(1)
	default:
		e.says(1, "no space left on device", "wholly", "as it was")
		s.want(from)
	}
	if len(phases) == 0 {
		s.want("old")
		s.nothingLeft()
		return
	}
	s.wayOut("undo")
}

// TestClockSetBack restores, has the clock set back a year, and kills the next
// restore: that is the one that commands must be about.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteOptions{databases: true})
	s.restores(0, "--no-safety-backup")
	// As if the first one had been made when the clock was a year ahead.
	files, err := filepath.Glob(filepath.Join(s.dir, "state/restores/wiki/*/journal.json"))
	s.ok(err)
	text, err := os.ReadFile(files[0])
	s.ok(err)
	s.ok(os.WriteFile(files[0], bytes.ReplaceAll(text, []byte(`"20`), []byte(`"21`)), 0o600))
	s.execute("DELETE FROM tags", "DELETE FROM pages WHERE id < 100")
	s.write("apps/app/app.ini", "x=3\n")
	second := s.state()
	s.traced(func(c call) verdict {
		return verdict{kill: strings.HasPrefix(c.to, s.appRoot)}
	}, s.restoring("--no-safety-backup")...).says(-1)
	s.alone()
	s.tries("backup", "--no-wait").says(1, "may be half restored")
	s.tries("list").says(0, "backstay restore --resume wiki")
	s.tries(s.undoing()...).says(0, "what it was before the restore")
	if diff := cmp.Diff(second, s.state()); diff != "" {
		t.Errorf("undo did not bring back what was before the second restore:\n%s", diff)
	}
	s.restores(0, "--no-safety-backup")
	s.want("new")
	if n := len(s.journals()); n != 1 {
		t.Errorf("%d restores are kept, want the last one only", n)
	}
	s.tries(s.undoing()...).says(0)
	if diff := cmp.Diff(second, s.state()); diff != "" {
		t.Errorf("undo did not bring back what was before the third restore:\n%s", diff)
	}
	s.drop()
}
