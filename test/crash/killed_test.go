package crash

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// long is for tests of every moment; without it they take some of them.
func long() bool { return os.Getenv("BACKSTAY_TEST_LONG") != "" }

// ways are the two ways out of a restore that was killed.
var ways = []string{"resume", "undo"}

// wayOut goes one of the ways out of a restore, or its undoing, that was killed,
// checks where it leads, and goes back to the old state.
func (s *site) wayOut(way string) {
	s.t.Helper()
	phases := s.journals()
	if len(phases) > 1 {
		s.t.Fatalf("there are the journals of %d restores", len(phases))
	}
	if len(phases) == 0 { // it was killed before it began, or after it had removed everything
		s.want("old")
		s.tries("backup", "--no-wait", "--only", "config").says(0)
		return
	}
	phase, restoring := phases[0], true
	switch phase {
	case "building", "undone":
		s.want("old")
		restoring = false
	case "reverted":
		s.wantUnsettled("old")
		restoring = false
	case "switched":
		s.wantUnsettled("new")
	case "done":
		s.want("new")
	case "reverting":
		restoring = false
		fallthrough
	case "switching", "taking itself back":
		s.tries("backup", "--no-wait").says(1, "may be half restored", "backstay restore --resume wiki", "backstay undo wiki")
	default:
		s.t.Fatalf("there is no phase %q", phase)
	}
	if phase != "done" && phase != "undone" {
		s.tries("list").says(0, "was cut short", "backstay restore --resume wiki")
	}
	resume := []string{"restore", "--resume", "wiki", "--yes", "--no-wait"}
	switch {
	case phase == "building":
		command := resume
		if way == "undo" {
			command = []string{"undo", "wiki", "--yes", "--no-wait"}
		}
		s.tries(command...).says(0, "nothing live had been changed")
		s.want("old")
		s.nothingLeft()
		return
	case phase == "undone":
		s.drop()
		return
	case way == "undo" || phase == "done":
		s.undo()
	default:
		result := "wiki is what it was before the restore"
		if restoring {
			result = "wiki is wholly of backup " + s.backup[:8]
		}
		s.tries(resume...).says(0, result)
		if restoring {
			s.want("new")
			s.undo()
		}
		s.want("old")
	}
	s.drop()
}

// TestKilledBetweenStatements kills a restore and its undoing before and after
// each statement that changes the server, from the first of the switch on.
func TestKilledBetweenStatements(t *testing.T) {
	t.Parallel()
	for _, databases := range []bool{false, true} {
		for _, undoing := range []bool{false, true} {
			t.Run(word(undoing, "undo", "restore")+" "+word(databases, "by databases", "by names"), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, siteOptions{databases: databases})
				killed := 0
				for n := 0; ; n++ {
					where := []pause{before, after}[n%2]
					w := newWire(t, s.target(), nth(n, where))
					args := s.restoring("--no-safety-backup")
					if undoing {
						s.restores(0, "--no-safety-backup")
						args = []string{"undo", "wiki", "--yes", "--no-wait"}
					}
					s.config(w.port())
					r := s.start(args...)
					if !r.reaches(w) {
						break // there are no more
					}
					r.end(unix.SIGKILL)
					w.close()
					s.config(s.server.Port)
					s.alone()
					t.Logf("%d: killed at %.80q, as it was %v", n, w.at, s.journals())
					s.wayOut(ways[(n+n/2)%2])
					killed++
				}
				if killed < 2 {
					t.Errorf("it was killed %d times only", killed)
				}
				s.config(s.server.Port)
				if undoing {
					s.want("old")
				} else {
					s.undo()
				}
				s.drop()
				s.goesOn()
			})
		}
	}
}

func word(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// reaches waits until the process is held, and says whether it was, or ended.
func (r *running) reaches(w *wire) bool {
	r.p.t.Helper()
	select {
	case <-w.reached:
		return true
	case err := <-r.done:
		if err != nil {
			r.p.t.Fatalf("it failed: %v\n%s", err, &r.stderr)
		}
		return false
	}
}
