package check

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

// app builds the backups of an app, one a day.
type app struct {
	in  Input
	day int
}

func newApp() *app {
	return &app{in: Input{App: "helpdesk", Scheduled: true, Interval: 24 * time.Hour}}
}

// content is what a backup holds.
type holds struct {
	tables map[string]int64 // rows; 1000 bytes each. nil: no database
	files  int64            // of 100 kB; -1: no files
	sample *core.Sample
	how    func(*core.Backup, *core.Facts)
}

func (a *app) backup(c holds) string {
	at := start.AddDate(0, 0, a.day)
	a.day++
	id := fmt.Sprintf("%08d", a.day)
	b := core.Backup{ID: id, App: "helpdesk", Time: at, Trigger: "schedule", Components: core.ComponentSizes{}}
	f := core.Facts{Backup: id, Time: at, Trigger: "schedule", Sample: c.sample}
	if c.tables != nil {
		f.Tables = map[string]core.RowCount{}
		size := core.ComponentSize{Tables: len(c.tables)}
		for name, rows := range c.tables {
			f.Tables[name] = core.RowCount{Rows: rows, Bytes: 1000 * rows}
			size.Rows += rows
			size.Bytes += 1000 * rows
		}
		b.Components[core.ComponentDatabase] = size
		b.LogicalBytes += size.Bytes
	}
	if c.files >= 0 {
		b.Components[core.ComponentFiles] = core.ComponentSize{Files: c.files, Bytes: c.files * 100_000}
		b.LogicalBytes += c.files * 100_000
	}
	f.Bytes, f.Components = b.LogicalBytes, b.Components
	if c.how != nil {
		c.how(&b, &f)
	}
	a.in.Backups = append(a.in.Backups, b)
	a.in.Facts = append(a.in.Facts, f)
	a.in.Now = at.Add(time.Hour)
	a.in.Expected = at
	return id
}

func (a *app) tables(rows map[string]int64) string { return a.backup(holds{tables: rows, files: 100}) }

// rows backs up an app with one table that matters.
func (a *app) rows(list ...int64) (last string) {
	for _, n := range list {
		last = a.tables(map[string]int64{"tickets": n, "settings": 40})
	}
	return last
}

// names are the problems as "name object", notices in brackets.
func names(list []core.Problem) []string {
	out := []string{}
	for _, p := range list {
		text := strings.TrimSpace(p.Name + " " + p.Object)
		if p.Level == core.LevelNotice {
			text = "(" + text + ")"
		}
		out = append(out, text)
	}
	return out
}

func (a *app) want(t *testing.T, when string, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, names(Judge(a.in))); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func repeat(n int, rows int64) []int64 { return slices.Repeat([]int64{rows}, n) }

