package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// loader makes plans in a goroutine of its own: it may ask databases, and the
// service goes on meanwhile.
type loader struct {
	load   func(ctx context.Context) (Plan, error)
	log    *slog.Logger
	wait   waits
	loaded chan<- loaded // what it made, or why it could not

	asked   chan string // why to make one now
	watcher *fsnotify.Watcher
	watched []string // files
	dirs    map[string]bool
	seen    map[string]string // a signature of each file when the plan was made
	refresh time.Duration
	broken  bool // the last attempt failed
}

// loaded is an attempt to make a plan.
type loaded struct {
	plan Plan
	err  error
	why  string
}

// waits are how long the service waits for what; tests wait less.
type waits struct {
	settle time.Duration // without further changes, before a changed file is read
	unrest time.Duration // at most for that
	again  time.Duration // before what could not be read is tried again, quietly
	tries  int           // of those
	look   time.Duration // between looks at files that nobody told of
	broken time.Duration // between attempts while the configuration is broken
	load   time.Duration // at most for making a plan
	kill   time.Duration // between asking a run to end, and killing it
	pipes  time.Duration // for what a run left behind to close the run's output
	store  time.Duration // at most for the state database, before the service goes on
	repair time.Duration // between attempts to use a state database that failed
	extend time.Duration // between asking systemd for more time
	turn   time.Duration // at most between looks at the clock, which may jump
}

func usualWaits() waits {
	return waits{
		settle: 200 * time.Millisecond, unrest: 2 * time.Second, again: 500 * time.Millisecond, tries: 4, look: time.Minute,
		broken: 5 * time.Minute, load: 2 * time.Minute, kill: 30 * time.Second, pipes: 5 * time.Second, store: 3 * time.Second, repair: time.Minute, extend: 10 * time.Second, turn: time.Minute,
	}
}

const (
	whyStart   = "start"
	whySignal  = "signal"
	whyFile    = "file"
	whyRefresh = "refresh"
	whyBroken  = "broken"
)

// first makes the plan that the service begins with.
func (l *loader) first(ctx context.Context) (Plan, error) {
	began := core.SystemClock{}.Now() // that of the file system, whatever the service is told
	plan, err := l.once(ctx)
	if err != nil {
		return Plan{}, err
	}
	l.settleOn(plan, nil, began)
	return plan, nil
}

// once makes a plan. A panic in what reads the configuration is an error too.
func (l *loader) once(ctx context.Context) (plan Plan, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.wait.load)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			plan, err = Plan{}, fmt.Errorf("make the plan: %v", p)
		}
	}()
	plan, err = l.load(ctx)
	if err != nil {
		return Plan{}, err
	}
	return plan, checkPlan(plan)
}

// checkPlan finds what the agenda could not tell apart.
func checkPlan(plan Plan) error {
	seen := map[string]bool{}
	for _, j := range plan.Jobs {
		if j.Key == "" || seen[j.Key] {
			return &core.Error{
				Code: core.CodeConfig, Op: "make the plan", Message: fmt.Sprintf("two schedules are called %q", j.Key), Hint: "give each schedule of an app a name of its own",
			}
		}
		seen[j.Key] = true
	}
	return nil
}

// settleOn watches what the plan was made from. before is what was seen before
// it was made, at began: what has changed since is made anew.
func (l *loader) settleOn(plan Plan, before map[string]string, began time.Time) {
	l.watched = plan.WatchFiles
	l.refresh = plan.RefreshEvery
	now := signatures(l.watched)
	l.seen = map[string]string{}
	for _, f := range l.watched {
		switch s, ok := before[f]; {
		case ok:
			l.seen[f] = s
		case changedSince(f, began):
			l.seen[f] = "" // it may be another than was read
		default:
			l.seen[f] = now[f]
		}
	}
	l.watchDirs()
}

// watchDirs watches the folders of the files, and those that links lead to:
// editors and deployments replace files and links, and a watch on a file itself
// ends with it. What cannot be watched is looked at now and then.
func (l *loader) watchDirs() {
	if l.watcher == nil {
		return
	}
	want := map[string]bool{}
	for _, f := range l.watched {
		want[filepath.Dir(f)] = true
		if real, err := filepath.EvalSymlinks(f); err == nil {
			want[filepath.Dir(real)] = true
		}
	}
	for dir := range l.dirs {
		if !want[dir] {
			if err := l.watcher.Remove(dir); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
				l.log.Debug("watch a folder no longer", "dir", dir, "err", err)
			}
			delete(l.dirs, dir)
		}
	}
	for dir := range want {
		// Again also what is watched: a folder that was replaced is another.
		if err := l.watcher.Add(dir); err != nil {
			l.log.Debug("watch a folder; it is looked at now and then instead", "dir", dir, "err", err)
			continue
		}
		l.dirs[dir] = true
	}
}

