// Package notifytest is the conformance suite of notify.Destination. It is for
// every implementation of the seam: what the seam's comments promise is tested
// here once. The other side is a real one, or one that answers as the real one
// was seen to.
package notifytest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
)

// Harness is one destination to test, and the other side that it speaks to.
type Harness struct {
	Destination notify.Destination
	// Taken returns what the other side took so far, oldest first: one text for
	// each message, with all of it in it.
	Taken func() []string
	// Faults makes the other side fail, by name, from then on: refuse, answer
	// 200 with an error, be gone, break off in the middle. Deliver must return an
	// error then.
	Faults map[string]func()
	// Hang makes the other side take no more than the connection, from then on.
	Hang func()
	// Open returns how many tickets are open there. nil: it keeps none, and
	// cannot be asked.
	Open func() int
	// Secrets are what no error may hold.
	Secrets []string
	// Wordless says that the other side is told that there is an alarm, but
	// not what it says.
	Wordless bool
}

// Run runs the suite. make gives a new other side, with nothing in it, for each
// test.
func Run(t *testing.T, make func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"a life", testLife},
		{"a test message", testTest},
		{"the same twice", testTwice},
		{"number lost", testLost},
		{"two alarms", testTwoAlarms},
		{"many at once", testAtOnce},
		{"hostile names", testHostile},
		{"long text", testLong},
		{"the context's end", testContext},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, make(t)) })
	}
	for name := range make(t).Faults {
		t.Run(name, func(t *testing.T) { testFault(t, make(t), name) })
	}
}

// Began is when the alarms of Message were opened.
var began = time.Date(2026, 11, 20, 23, 30, 0, 0, time.UTC)

// Message returns what a destination is told of a part of an alarm of app, as
// package notify words it.
func Message(part core.AlarmPart, app string, problems ...core.Problem) notify.Message {
	if problems == nil {
		problems = []core.Problem{{
			App: app, Topic: core.TopicBackup, Name: "missing", Message: "there is no backup since 2026-11-19 23:30", Hint: "backstay backup " + app, Level: core.LevelAlarm,
		}}
	}
	a := core.Alarm{ID: 7, App: app, Topic: core.TopicBackup, Opened: began, Updated: began, Problems: problems}
	now := began
	switch part {
	case core.AlarmUpdated:
		now = began.Add(time.Hour)
		a.Updated = now
	case core.AlarmClosed:
		now = began.Add(2 * time.Hour)
		a.Closed = &now
	}
	return notify.Compose(part, a, notify.Setting{
		Host: "srv1.example.org", Now: now, Location: time.UTC, Safe: "backup 20261119T233000Z-1a2b of 2026-11-19 23:30, verified 2026-11-20 04:00",
	})
}

func deliver(t *testing.T, h Harness, ref string, m notify.Message) string {
	t.Helper()
	before := len(h.Taken())
	got, err := h.Destination.Deliver(t.Context(), ref, m)
	if err != nil {
		t.Fatalf("deliver %s: %v", m.Part, err)
	}
	if len(h.Taken()) <= before {
		t.Fatalf("deliver %s returned no error, and nothing arrived", m.Part)
	}
	return got
}

// open fails the test if other than want tickets are open.
func open(t *testing.T, h Harness, want int) {
	t.Helper()
	if h.Open == nil {
		return
	}
	if got := h.Open(); got != want {
		t.Fatalf("%d tickets are open, and %d should be", got, want)
	}
}

func says(t *testing.T, h Harness, from int, want string) {
	t.Helper()
	if h.Wordless {
		return
	}
	for _, text := range h.Taken()[from:] {
		if strings.Contains(text, want) {
			return
		}
	}
	t.Errorf("%q did not arrive, but:\n%s", want, strings.Join(h.Taken()[from:], "\n---\n"))
}

func testLife(t *testing.T, h Harness) {
	m := Message(core.AlarmOpened, "helpdesk")
	ref := deliver(t, h, "", m)
	open(t, h, 1)
	says(t, h, 0, "there is no backup since")
	says(t, h, 0, "20261119T233000Z-1a2b")
	says(t, h, 0, m.Marker)

	seen := len(h.Taken())
	m = Message(core.AlarmUpdated, "helpdesk", core.Problem{App: "helpdesk", Topic: core.TopicBackup, Name: "failed", Message: "the last run was refused by the database", Level: core.LevelAlarm})
	again := deliver(t, h, ref, m)
	if h.Open != nil && again != ref {
		t.Errorf("an update went to %q, and not to %q", again, ref)
	}
	open(t, h, 1)
	says(t, h, seen, "refused by the database")

	deliver(t, h, again, Message(core.AlarmClosed, "helpdesk"))
	open(t, h, 0)
}

// testTest: a test message arrives, and leaves nothing behind.
func testTest(t *testing.T, h Harness) {
	deliver(t, h, "", Message(core.AlarmTest, "helpdesk"))
	open(t, h, 0)
}

// testTwice: a delivery whose success was not remembered is made again.
func testTwice(t *testing.T, h Harness) {
	ref := deliver(t, h, "", Message(core.AlarmOpened, "helpdesk"))
	again, err := h.Destination.Deliver(t.Context(), "", Message(core.AlarmOpened, "helpdesk"))
	if err != nil {
		t.Fatal(err)
	}
	open(t, h, 1)
	if h.Open != nil && again != ref {
		t.Errorf("the second time it is %q, and the first %q", again, ref)
	}
	for range 2 {
		if _, err := h.Destination.Deliver(t.Context(), ref, Message(core.AlarmUpdated, "helpdesk")); err != nil {
			t.Fatal(err)
		}
		open(t, h, 1)
	}
	for range 2 {
		if _, err := h.Destination.Deliver(t.Context(), ref, Message(core.AlarmClosed, "helpdesk")); err != nil {
			t.Fatal(err)
		}
		open(t, h, 0)
	}
	// The condition comes back: that is a new alarm.
	deliver(t, h, "", Message(core.AlarmOpened, "helpdesk"))
	open(t, h, 1)
}

