package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/google/go-cmp/cmp"
)

// clock is a core.Clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// console gathers what is printed. stderr may be written by bars.
type console struct {
	stdout bytes.Buffer
	stderr lockedBuffer
	clock  *clock
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (c *console) printer(change func(*Options)) *Printer {
	c.clock = newClock()
	o := Options{
		Stdout: &c.stdout, Stderr: &c.stderr, Stdin: strings.NewReader(""), Clock: c.clock,
		Location: time.UTC, IsTerminal: func(any) bool { return false },
	}
	if change != nil {
		change(&o)
	}
	return New(o)
}

const hostileName = "a\x1b[31m\u202e\n\x9b\xffé"

func TestError(t *testing.T) {
	err := fmt.Errorf("back up wiki: %w", &core.Error{Code: core.CodeLocked, Message: "one\ntwo " + "\x1b[2J", Hint: "wait\nor --no-wait"})
	var people console
	people.printer(nil).Error(err)
	want := "backstay: error: back up wiki: one\nbackstay: error: two \\x1b[2J\nbackstay: hint: wait\nbackstay: hint: or --no-wait\n"
	if people.stderr.String() != want || people.stdout.Len() != 0 {
		t.Errorf("got %q and %q", people.stderr.String(), people.stdout.String())
	}

	var machine console
	machine.printer(func(o *Options) { o.JSON = true }).Error(err)
	want = `{"schema":1,"error":{"code":"locked","message":"back up wiki: one\ntwo \u001b[2J","hint":"wait\nor --no-wait"}}` + "\n"
	if machine.stdout.String() != want || machine.stderr.String() != "" {
		t.Errorf("got %q and %q", machine.stdout.String(), machine.stderr.String())
	}

	var none console
	p := none.printer(nil)
	p.Error(nil)
	p.Error(errors.New("bare"))
	if none.stderr.String() != "backstay: error: bare\n" {
		t.Errorf("got %q", none.stderr.String())
	}
}

func TestVerbosity(t *testing.T) {
	say := func(change func(*Options)) string {
		var c console
		p := c.printer(change)
		p.Infof("note %s", hostileName)
		p.Verbosef("detail")
		p.Warn(core.Warning{Object: hostileName, Message: "vanished"})
		return c.stderr.String()
	}
	const safe = `a\x1b[31m\u202e\n\x9b\xffé`
	warning := "backstay: warning: a\\x1b[31m\\u202e\nbackstay: warning: \\x9b\\xffé: vanished\n"
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"plain":   {nil, "backstay: note " + safe + "\n" + warning},
		"quiet":   {func(o *Options) { o.Quiet = true }, warning},
		"verbose": {func(o *Options) { o.Verbose = true }, "backstay: note " + safe + "\nbackstay: detail\n" + warning},
	} {
		if got := say(tt.change); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestPrintfMakesDataHarmless(t *testing.T) {
	var c console
	p := c.printer(nil)
	p.Printf("%s|%v|%d|%v|%s|%v|%v\n", hostileName, errors.New("\r"), 7, core.NewSecret("hunter2"), []byte("\a"), core.Component("\x1b"), []string{"\x1b"})
	want := `a\x1b[31m\u202e\n\x9b\xffé|\r|7|*****|\x07|\x1b|[\x1b]` + "\n"
	if diff := cmp.Diff(want, c.stdout.String()); diff != "" {
		t.Error(diff)
	}
}

func TestResult(t *testing.T) {
	type result struct {
		Name string `json:"name"`
	}
	var c console
	p := c.printer(func(o *Options) { o.JSON = true })
	if err := p.Result(result{"<a&b>\x1b"}, func() { t.Error("printed for people") }); err != nil {
		t.Error(err)
	}
	if err := p.Result(map[string]any{}, nil); err != nil {
		t.Error(err)
	}
	if want := "{\"schema\":1,\"name\":\"<a&b>\\u001b\"}\n{\"schema\":1}\n"; c.stdout.String() != want {
		t.Errorf("got %q", c.stdout.String())
	}
	if err := p.Result([]int{1}, nil); err == nil {
		t.Error("a list passed as an object")
	}
	var people console
	q := people.printer(nil)
	if err := q.Result(result{}, func() { q.Printf("text\n") }); err != nil || people.stdout.String() != "text\n" {
		t.Errorf("got %q, %v", people.stdout.String(), err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestErrorsOfStdoutAreKept(t *testing.T) {
	var c console
	p := c.printer(func(o *Options) { o.Stdout = fullDisk{} })
	p.Printf("one\n")
	p.Table(NewTable(Column{Title: "A"}))
	if err := p.Err(); err == nil || err.Error() != "write the result: no space left on device" {
		t.Errorf("got %v", err)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"plain é 漢字 👩\u200d👩\u200d👧": "plain é 漢字 👩\u200d👩\u200d👧",
		"\x00\a\b\t\n\r\x1b\x7f":     `\x00\x07\x08\t\n\r\x1b\x7f`,
		"\u0085\u009b":               `\u0085\u009b`,
		"a\u202eb\u2066\u200f\ufeff": `a\u202eb\u2066\u200f\ufeff`,
		"\u2028\u2029":               `\u2028\u2029`,
		"\U000e0041":                 `\U000e0041`,
		"\xff\xc3":                   `\xff\xc3`,
		"\ufffd":                     "\ufffd",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) is %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add(hostileName)
	f.Add("plain")
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		for _, c := range got {
			if c < 0x20 || c >= 0x7f && c < 0xa0 {
				t.Errorf("%q holds %U", got, c)
			}
		}
		if again := Clean(got); again != got {
			t.Errorf("cleaned twice: %q, then %q", got, again)
		}
	})
}

func TestSize(t *testing.T) {
	for in, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 1500: "1.5 kB", 99_949: "99.9 kB", 99_950: "100 kB", 999_499: "999 kB", 999_500: "1.0 MB",
		1_500_000_000: "1.5 GB", 153_000_000: "153 MB", math.MaxInt64: "9.2 EB", math.MinInt64: "-9.2 EB", -1500: "-1.5 kB",
	} {
		if got := Size(in); got != want {
			t.Errorf("Size(%d) is %q, want %q", in, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0 ms", 340 * time.Millisecond: "340 ms", 3200 * time.Millisecond: "3.2 s", 59949 * time.Millisecond: "59.9 s",
		59950 * time.Millisecond: "1 min 0 s", 125 * time.Second: "2 min 5 s", time.Hour - time.Millisecond: "1 h 0 min",
		184 * time.Minute: "3 h 4 min", 24*time.Hour - time.Second: "1 d 0 h", 51 * time.Hour: "2 d 3 h", -time.Second: "-1.0 s",
	} {
		if got := Duration(in); got != want {
			t.Errorf("Duration(%d) is %q, want %q", in, got, want)
		}
	}
	if got := Duration(math.MinInt64); !strings.HasPrefix(got, "-106751 d") {
		t.Errorf("got %q", got)
	}
}

func TestCountAndRate(t *testing.T) {
	for in, want := range map[int64]string{0: "0", 999: "999", 1000: "1\u00a0000", 1234567: "1\u00a0234\u00a0567", -1000: "-1\u00a0000"} {
		if got := Count(in); got != want {
			t.Errorf("Count(%d) is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{0: "0 files", 1: "1 file", 1000: "1\u00a0000 files"} {
		if got := Counted(in, "file"); got != want {
			t.Errorf("Counted(%d) is %q, want %q", in, got, want)
		}
	}
	if got := Rate(3_000_000, 2*time.Second); got != "1.5 MB/s" {
		t.Errorf("got %q", got)
	}
	if got := Rate(1, 0); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestTime(t *testing.T) {
	var c console
	p := c.printer(func(o *Options) { o.Location = time.FixedZone("CET", 3600) })
	if got := p.Time(time.Date(2026, 3, 1, 23, 30, 0, 0, time.UTC)); got != "2026-03-02 00:30:00 CET" {
		t.Errorf("got %q", got)
	}
	if got := p.Time(time.Time{}); got != "never" {
		t.Errorf("got %q", got)
	}
}

func TestTableAligns(t *testing.T) {
	table := NewTable(Column{Title: "NAME"}, Column{Title: "SIZE", Right: true}, Column{Title: "NOTE"})
	table.Row("漢字", "1.5 GB", "x")
	table.Row("e\u0301té", "9 B")
	table.Row("a\x1b[1m", "", "y")
	want := "" +
		"NAME        SIZE  NOTE\n" +
		"漢字      1.5 GB  x\n" +
		"e\u0301té          9 B\n" +
		"a\\x1b[1m          y\n"
	if diff := cmp.Diff(want, table.String()); diff != "" {
		t.Error(diff)
	}
}

func TestConfirm(t *testing.T) {
	ask := func(ctx context.Context, terminal bool, in io.Reader) (string, error) {
		var c console
		p := c.printer(func(o *Options) { o.Stdin, o.IsTerminal = in, func(any) bool { return terminal } })
		err := p.Confirm(ctx, "wiki", "this replaces the live data of wiki")
		return c.stderr.String(), err
	}
	shown, err := ask(t.Context(), true, strings.NewReader(" wiki \r\nmore"))
	if err != nil || shown != "this replaces the live data of wiki.\nType wiki to go on: " {
		t.Errorf("got %q, %v", shown, err)
	}
	for _, answer := range []string{"", "\n", "y\n", "Wiki\n", "wiki2\n", strings.Repeat("wiki", 1000)} {
		_, err := ask(t.Context(), true, strings.NewReader(answer))
		if core.CodeOf(err) != core.CodeCancelled || err.Error() != "not confirmed; nothing was changed" || core.HintOf(err) != "type exactly wiki, or add --yes" {
			t.Errorf("%.10q: got %v, hint %q", answer, err, core.HintOf(err))
		}
	}
	_, err = ask(t.Context(), false, strings.NewReader("wiki\n"))
	if core.CodeOf(err) != core.CodeUsage || err.Error() != "this needs a confirmation: this replaces the live data of wiki" ||
		core.HintOf(err) != "nobody can be asked here; look at the plan with --dry-run, then add --yes" {
		t.Errorf("got %v, hint %q", err, core.HintOf(err))
	}

	// Ctrl-C ends the question although the read goes on.
	reader, writer := io.Pipe()
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ask(ctx, true, reader); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
}

func TestLogger(t *testing.T) {
	var c console
	log := c.printer(nil).Logger().With("app", "wiki").WithGroup("db")
	log.Debug("hidden")
	log.Info("read table", "name", "tick\x1bets", "rows", 3, "note", "two words", slog.Group("in", "a", 1), "secret", core.NewSecret("hunter2"))
	log.Warn("slow", "empty", "")
	log.Error("gone", "err", errors.New("eof"))
	want := `backstay: read table app=wiki db.name=tick\x1bets db.rows=3 db.note="two words" db.in.a=1 db.secret=*****
backstay: warning: slow app=wiki db.empty=""
backstay: error: gone app=wiki db.err=eof
`
	if diff := cmp.Diff(want, c.stderr.String()); diff != "" {
		t.Error(diff)
	}
	var quiet, verbose console
	quiet.printer(func(o *Options) { o.Quiet = true }).Logger().Info("hidden")
	verbose.printer(func(o *Options) { o.Verbose = true }).Logger().Debug("shown")
	if quiet.stderr.String() != "" || verbose.stderr.String() != "backstay: debug: shown\n" {
		t.Errorf("got %q and %q", quiet.stderr.String(), verbose.stderr.String())
	}
}

func TestPlainProgress(t *testing.T) {
	var c console
	p := c.printer(nil).Progress()
	p.Add(1) // before the first stage: nothing to say
	p.Item("x")
	p.Stage("database\x1b", 4_000_000)
	p.Item("tickets")
	p.Add(500_000)
	c.clock.pass(9999 * time.Millisecond)
	p.Add(0) // not yet
	c.clock.pass(time.Millisecond)
	p.Add(500_000)
	p.Add(1)
	c.clock.pass(10 * time.Second)
	p.Item("a very long name of a table that goes on and on, " + hostileName)
	p.Stage("files", 0)
	c.clock.pass(12 * time.Second)
	p.Add(24_000)
	p.Close(true)
	p.Close(true)
	p.Stage("late", 1)
	p.Add(1)
	want := `backstay: database\x1b: 1.0 MB of 4.0 MB, 100 kB/s, ETA 30 s, tickets
backstay: database\x1b: 1.0 MB of 4.0 MB, 50.0 kB/s, ETA 1 min 0 s, …s on and on, a\x1b[31m\u202e\n\x9b\xffé
backstay: database\x1b: 1.0 MB in 20.0 s (50.0 kB/s)
backstay: files: 24.0 kB, 2.0 kB/s
backstay: files: 24.0 kB in 12.0 s (2.0 kB/s)
`
	if diff := cmp.Diff(want, c.stderr.String()); diff != "" {
		t.Error(diff)
	}
}

func TestProgressIsOff(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"quiet":       func(o *Options) { o.Quiet = true },
		"no progress": func(o *Options) { o.NoProgress, o.IsTerminal = true, func(any) bool { return true } },
		"json":        func(o *Options) { o.JSON = true },
	} {
		var c console
		p := c.printer(change).Progress()
		p.Stage("s", 10)
		c.clock.pass(time.Minute)
		p.Add(10)
		p.Close(true)
		if c.stderr.String() != "" {
			t.Errorf("%s: got %q", name, c.stderr.String())
		}
	}
}

// What became of a part of the work is printed after the line of its last stage.
func TestEndStage(t *testing.T) {
	var c console
	printer := c.printer(nil)
	p := printer.Progress()
	p.Stage("first", 0)
	c.clock.pass(time.Second)
	printer.EndStage(true)
	printer.Infof("the result")
	p.Add(1)
	p.Stage("second", 0)
	printer.EndStage(false)
	p.Close(true)
	if got, want := c.stderr.String(), "backstay: first: done in 1.0 s\nbackstay: the result\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.printer(nil).EndStage(true) // there is none
}

// Bars end before a result is printed: they would write over it.
func TestResultAfterBars(t *testing.T) {
	var c console
	printer := c.printer(func(o *Options) { o.IsTerminal = func(any) bool { return true } })
	p := printer.Progress()
	p.Stage("stage", 10)
	p.Add(10)
	shown := ""
	err := printer.Result(nil, func() {
		shown = c.stderr.String()
		printer.Printf("the result\n")
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Close(true)
	if got := c.stderr.String(); got != shown || c.stdout.String() != "the result\n" {
		t.Errorf("after the result %q was written, and it is %q", strings.TrimPrefix(got, shown), c.stdout.String())
	}
}

// A stage may end below its estimated total, above it, or with none, and many
// may report at once: the display always ends, and other lines survive.
func TestLiveProgress(t *testing.T) {
	for _, complete := range []bool{true, false} {
		var c console
		printer := c.printer(func(o *Options) { o.IsTerminal = func(any) bool { return true } })
		p := printer.Progress()
		for i, total := range []int64{1_000_000, 1000, 0} {
			p.Stage(fmt.Sprintf("stage%d\x1b", i), total)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 100 {
						p.Item(hostileName)
						p.Add(100)
					}
				})
			}
			wg.Wait()
			printer.Warn(core.Warning{Message: fmt.Sprintf("warning %d", i)})
		}
		c.clock.pass(2 * time.Second)
		p.Close(complete)
		printer.Infof("after")
		got := c.stderr.String()
		for _, want := range []string{`stage0\x1b`, "80.0 kB in", "backstay: warning: warning 0\n", "backstay: warning: warning 2\n", "80.0 kB in 2.0 s (40.0 kB/s)", "backstay: after\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("complete %t: no %q in %q", complete, want, got)
			}
		}
		if strings.Contains(got, "\x1b[31m") || strings.Contains(got, "\u202e") {
			t.Errorf("hostile text in %q", got)
		}
	}
}

func TestObjectIsJSON(t *testing.T) {
	object, err := Object(map[string]any{"backups": []string{}})
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Schema  int
		Backups []string
	}
	if err := json.Unmarshal(object, &back); err != nil || back.Schema != 1 || back.Backups == nil {
		t.Errorf("got %+v, %v", back, err)
	}
}
