package notify_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
)

// clock is a time that tests choose.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// ledger keeps alarms in memory. It fails where it is told to.
type ledger struct {
	alarms       []core.Alarm
	openErr      error
	saveErr      error
	saves        int
	beforeSaving func()
}

func (l *ledger) OpenAlarms(context.Context) (live []core.Alarm, err error) {
	for _, a := range l.alarms {
		untold := slices.ContainsFunc(slices.Collect(maps.Values(a.Deliveries)), func(d core.Delivery) bool { return d.Told != core.AlarmClosed })
		if a.Closed == nil || untold {
			live = append(live, a)
		}
	}
	return live, l.openErr
}

func (l *ledger) SaveAlarm(ctx context.Context, a *core.Alarm) error {
	if err := errors.Join(l.saveErr, ctx.Err()); err != nil {
		return err
	}
	if l.beforeSaving != nil {
		l.beforeSaving()
	}
	l.saves++
	if a.ID == 0 {
		a.ID = int64(len(l.alarms) + 1)
		l.alarms = append(l.alarms, core.Alarm{})
	}
	l.alarms[a.ID-1] = *a
	return nil
}

// place is a destination that remembers what it was told.
type place struct {
	mu    sync.Mutex
	told  []string
	texts []notify.Message
	err   error
	do    func(ctx context.Context) error
}