// testLost: the number of a ticket was lost with the state database.
func testLost(t *testing.T, h Harness) {
	if _, err := h.Destination.Deliver(t.Context(), "", Message(core.AlarmClosed, "helpdesk")); err != nil {
		t.Errorf("close what was never opened: %v", err)
	}
	open(t, h, 0)
	ref := deliver(t, h, "", Message(core.AlarmOpened, "helpdesk"))
	again, err := h.Destination.Deliver(t.Context(), "", Message(core.AlarmUpdated, "helpdesk"))
	if err != nil {
		t.Fatal(err)
	}
	open(t, h, 1)
	if h.Open != nil && again != ref {
		t.Errorf("the update went to %q, and not to %q", again, ref)
	}
	if _, err := h.Destination.Deliver(t.Context(), "", Message(core.AlarmClosed, "helpdesk")); err != nil {
		t.Fatal(err)
	}
	open(t, h, 0)
}

func testTwoAlarms(t *testing.T, h Harness) {
	one := deliver(t, h, "", Message(core.AlarmOpened, "helpdesk"))
	two := deliver(t, h, "", Message(core.AlarmOpened, "docs"))
	open(t, h, 2)
	if h.Open != nil && one == two {
		t.Errorf("both are %q", one)
	}
	deliver(t, h, one, Message(core.AlarmClosed, "helpdesk"))
	open(t, h, 1)
}

func testAtOnce(t *testing.T, h Harness) {
	var all sync.WaitGroup
	apps := []string{"a", "b", "c", "d"}
	for _, app := range apps {
		all.Go(func() {
			if _, err := h.Destination.Deliver(t.Context(), "", Message(core.AlarmOpened, app)); err != nil {
				t.Errorf("%s: %v", app, err)
			}
		})
	}
	all.Wait()
	open(t, h, len(apps))
}

// Hostile is a name that means to be more than a name.
const Hostile = "x\r\nBcc: thief@example.net\r\n\r\n<script>alert(1)</script>\"' -- \x1b[2J\x00\u202e&amp; ]]> [[Server:1]] @everyone"

func testHostile(t *testing.T, h Harness) {
	problems := []core.Problem{
		{App: "helpdesk", Topic: core.TopicBackup, Name: "failed", Object: Hostile, Message: "table " + Hostile + " is gone", Hint: Hostile, Level: core.LevelAlarm},
		{App: "helpdesk", Topic: core.TopicBackup, Name: "failed", Object: string([]byte{0xff, 0xfe, 'a'}), Message: "名前 é 🔐", Level: core.LevelAlarm},
	}
	ref := deliver(t, h, "", Message(core.AlarmOpened, "helpdesk", problems...))
	open(t, h, 1)
	says(t, h, 0, "名前 é 🔐")
	deliver(t, h, ref, Message(core.AlarmUpdated, "helpdesk", problems...))
	deliver(t, h, ref, Message(core.AlarmClosed, "helpdesk", problems...))
	open(t, h, 0)
	for _, text := range h.Taken() {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "Bcc:") {
				t.Errorf("a header was let in:\n%s", text)
			}
		}
		if strings.ContainsAny(text, "\x1b\x00\u202e") {
			t.Errorf("control characters were let in:\n%q", text)
		}
	}
}

func testLong(t *testing.T, h Harness) {
	var problems []core.Problem
	for range 500 {
		problems = append(problems, core.Problem{
			App: "helpdesk", Topic: core.TopicBackup, Name: "rows-dropped", Object: strings.Repeat("o", 300), Message: strings.Repeat("many words ", 500), Hint: strings.Repeat("h", 2000), Level: core.LevelAlarm,
		})
	}
	m := Message(core.AlarmOpened, "helpdesk", problems...)
	deliver(t, h, "", m)
	open(t, h, 1)
	says(t, h, 0, m.Marker)
}

func testContext(t *testing.T, h Harness) {
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := h.Destination.Deliver(ended, "", Message(core.AlarmOpened, "helpdesk")); err == nil {
		t.Error("it delivered although its context had ended")
	}
	open(t, h, 0)
	if h.Hang == nil {
		return
	}
	h.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := h.Destination.Deliver(ctx, "", Message(core.AlarmOpened, "helpdesk"))
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Fatal("no error from one that does not answer")
		}
		Discreet(t, err, h.Secrets)
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on though its context ended")
	}
}

func testFault(t *testing.T, h Harness, name string) {
	h.Faults[name]()
	for _, part := range []core.AlarmPart{core.AlarmOpened, core.AlarmUpdated} {
		_, err := h.Destination.Deliver(t.Context(), "", Message(part, "helpdesk"))
		if err == nil {
			t.Errorf("%s: it returned no error", part)
			continue
		}
		t.Logf("%s: %v", part, err)
		Discreet(t, err, h.Secrets)
	}
}

// Discreet fails the test if an error, or a hint in it, holds a secret, is no
// single line, or is too long for people.
func Discreet(t *testing.T, err error, secrets []string) {
	t.Helper()
	for _, text := range []string{err.Error(), core.HintOf(err)} {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("the error holds a secret: %s", text)
			}
		}
		if strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("the error is not one clean line: %q", text)
		}
		if len(text) > 1000 {
			t.Errorf("the error has %d bytes: %s", len(text), text[:200])
		}
	}
}