// run makes a plan whenever there is a reason, until ctx ends.
func (l *loader) run(ctx context.Context) {
	var events <-chan fsnotify.Event
	var failures <-chan error
	if l.watcher != nil {
		events, failures = l.watcher.Events, l.watcher.Errors
	}
	look := time.NewTicker(l.wait.look)
	defer look.Stop()
	refresh := time.NewTimer(time.Hour)
	defer refresh.Stop()
	for {
		refresh.Reset(l.next())
		why := ""
		select {
		case <-ctx.Done():
			return
		case why = <-l.asked:
		case <-refresh.C:
			if why = whyRefresh; l.broken {
				why = whyBroken
			}
		case _, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			l.quiet(ctx, events)
			why = l.changed()
		case err, ok := <-failures:
			if !ok {
				failures = nil
				continue
			}
			l.log.Debug("watch the configuration", "err", err) // the next look finds what was missed
			continue
		case <-look.C:
			l.watchDirs()
			why = l.changed()
		}
		if why == "" {
			continue
		}
		l.attempt(ctx, why)
	}
}

// next is how long to wait for a reason.
func (l *loader) next() time.Duration {
	switch {
	case l.broken && (l.refresh == 0 || l.wait.broken < l.refresh):
		return l.wait.broken
	case l.refresh > 0:
		return l.refresh
	}
	return 24 * time.Hour
}

// quiet waits until nothing changes any more.
func (l *loader) quiet(ctx context.Context, events <-chan fsnotify.Event) {
	end := time.NewTimer(l.wait.unrest)
	defer end.Stop()
	still := time.NewTimer(l.wait.settle)
	defer still.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-still.C:
			return
		case _, ok := <-events:
			if !ok {
				return
			}
			still.Reset(l.wait.settle)
		}
	}
}

// changed says whether a file is another than when the plan was made.
func (l *loader) changed() string {
	now := signatures(l.watched)
	for f, s := range l.seen {
		if now[f] != s {
			return whyFile
		}
	}
	return ""
}

// attempt makes a plan and hands it on. A file that somebody is writing is tried
// again before anybody hears of it.
func (l *loader) attempt(ctx context.Context, why string) {
	for try := 1; ; try++ {
		before, began := signatures(l.watched), core.SystemClock{}.Now()
		plan, err := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			l.broken = false
			l.settleOn(plan, before, began)
			l.hand(ctx, loaded{plan: plan, why: why})
			return
		}
		if why == whyFile && try < l.wait.tries {
			select {
			case <-ctx.Done():
				return
			case <-time.After(l.wait.again):
			}
			continue
		}
		l.broken = true
		l.seen = before
		l.hand(ctx, loaded{err: err, why: why})
		return
	}
}

func (l *loader) hand(ctx context.Context, got loaded) {
	select {
	case l.loaded <- got:
	case <-ctx.Done():
	}
}

// signatures tell whether files have changed, without reading them.
func signatures(files []string) map[string]string {
	out := make(map[string]string, len(files))
	for _, f := range files {
		var stat unix.Stat_t
		if err := unix.Stat(f, &stat); err != nil {
			out[f] = err.Error()
			continue
		}
		out[f] = fmt.Sprint(stat.Dev, stat.Ino, stat.Size, stat.Mode, stat.Mtim, stat.Ctim)
	}
	return out
}

// changedSince says whether a file may have been changed since then: the times
// of file systems come in steps.
func changedSince(file string, then time.Time) bool {
	const step = 10 * time.Millisecond
	var stat unix.Stat_t
	if err := unix.Stat(file, &stat); err != nil {
		return false
	}
	return time.Unix(stat.Ctim.Unix()).After(then.Add(-step))
}

// newWatcher returns nil where nothing can be watched: files are looked at now
// and then in any case.
func newWatcher(log *slog.Logger) *fsnotify.Watcher {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("changed files are noticed late", "err", err)
		return nil
	}
	return w
}

// brokenConfig is the problem of a configuration that could not be read.
func brokenConfig(err error, since time.Time) core.Problem {
	hint := core.HintOf(err)
	if hint == "" {
		hint = "see what is wrong with it: backstay validate"
	}
	return core.Problem{
		Topic: core.TopicService, Name: "config-broken", Level: core.LevelAlarm,
		Message: "the configuration cannot be used since " + since.UTC().Format(time.RFC3339) + ", and the one before it stays in effect: " + oneLine(err.Error()), Hint: hint,
	}
}

func oneLine(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ") }