func (p *place) Deliver(ctx context.Context, ref string, m notify.Message) (string, error) {
	if p.do != nil {
		if err := p.do(ctx); err != nil {
			return "", err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return "", p.err
	}
	p.told = append(p.told, strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", m.Part, m.Alarm.App, m.Alarm.Topic, ref)))
	p.texts = append(p.texts, m)
	return "T1", nil
}

// heard returns what was told since it was last asked.
func (p *place) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := p.told
	p.told = nil
	return told
}

type desk struct {
	*notify.Desk
	t      *testing.T
	clock  *clock
	ledger *ledger
	posts  []notify.Post
}

func newDesk(t *testing.T, posts ...notify.Post) *desk {
	d := &desk{t: t, clock: &clock{time.Date(2026, 11, 20, 23, 30, 0, 0, time.UTC)}, ledger: &ledger{}, posts: posts}
	d.Desk = &notify.Desk{Posts: func(string) []notify.Post { return d.posts }, Ledger: d.ledger, Clock: d.clock, Host: "srv1", Timeout: 10 * time.Second}
	return d
}

// look reconciles after both topics of helpdesk were looked at.
func (d *desk) look(problems ...core.Problem) (notify.Changes, error) {
	d.t.Helper()
	scope := notify.Scope{}
	scope.Add("helpdesk", core.TopicBackup, core.TopicContent)
	d.clock.now = d.clock.now.Add(time.Hour)
	return d.Reconcile(d.t.Context(), scope, problems, func(app string) string { return "backup b1 of " + app })
}

func (d *desk) mustLook(problems ...core.Problem) notify.Changes {
	d.t.Helper()
	c, err := d.look(problems...)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

func problem(name string) core.Problem {
	return core.Problem{App: "helpdesk", Topic: core.TopicBackup, Name: name, Message: "it is " + name, Level: core.LevelAlarm}
}

func want(t *testing.T, what string, got []string, wanted ...string) {
	t.Helper()
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestLife(t *testing.T) {
	p := &place{}
	d := newDesk(t, notify.Post{Name: "p", Destination: p})
	notice := problem("note")
	notice.Level = core.LevelNotice
	if c := d.mustLook(notice); len(c.Open) > 0 {
		t.Errorf("a notice opened %v", c.Open)
	}
	want(t, "nothing wrong", p.heard())

	c := d.mustLook(problem("missing"), notice)
	want(t, "opened", p.heard(), "opened helpdesk/backup")
	if len(c.Opened) != 1 || c.Opened[0].ID != 1 || c.Opened[0].Deliveries["p"].Ref != "T1" || len(c.Open) != 1 || len(c.Opened[0].Problems) != 1 {
		t.Errorf("%+v", c)
	}
	saves := d.ledger.saves
	older := problem("missing")
	older.Message = "it is missing for 3 h"
	c = d.mustLook(older)
	want(t, "a number that grows", p.heard())
	if len(c.Updated)+len(c.Opened)+len(c.Closed) != 0 || d.ledger.alarms[0].Problems[0].Message != older.Message {
		t.Errorf("%+v", c)
	}
	d.mustLook(older)
	if d.ledger.saves != saves+1 {
		t.Errorf("the ledger was written %d times where nothing changed", d.ledger.saves-saves-1)
	}

	object := problem("missing")
	object.Object = "database"
	c = d.mustLook(older, object)
	want(t, "another problem", p.heard(), "updated helpdesk/backup T1")
	if len(c.Updated) != 1 {
		t.Errorf("%+v", c)
	}
	d.mustLook(object, older)
	want(t, "another order", p.heard())

	c = d.mustLook()
	want(t, "over", p.heard(), "closed helpdesk/backup T1")
	if len(c.Closed) != 1 || len(c.Open) != 0 || d.ledger.alarms[0].Closed == nil {
		t.Errorf("%+v", c)
	}
	d.mustLook()
	want(t, "over for long", p.heard())
	d.mustLook(problem("missing"))
	want(t, "again", p.heard(), "opened helpdesk/backup")
}

// TestScope: a check of one app says nothing of what it did not look at.
func TestScope(t *testing.T) {
	p := &place{}
	d := newDesk(t, notify.Post{Name: "p", Destination: p})
	repository := core.Problem{Topic: core.TopicRepository, Name: "full", Level: core.LevelAlarm}
	content := core.Problem{App: "helpdesk", Topic: core.TopicContent, Name: "small", Level: core.LevelAlarm}
	other := core.Problem{App: "docs", Topic: core.TopicBackup, Name: "missing", Level: core.LevelAlarm}
	c := d.mustLook(repository, content, other, problem("missing"))
	if len(c.Opened) != 4 {
		t.Fatalf("%+v", c)
	}
	p.heard()
	c = d.mustLook(content)
	want(t, "of one app", p.heard(), "closed helpdesk/backup T1")
	if len(c.Open) != 3 {
		t.Errorf("%+v", c.Open)
	}
	scope := notify.Scope{}
	scope.Add("", core.TopicRepository)
	if _, err := d.Reconcile(t.Context(), scope, nil, nil); err != nil {
		t.Fatal(err)
	}
	want(t, "of the repository", p.heard(), "closed /repository T1")

	d.Known = func(app string) bool { return app == "helpdesk" }
	if _, err := d.Reconcile(t.Context(), notify.Scope{}, nil, nil); err != nil {
		t.Fatal(err)
	}
	want(t, "an app that is not configured any more", p.heard(), "closed docs/backup T1")
}

// TestDown: what was down hears of it later, once, and only of what matters to
// it.
func TestDown(t *testing.T) {
	up, down := &place{}, &place{err: errors.New("dial: connection refused")}
	d := newDesk(t, notify.Post{Name: "down", Destination: down}, notify.Post{Name: "up", Destination: up})
	c := d.mustLook(problem("missing"))
	want(t, "the one that is up", up.heard(), "opened helpdesk/backup")
	if len(c.Failed) != 1 || c.Failed[0].Post != "down" || c.Failed[0].Part != core.AlarmOpened || len(c.Untold) != 0 || len(c.Problems()) != 0 {
		t.Errorf("%+v", c)
	}
	if got := d.ledger.alarms[0].Deliveries["down"]; got.Error != "dial: connection refused" || got.Told != "" || !got.At.Equal(d.clock.now) {
		t.Errorf("%+v", got)
	}
	d.mustLook(problem("missing"), problem("other"))
	want(t, "the one that is up", up.heard(), "updated helpdesk/backup T1")
	down.err = nil
	d.mustLook(problem("missing"), problem("other"))
	want(t, "the one that was down", down.heard(), "opened helpdesk/backup")
	want(t, "the one that was up", up.heard())
	if got := d.ledger.alarms[0].Deliveries["down"].Error; got != "" {
		t.Errorf("the error stayed: %s", got)
	}

	down.err = errors.New("gone again")
	d.mustLook()
	want(t, "the end", up.heard(), "closed helpdesk/backup T1")
	d.mustLook()
	want(t, "the end", up.heard())
	down.err = nil
	d.mustLook()
	want(t, "the one that was down", down.heard(), "closed helpdesk/backup T1")
	d.mustLook()
	want(t, "nothing more", down.heard())
}

// TestNeverTold: who was not told of an alarm is not told of its end.
func TestNeverTold(t *testing.T) {
	up, down := &place{}, &place{err: errors.New("down")}
	d := newDesk(t, notify.Post{Name: "down", Destination: down}, notify.Post{Name: "up", Destination: up})
	d.mustLook(problem("missing"))
	d.mustLook()
	down.err = nil
	d.mustLook()
	want(t, "the one that was down", down.heard())
	if live, _ := d.ledger.OpenAlarms(t.Context()); len(live) > 0 {
		t.Errorf("the ledger offers it still: %+v", live)
	}
}

// TestEndNotTold: the condition is back before a destination heard that it was
// over. For it, it never was.
func TestEndNotTold(t *testing.T) {
	p := &place{}
	d := newDesk(t, notify.Post{Name: "p", Destination: p})
	d.mustLook(problem("missing"))
	p.heard()
	p.err = errors.New("down")
	d.mustLook()
	c, err := d.look(problem("missing"), problem("other"))
	if err != nil || len(c.Opened) != 1 || len(c.Untold) != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	p.err = nil
	d.mustLook(problem("missing"), problem("other"))
	want(t, "told", p.heard(), "updated helpdesk/backup T1")
	d.mustLook()
	want(t, "told", p.heard(), "closed helpdesk/backup T1")
	if live, _ := d.ledger.OpenAlarms(t.Context()); len(live) > 0 {
		t.Errorf("the ledger offers still: %+v", live)
	}
}

func TestFallback(t *testing.T) {
	first, second, third := &place{err: errors.New("down")}, &place{}, &place{}
	d := newDesk(t, notify.Post{Name: "first", Destination: first}, notify.Post{Name: "second", Destination: second, Fallback: true}, notify.Post{Name: "third", Destination: third, Fallback: true})
	d.mustLook(problem("missing"))
	want(t, "the fallback", second.heard(), "opened helpdesk/backup")
	want(t, "the fallback's fallback", third.heard())
	d.mustLook(problem("missing"))
	want(t, "the fallback, a second time", second.heard())

	first.err = nil
	d.mustLook(problem("missing"))
	want(t, "the first, up again", first.heard(), "opened helpdesk/backup")
	d.mustLook(problem("missing"), problem("other"))
	want(t, "the first", first.heard(), "updated helpdesk/backup T1")
	want(t, "the fallback, not needed", second.heard())

	first.err, second.err = errors.New("down"), errors.New("down too")
	d.mustLook(problem("missing"), problem("third"))
	want(t, "the last", third.heard(), "opened helpdesk/backup")
	first.err, second.err = nil, nil
	d.mustLook()
	for _, p := range []*place{first, second, third} {
		want(t, "the end", p.heard(), "closed helpdesk/backup T1")
	}

	d.mustLook(problem("missing"))
	want(t, "the first", first.heard(), "opened helpdesk/backup")
	want(t, "the fallback", append(second.heard(), third.heard()...))
}

// TestNobodyTold: that is said loudly, and it is tried again.
func TestNobodyTold(t *testing.T) {
	p := &place{err: errors.New("post to http://root:s3cret@chat.example.org/?token=t0ken: refused")}
	d := newDesk(t, notify.Post{Name: "p", Destination: p})
	c, err := d.look(problem("missing"))
	if err == nil || !strings.Contains(err.Error(), "nobody could be told of the alarm of helpdesk (backups need attention); p: ") || core.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if strings.Contains(fmt.Sprint(err, c, d.ledger.alarms), "s3cret") || strings.Contains(fmt.Sprint(err, c, d.ledger.alarms), "t0ken") {
		t.Errorf("a secret is in %v", err)
	}
	problems := c.Problems()
	if len(problems) != 1 || problems[0].Topic != core.TopicService || problems[0].Name != "undeliverable" || problems[0].Object != "helpdesk" || problems[0].Level != core.LevelAlarm {
		t.Errorf("%+v", problems)
	}
	p.err = nil
	d.mustLook(problem("missing"))
	want(t, "later", p.heard(), "opened helpdesk/backup")

	d.posts = nil
	if c := d.mustLook(problem("missing")); len(c.Untold) > 0 {
		t.Errorf("an app without destinations: %+v", c.Untold)
	}
}

// TestUnruly: whatever one destination does, the others are told.
func TestUnruly(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	up := &place{}
	d := newDesk(t,
		notify.Post{Name: "panics", Destination: &place{do: func(context.Context) error { panic("index out of range, password=hunter22") }}},
		notify.Post{Name: "hangs", Destination: &place{do: func(context.Context) error { <-release; return nil }}},
		notify.Post{Name: "slow", Destination: &place{do: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}},
		notify.Post{Name: "hostile", Destination: &place{err: errors.New(strings.Repeat("x\n\x1b[2J", 100_000))}},
		notify.Post{Name: "up", Destination: up},
	)
	d.Timeout = 50 * time.Millisecond
	content := core.Problem{App: "helpdesk", Topic: core.TopicContent, Name: "small", Level: core.LevelAlarm}
	c := d.mustLook(problem("missing"), content)
	want(t, "the one that works", up.heard(), "opened helpdesk/backup", "opened helpdesk/content")
	if len(c.Failed) != 8 {
		t.Errorf("%d failed: %+v", len(c.Failed), c.Failed)
	}
	errs := map[string][]string{}
	for _, f := range c.Failed {
		errs[f.Post] = append(errs[f.Post], f.Err.Error())
		if len(f.Err.Error()) > 2000 || strings.ContainsAny(f.Err.Error(), "\n\x1b") || strings.Contains(f.Err.Error(), "hunter22") {
			t.Errorf("%s: %q", f.Post, f.Err)
		}
	}
	for post, text := range map[string]string{"panics": "it stumbled over the message", "hangs": "it did not answer in time", "slow": "deadline"} {
		if !strings.Contains(errs[post][0], text) {
			t.Errorf("%s: %s", post, errs[post][0])
		}
	}
	for _, post := range []string{"hangs", "slow"} {
		if !strings.Contains(errs[post][1], "not tried") {
			t.Errorf("%s was waited for twice: %s", post, errs[post][1])
		}
	}
}

// TestStopped: what was delivered before the context's end is remembered.
func TestStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	first := &place{do: func(context.Context) error { stop(); return nil }}
	d := newDesk(t, notify.Post{Name: "first", Destination: first}, notify.Post{Name: "second", Destination: &place{do: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}})
	c, err := d.Reconcile(ctx, notify.Scope{}, []core.Problem{problem("missing")}, nil)
	if err != nil || len(c.Failed) != 1 || !errors.Is(c.Failed[0].Err, context.Canceled) {
		t.Errorf("%+v, %v", c, err)
	}
	if got := d.ledger.alarms[0].Deliveries["first"]; got.Told != core.AlarmOpened || got.Ref != "T1" {
		t.Errorf("%+v", d.ledger.alarms)
	}
}

// TestLedgerFails: alarms are told all the same, by messages that a destination
// can recognise, and it is said.
func TestLedgerFails(t *testing.T) {
	p := &place{}
	d := newDesk(t, notify.Post{Name: "p", Destination: p})
	d.ledger.openErr, d.ledger.saveErr = errors.New("database is locked"), errors.New("database is locked")
	for range 2 {
		c, err := d.look(problem("missing"))
		if err == nil || !strings.Contains(err.Error(), "database is locked") || len(c.Opened) != 1 {
			t.Errorf("%+v, %v", c, err)
		}
		want(t, "without a ledger", p.heard(), "opened helpdesk/backup")
	}
	if p.texts[0].Matter != p.texts[1].Matter || !strings.Contains(p.texts[0].Text, p.texts[0].Matter) {
		t.Errorf("%q and %q find no one ticket", p.texts[0].Matter, p.texts[1].Matter)
	}

	d.ledger.openErr = nil // the disk is full: it can be read, but not written
	if _, err := d.look(problem("missing")); err == nil {
		t.Error("that nothing could be kept was not said")
	}
	want(t, "a full disk", p.heard(), "opened helpdesk/backup")
	d.ledger.saveErr = nil
	d.mustLook(problem("missing"))
	p.heard()
	d.mustLook(problem("missing"))
	want(t, "the ledger works again", p.heard())
}

// TestTakenOut: a destination that is taken out of the configuration is told
// nothing more, and is waited for no more.
func TestTakenOut(t *testing.T) {
	old, p := &place{}, &place{}
	d := newDesk(t, notify.Post{Name: "old", Destination: old})
	d.mustLook(problem("missing"))
	old.heard()
	d.posts = []notify.Post{{Name: "new", Destination: p}}
	d.mustLook(problem("missing"))
	want(t, "the new one", p.heard(), "opened helpdesk/backup")
	d.mustLook()
	want(t, "the new one", p.heard(), "closed helpdesk/backup T1")
	want(t, "the old one", old.heard())
	if live, _ := d.ledger.OpenAlarms(t.Context()); len(live) > 0 {
		t.Errorf("the ledger offers it still: %+v", live)
	}
}

func TestLock(t *testing.T) {
	p := &place{}
	d := newDesk(t, notify.Post{Name: "p", Destination: p})
	var did []string
	d.ledger.beforeSaving = func() { did = append(did, "save") }
	d.Lock = func(context.Context) (func(), error) {
		did = append(did, "lock")
		return func() { did = append(did, "unlock") }, nil
	}
	d.mustLook(problem("missing"))
	want(t, "the order", did, "lock", "save", "save", "unlock")
	d.Lock = func(context.Context) (func(), error) { return nil, errors.New("no lock for password=hunter22") }
	d.mustLook(problem("missing"), problem("other"))
	want(t, "without the lock", p.heard(), "opened helpdesk/backup", "updated helpdesk/backup T1")
}

func TestTryOut(t *testing.T) {
	up, down := &place{}, &place{err: errors.New("refused, token=abcdef123456")}
	d := newDesk(t)
	d.ledger.saveErr = errors.New("nothing of a test is kept")
	posts := []notify.Post{{Name: "up", Destination: up}, {Name: "down", Destination: down, Fallback: true}}
	tried := d.Test(t.Context(), posts, false)
	want(t, "told", up.heard(), "opened /test", "updated /test T1", "closed /test T1")
	var got []string
	for _, r := range tried {
		got = append(got, fmt.Sprint(r.Post, " ", r.Part, " ", r.Ref, " ", r.Err))
	}
	want(t, "tried", got, "up opened T1 <nil>", "up updated T1 <nil>", "up closed T1 <nil>", "down opened  refused, token=***")
	for _, m := range up.texts {
		if !strings.Contains(m.Subject, "test message") || !strings.Contains(m.Text, "Nothing is wrong") {
			t.Errorf("%s\n%s", m.Subject, m.Text)
		}
	}
	d.Test(t.Context(), posts, true)
	want(t, "left open", up.heard(), "opened /test", "updated /test T1")
}

// TestBorrowed: a ticket of a command line is closed by the next command line
// that brings its destination, however many came without it.
func TestBorrowed(t *testing.T) {
	borrowed, own := &place{}, &place{}
	both := []notify.Post{{Name: "own", Destination: own}, {Name: notify.Borrowed, Destination: borrowed}}
	d := newDesk(t, both...)
	d.mustLook(problem("missing"))
	d.posts = both[:1]
	d.mustLook(problem("missing"))
	d.mustLook()
	d.mustLook()
	want(t, "own", own.heard(), "opened helpdesk/backup", "closed helpdesk/backup T1")
	d.posts = both
	d.mustLook()
	d.mustLook()
	want(t, "borrowed", borrowed.heard(), "opened helpdesk/backup", "closed helpdesk/backup T1")
	if live, _ := d.ledger.OpenAlarms(t.Context()); len(live) > 0 {
		t.Errorf("the ledger offers it still: %+v", live)
	}
}