// TestRows goes through histories of a table's rows; the last one is judged.
func TestRows(t *testing.T) {
	t.Parallel()
	days := func(n int, of func(day int) float64) (out []int64) {
		for d := range n {
			out = append(out, int64(of(d)))
		}
		return out
	}
	growing := func(d int) float64 { return 5000 * math.Pow(1.01, float64(d)) }
	weekly := func(d int) float64 { // least on Sunday
		return 1000 * float64(9-(d+3)%7)
	}
	dropped := []string{"rows-dropped table tickets", "shrank database"}
	for name, c := range map[string]struct {
		rows []int64
		want []string
	}{
		"the first":                          {[]int64{10000}, nil},
		"the second has less":                {[]int64{10000, 4000}, nil},
		"the third has less":                 {[]int64{10000, 10000, 4000}, nil},
		"half lost in the fourth":            {[]int64{10200, 10210, 10240, 5120}, dropped},
		"a new app fills up and varies":      {[]int64{300, 900, 700, 400}, nil},
		"steady":                             {repeat(60, 5000), nil},
		"a third lost":                       {append(repeat(20, 10000), 6700), nil},
		"half lost":                          {append(repeat(20, 10000), 5000), dropped},
		"nothing left":                       {append(repeat(20, 10000), 0), dropped},
		"growing, half lost":                 {append(days(60, growing), int64(growing(60)/2)), dropped},
		"growing":                            {days(100, growing), nil},
		"ten times as much":                  {append(repeat(20, 1000), repeat(2, 10000)...), nil},
		"ten times as much, and back":        {append(repeat(20, 1000), 10000, 1000), nil},
		"three times as much, half of that":  {slices.Concat(repeat(20, 1000), repeat(30, 3000), []int64{1500}), dropped},
		"a small table":                      {append(repeat(20, 90), 10), nil},
		"lost and not come back":             {append(repeat(20, 10000), repeat(40, 5000)...), dropped},
		"lost and come back":                 {append(repeat(20, 10000), 5000, 5000, 9900), nil},
		"lost, and half come back":           {append(repeat(20, 10000), 2000, 5900), dropped},
		"lost twice, come back between":      {append(repeat(20, 10000), 5000, 10000, 10000, 4000), dropped},
		"a queue":                            {[]int64{500, 3, 0, 900, 40, 2100, 700, 0, 10, 300, 800, 0, 600, 1200, 5}, nil},
		"goes up and down by a third":        {append(slices.Repeat([]int64{900, 600, 800, 1000, 650}, 8), 450), nil},
		"another in each day of the week":    {days(365, weekly), nil},
		"half of a Wednesday lost":           {append(days(363, weekly), int64(weekly(363)/2)), dropped},
		"seasons":                            {days(365, func(d int) float64 { return 5000 + 4000*math.Sin(float64(d)/58) }), nil},
		"emptied on the first of each month": {days(300, func(d int) float64 { return 1000 * float64(d%30) }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp()
			a.rows(c.rows...)
			got := names(Judge(a.in))
			got = slices.DeleteFunc(got, func(s string) bool { return s == "shrank database" }) // goes with it
			if diff := cmp.Diff(slices.DeleteFunc(slices.Clone(c.want), func(s string) bool { return s == "shrank database" }), got, cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWords is about what people read.
func TestWords(t *testing.T) {
	t.Parallel()
	a := newApp()
	for n := range 9 {
		a.tables(map[string]int64{"tickets": 10100 + int64(n)*37, "large": 90000})
	}
	a.tables(map[string]int64{"tickets": 5120, "large": 90000})
	want := []core.Problem{{
		App: "helpdesk", Topic: core.TopicContent, Name: "rows-dropped", Object: "table tickets", Level: core.LevelAlarm,
		Message: "table tickets has 5,120 rows; usual are 10,322 (between 10,100 and 10,396 in the last 9 backups before); since backup 00000010 of 2026-01-10 23:30 UTC",
		Hint:    "backstay diff 00000009 00000010 shows what changed; backstay restore helpdesk 00000009 --table tickets brings it back; backstay check helpdesk --accept says that it is right as it is; check.ignore_tables leaves out a table that is emptied now and then",
	}}
	if diff := cmp.Diff(want, Judge(a.in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Retention removed the last one that was usual: nobody can look into it.
	a.in.Backups = a.in.Backups[9:]
	if got := Judge(a.in)[0].Hint; strings.Contains(got, "00000009") {
		t.Errorf("the hint names a backup that is gone: %s", got)
	}
}

// TestFuture: a backup of a clock that is ahead is no content to judge others
// by, and hides nothing.
func TestFuture(t *testing.T) {
	t.Parallel()
	a := newApp()
	a.rows(repeat(20, 10000)...)
	a.rows(4000)
	now, due := a.in.Now, a.in.Expected
	a.day += 60
	id := a.rows(10000)
	a.in.Now, a.in.Expected = now, due
	a.want(t, "a whole one of the future", "future "+id, "shrank database", "rows-dropped table tickets")
	a.in.Backups = a.in.Backups[:len(a.in.Backups)-1]
	a.want(t, "one that is gone", "shrank database", "rows-dropped table tickets")
	if got, want := Judge(a.in)[1].Message, "table tickets has 4,000 rows"; !strings.HasPrefix(got, want) {
		t.Errorf("it says %q", got)
	}
	future := a.in.Facts[len(a.in.Facts)-1]
	future.Time = future.Time.AddDate(5, 0, 0)
	if kept := Worth(append(a.in.Facts, future)); len(kept) != len(a.in.Facts)+1 {
		t.Errorf("%d facts are kept of %d", len(kept), len(a.in.Facts)+1)
	}
	var days []core.Facts
	for day := range 300 {
		days = append(days, core.Facts{Backup: fmt.Sprint(day), Time: start.AddDate(0, 0, day)})
	}
	if kept := Worth(append(days, future)); len(kept) != 301 {
		t.Errorf("beside one that is years ahead %d of 300 days are kept", len(kept)-1)
	}
}

// TestTrusted: what can be restored is from before the content became
// implausible, until somebody says that it is right.
func TestTrusted(t *testing.T) {
	t.Parallel()
	rows := map[string]int64{"tickets": 10000, "empty": 0}
	whole := holds{tables: rows, files: 100, sample: &core.Sample{Files: 100, Noise: 2}}
	with := func(change func(*holds)) holds {
		h := whole
		h.tables = maps.Clone(rows)
		change(&h)
		return h
	}
	for name, c := range map[string]struct {
		then   []holds
		change func(*Input)
		want   string
	}{
		"all well":        {[]holds{whole}, nil, "00000007"},
		"rows lost":       {slices.Repeat([]holds{with(func(h *holds) { h.tables["tickets"] = 4000 })}, 3), nil, "00000006"},
		"and come back":   {[]holds{with(func(h *holds) { h.tables["tickets"] = 4000 }), whole}, nil, "00000008"},
		"a table gone":    {[]holds{with(func(h *holds) { delete(h.tables, "tickets") })}, nil, "00000006"},
		"an empty one":    {[]holds{with(func(h *holds) { delete(h.tables, "empty") })}, nil, "00000007"},
		"noise":           {[]holds{with(func(h *holds) { h.sample = &core.Sample{Files: 100, Noise: 90} }), with(func(h *holds) { h.sample = nil })}, nil, "00000006"},
		"a part gone":     {slices.Repeat([]holds{with(func(h *holds) { h.files, h.sample = -1, nil })}, 3), nil, "00000006"},
		"damaged":         {[]holds{whole, whole}, func(in *Input) { in.Backups[7].Damaged = &in.Now }, "00000007"},
		"of the future":   {[]holds{whole}, func(in *Input) { in.Backups[6].Time = in.Now.AddDate(0, 1, 0) }, "00000006"},
		"accepted":        {[]holds{with(func(h *holds) { h.tables["tickets"] = 4000 })}, func(in *Input) { in.Accepted = &Accepted{Backup: "00000007"} }, "00000007"},
		"not checked":     {[]holds{with(func(h *holds) { h.tables["tickets"] = 4000 })}, func(in *Input) { in.Limits.Off = true }, "00000007"},
		"none is from it": {[]holds{with(func(h *holds) { h.tables["tickets"] = 4000 })}, func(in *Input) { in.Backups = in.Backups[6:] }, ""},
	} {
		a := newApp()
		for range 6 {
			a.backup(whole)
		}
		for _, h := range c.then {
			a.backup(h)
		}
		if c.change != nil {
			c.change(&a.in)
		}
		got := ""
		if _, b := Review(a.in); b != nil {
			got = b.ID
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q; problems %v", name, got, c.want, names(Judge(a.in)))
		}
	}
}

// TestHostileNames: a hint that is pasted into a shell runs nothing that the
// application chose.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"priv_ticket": " --table priv_ticket brings", "a b": " --table 'a b' brings", "x;reboot": " --table 'x;reboot' brings", "$(id)": " --table '$(id)' brings",
		"größe": " --table 'größe' brings", "it's": "", "a`id`": "", "a\nreboot": "", "\x1b[2Ja": "", "-rf": "", `a"b`: "", "a\u202eb": "", `a\`: "", "a\xffb": "",
	} {
		a := newApp()
		for range 5 {
			a.tables(map[string]int64{name: 10000, "b": 90000})
		}
		a.tables(map[string]int64{name: 100, "b": 90000})
		problems := Judge(a.in)
		if len(problems) != 1 {
			t.Fatalf("%q: %v", name, names(problems))
		}
		if hint := problems[0].Hint; want == "" && strings.Contains(hint, "restore") || !strings.Contains(hint, want) {
			t.Errorf("%q: %s", name, hint)
		}
	}
}

// TestAccept: what somebody said is right is the usual from there on, and only
// where it was not.
func TestAccept(t *testing.T) {
	t.Parallel()
	a := newApp()
	both := func(tickets, users int64) string {
		return a.tables(map[string]int64{"tickets": tickets, "users": users, "a": 90000})
	}
	for range 10 {
		both(10000, 2000)
	}
	both(5000, 2000)
	a.want(t, "half lost", "rows-dropped table tickets")
	id := both(5000, 2000)
	a.in.Accepted = &Accepted{Backup: "00000010", Time: start.AddDate(0, 0, 9)}
	a.want(t, "accepted before", "rows-dropped table tickets")
	a.in.Accepted = &Accepted{Backup: id, Time: start.AddDate(0, 0, a.day)}
	a.want(t, "accepted")
	both(5000, 900)
	a.want(t, "another table, right after", "rows-dropped table users")
	both(5000, 2000)
	both(5001, 2000)
	both(2400, 2000)
	a.want(t, "half of what was accepted lost", "rows-dropped table tickets")
	// The backup that was named is gone: its time counts.
	a.in.Accepted = &Accepted{Backup: "gone", Time: a.in.Now}
	a.want(t, "accepted again")
	a.in.Accepted.Time = a.in.Now.AddDate(0, 2, 0)
	a.want(t, "accepted by a clock that is ahead", "rows-dropped table tickets")
}

// TestTables is about tables that are there or not.
func TestTables(t *testing.T) {
	t.Parallel()
	with := func(more map[string]int64) map[string]int64 {
		all := map[string]int64{"tickets": 100_000}
		maps.Copy(all, more)
		return all
	}
	a := newApp()
	for range 2 {
		a.tables(with(map[string]int64{"users": 3, "empty": 0, "tmp_import": 5}))
	}
	a.in.Limits.IgnoreTables = []string{"tmp_*"}
	a.tables(with(nil))
	a.want(t, "gone in the third", "table-vanished table users", "(table-vanished table empty)")
	a.tables(with(nil))
	a.want(t, "still gone", "table-vanished table users", "(table-vanished table empty)")
	a.tables(with(map[string]int64{"users": 3, "empty": 0}))
	a.want(t, "come back")
	for range 6 { // a table of a job that comes and goes
		a.tables(with(map[string]int64{"users": 3, "empty": 0, "job": 50}))
		a.tables(with(map[string]int64{"users": 3, "empty": 0, "job": 50}))
		a.tables(with(map[string]int64{"users": 3, "empty": 0}))
	}
	a.want(t, "comes and goes")
	// All tables are gone. JSON has no difference between none and not known.
	a.tables(map[string]int64{})
	a.in.Facts[len(a.in.Facts)-1].Tables = nil
	a.want(t, "none left", "shrank database", "table-vanished table tickets", "table-vanished table users", "(table-vanished table empty)")
	id := a.tables(map[string]int64{})
	a.in.Accepted = &Accepted{Backup: id}
	a.want(t, "accepted")

	many := newApp()
	all := map[string]int64{}
	for n := range 60 {
		all[fmt.Sprintf("table%02d", n)] = int64(200 + 10*n)
	}
	for range 3 {
		many.tables(all)
	}
	many.backup(holds{tables: map[string]int64{"table07": 270}, files: 100})
	got := slices.DeleteFunc(Judge(many.in), func(p core.Problem) bool { return p.Name != "table-vanished" })
	if len(got) != 11 || got[0].Object != "table table59" || got[10].Object != "49 more" || got[10].Message != "and 49 more tables are gone" {
		t.Errorf("many tables: %v", names(got))
	}
}

// TestComponents is about the parts of a backup.
func TestComponents(t *testing.T) {
	t.Parallel()
	rows := map[string]int64{"tickets": 10000}
	a := newApp()
	for range 5 {
		a.backup(holds{tables: rows, files: 500})
	}
	a.backup(holds{tables: rows, files: 200})
	a.want(t, "files shrank", "shrank files")
	a.backup(holds{tables: rows, files: 0})
	a.want(t, "no files left", "shrank files")
	a.backup(holds{tables: rows, files: 505})
	a.want(t, "come back")
	a.backup(holds{tables: rows, files: 505, how: func(b *core.Backup, f *core.Facts) {
		b.Components[core.ComponentFiles] = core.ComponentSize{Files: 100, Bytes: 50_000_000} // one large among few
	}})
	a.want(t, "fewer files", "shrank files")
	a.backup(holds{tables: rows, files: 5000})
	a.want(t, "ten times as much", "(grew files)")
	a.backup(holds{tables: rows, files: -1})
	a.backup(holds{files: 5000})
	a.backup(holds{files: 5000})
	a.backup(holds{tables: rows, files: 5000})
	a.backup(holds{tables: rows, files: -1})
	a.want(t, "a backup of the database alone")
	a.backup(holds{files: 5000})
	a.want(t, "a backup of the files alone")
	for range 3 {
		a.backup(holds{tables: rows, files: -1})
	}
	a.want(t, "files may be in the next")
	a.backup(holds{tables: rows, files: -1})
	a.backup(holds{tables: rows, files: -1})
	a.want(t, "no files any more", "component-vanished files")
	a.backup(holds{tables: rows, files: 5000})
	a.want(t, "files again")
	for range 10 {
		a.backup(holds{tables: rows, files: -1})
	}
	a.want(t, "no files once more", "component-vanished files")
	a.in.Accepted = &Accepted{Time: a.in.Now}
	a.want(t, "accepted")

	weekly := newApp() // the database each day, all on Sundays
	for d := range 100 {
		files := int64(-1)
		if d%7 == 3 {
			files = 500
		}
		weekly.backup(holds{tables: rows, files: files})
	}
	weekly.want(t, "files each week")
	weekly.backup(holds{files: 100})
	weekly.want(t, "fewer files this week", "shrank files")

	blobs := newApp() // rows are all there, and what was in them is not
	for range 5 {
		blobs.rows(10000)
	}
	blobs.backup(holds{tables: map[string]int64{"tickets": 10000, "settings": 40}, files: 100, how: func(_ *core.Backup, f *core.Facts) {
		f.Tables["tickets"] = core.RowCount{Rows: 10000, Bytes: 2_000_000}
	}})
	blobs.want(t, "contents emptied", "shrank table tickets")
}

// TestLike: only like is compared with like.
func TestLike(t *testing.T) {
	t.Parallel()
	a := newApp()
	a.rows(repeat(10, 10000)...)
	imported := func(b *core.Backup, f *core.Facts) {
		b.Origin = &core.Origin{Format: "itop"}
		b.Trigger, f.Trigger = core.TriggerImport, core.TriggerImport
	}
	a.backup(holds{tables: map[string]int64{"tickets": 100}, files: -1, how: imported})
	a.in.Scheduled = false
	a.want(t, "an imported one")
	a.backup(holds{tables: map[string]int64{"tickets": 100}, files: 0, how: func(b *core.Backup, f *core.Facts) {
		b.Trigger, f.Trigger = core.TriggerBeforeRestore, core.TriggerBeforeRestore
	}})
	a.want(t, "one of what a restore replaced")

	archives := newApp()
	archives.in.Scheduled = false
	for _, n := range []int64{10000, 10010, 10020, 4000} {
		archives.backup(holds{tables: map[string]int64{"tickets": n}, files: -1, how: imported})
	}
	got := names(Judge(archives.in))
	if !slices.Contains(got, "rows-dropped table tickets") {
		t.Errorf("among imported ones: %v", got)
	}
}

// TestNoise is about files that nobody can read any more.
func TestNoise(t *testing.T) {
	t.Parallel()
	of := func(noise, files int) holds {
		return holds{files: 100, sample: &core.Sample{Files: files, Noise: noise, Total: int64(files), Noisy: []string{"files/app/a", "files/app/b"}}}
	}
	a := newApp()
	a.backup(of(2, 100))
	a.backup(of(3, 100))
	a.backup(of(20, 100))
	a.want(t, "a few more")
	a.backup(of(60, 100))
	a.want(t, "most", "noise files")
	a.backup(of(100, 100))
	a.want(t, "all", "noise files")
	a.backup(of(0, 3))
	a.want(t, "too few to tell", "noise files")
	a.backup(of(4, 100))
	a.want(t, "as before")
	id := a.backup(of(70, 100))
	a.in.Accepted = &Accepted{Backup: id}
	a.want(t, "accepted")
	a.backup(of(72, 100))
	a.want(t, "the same after it was accepted")

	vault := newApp() // users keep encrypted files
	for n := range 20 {
		vault.backup(of(8+n%7, 25))
	}
	vault.backup(of(16, 25))
	vault.want(t, "more by chance")
	off := newApp()
	off.in.Limits.NoiseRise = -1
	for _, n := range []int{1, 1, 1, 100} {
		off.backup(of(n, 100))
	}
	off.want(t, "switched off")
}

// TestSizes are iTop's rules.
func TestSizes(t *testing.T) {
	t.Parallel()
	a := newApp()
	a.in.Limits.SizeReductionMax = 10
	a.backup(holds{files: 1000})
	a.backup(holds{files: 950})
	a.want(t, "5 percent less")
	a.backup(holds{files: 800})
	a.want(t, "16 percent less", "size-reduction")
	got := Judge(a.in)[0].Message
	if want := "backup 00000003 of 2026-01-03 23:30 UTC has 80.0 MB, 16 % less than the 95.0 MB of backup 00000002 before; at most 10 % are allowed"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	id := a.backup(holds{files: 800})
	a.want(t, "still", "size-reduction")
	a.in.Accepted = &Accepted{Backup: id}
	a.want(t, "accepted")
	a.in.Limits.SizeMin = 80_000_000
	a.want(t, "not more than the least", "size-min")
	a.in.Limits.SizeMin = 79_999_999
	a.want(t, "more than the least")
}

// TestPure: the same input gives the same problems, and is not changed.
func TestPure(t *testing.T) {
	t.Parallel()
	build := func() Input {
		a := newApp()
		for d := range 30 {
			tables := map[string]int64{}
			for n := range 40 {
				rows := int64(1000 + n)
				if d > 20 && n%3 == 0 {
					rows /= 3
				}
				tables[fmt.Sprint("t", n)] = rows
			}
			a.tables(tables)
		}
		return a.in
	}
	in := build()
	first := Judge(in)
	if len(first) < 11 {
		t.Fatalf("problems: %v", names(first))
	}
	if diff := cmp.Diff(build(), in); diff != "" {
		t.Errorf("the input was changed (-before +after):\n%s", diff)
	}
	slices.Reverse(in.Facts)
	for range 5 {
		if diff := cmp.Diff(first, Judge(in)); diff != "" {
			t.Fatalf("another answer (-first +later):\n%s", diff)
		}
	}
}

// TestWorth: of an hourly history the newest are kept, and one a day; nothing
// of that is dropped when there is more, and a loss stays known.
func TestWorth(t *testing.T) {
	t.Parallel()
	var all []core.Facts
	for hour := range 24 * 500 {
		rows := int64(10000)
		if hour > 24*300 {
			rows = 4000
		}
		all = Worth(append(all, core.Facts{
			Backup: fmt.Sprintf("%08d", hour), Time: start.Add(time.Duration(hour) * time.Hour),
			Tables: map[string]core.RowCount{"tickets": {Rows: rows, Bytes: 100}}, Components: core.ComponentSizes{core.ComponentDatabase: {Tables: 1, Rows: rows, Bytes: 100}},
		}))
	}
	if want := 100 + 400; len(all) < want-10 || len(all) > want {
		t.Errorf("%d of 12000 are kept", len(all))
	}
	got := names(Judge(Input{App: "helpdesk", Now: all[len(all)-1].Time, Facts: all}))
	if !slices.Contains(got, "rows-dropped table tickets") {
		t.Errorf("after 200 days of hourly backups the loss is forgotten: %v", got)
	}
}
