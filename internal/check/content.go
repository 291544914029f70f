package check

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

const (
	bytesMin     = 1 << 20        // components and tables with less are not judged by SizeDrop
	filesMin     = 20             // files of a component, likewise
	grewBy       = 64 << 20       // a component that doubled by less is not mentioned
	presentTwice = 2              // a table or component is missed when it was there so often
	gapMin       = 24 * time.Hour // a component is missed when it is not in backups for longer than this
	gapFactor    = 1.5            // and so many times longer than it usually was
	gapsKept     = 10
)

// content goes through the backups from the oldest to the newest. What is not
// usual does not become usual by being there, until somebody says that it is
// right.
type content struct {
	limits     Limits
	components map[core.Component]*component
	tables     map[string]*table
	noise      noise
	sets       map[string]*reduction
	newest     moment
	newestDB   moment
}

// component is what is known of one component.
type component struct {
	bytes, files *series
	seen         int
	last         moment
	gaps         []time.Duration
	without      int // backups since
	vanished     *moment
	grew         float64 // what was expected, where the last has more than twice as much; 0: it has not
}

// table is what is known of one table.
type table struct {
	rows, bytes *series
	seen        int // backups in a row
	returns     int
	last        moment // the last that has it
	gone        *moment
}

// reduction is iTop's rule: a backup against the one before it.
type reduction struct {
	before, now moment
	since       *moment
}

func newContent(limits Limits) *content {
	return &content{limits: limits, components: map[core.Component]*component{}, tables: map[string]*table{}, sets: map[string]*reduction{}, noise: noise{rise: limits.NoiseRise, deviations: limits.Deviations}}
}

func (c *content) series(percent float64, least float64) *series {
	s := &series{drop: min(percent, 100) / 100, deviations: max(0, c.limits.Deviations), enough: c.limits.MinBackups, least: least}
	if c.limits.MinBackups < 0 {
		s.drop = -1
	}
	return s
}

func (c *content) ignored(name string) bool {
	return slices.ContainsFunc(c.limits.IgnoreTables, func(glob string) bool {
		match, err := path.Match(glob, name)
		return err == nil && match // the configuration is where globs are refused
	})
}

// walk goes through moments, oldest first. Those up to accepted are right.
func (c *content) walk(moments []moment, accepted time.Time) {
	said := accepted.IsZero()
	for _, m := range moments {
		if !said && m.at.After(accepted) {
			c.accept()
			said = true
		}
		c.add(m)
	}
	if !said {
		c.accept()
	}
}

func (c *content) add(m moment) {
	c.newest = m
	for name, n := range m.components {
		c.addComponent(name, n, m)
	}
	for name, k := range c.components {
		if _, has := m.components[name]; !has {
			k.miss(m)
		}
	}
	if m.tables != nil {
		c.addTables(m)
	}
	if m.sample != nil {
		c.noise.add(m)
	}
	c.reduce(m)
}

func (c *content) addComponent(name core.Component, n core.ComponentSize, m moment) {
	k := c.components[name]
	if k == nil {
		k = &component{bytes: c.series(c.limits.SizeDrop, bytesMin), files: c.series(c.limits.SizeDrop, filesMin)}
		k.bytes.emptied, k.files.emptied = true, true
		c.components[name] = k
	}
	if k.seen > 0 && k.vanished == nil {
		k.gaps = append(k.gaps, m.at.Sub(k.last.at))
		k.gaps = k.gaps[max(0, len(k.gaps)-gapsKept):]
	}
	k.grew = 0
	if expected := k.bytes.expected(); len(k.bytes.usual) >= max(1, k.bytes.enough) && float64(n.Bytes) > 2*expected && float64(n.Bytes)-expected > grewBy {
		k.grew = expected
	}
	k.seen, k.last, k.without, k.vanished = k.seen+1, m, 0, nil
	k.bytes.add(m.backup, m.at, float64(n.Bytes))
	if name != core.ComponentDatabase {
		k.files.add(m.backup, m.at, float64(n.Files))
	}
}

// miss notes that a backup does not have the component. Backups of only a part
// of the app are usual; that no backup has it any more is not.
func (k *component) miss(m moment) {
	k.without++
	if k.vanished != nil || k.seen < presentTwice || k.without < presentTwice {
		return
	}
	usually := slices.Max(append(k.gaps[:len(k.gaps):len(k.gaps)], 0))
	if gap := m.at.Sub(k.last.at); gap > gapMin && float64(gap) > gapFactor*float64(usually) {
		k.vanished = &m
	}
}

func (c *content) addTables(m moment) {
	c.newestDB = m
	for name, n := range m.tables {
		if c.ignored(name) {
			continue
		}
		t := c.tables[name]
		if t == nil {
			t = &table{rows: c.series(c.limits.RowsDrop, float64(max(0, c.limits.RowsMin))), bytes: c.series(c.limits.SizeDrop, bytesMin)}
			c.tables[name] = t
		}
		if t.gone != nil {
			t.returns, t.gone = t.returns+1, nil
		}
		t.seen, t.last = t.seen+1, m
		t.rows.add(m.backup, m.at, float64(n.Rows))
		t.bytes.add(m.backup, m.at, float64(n.Bytes))
	}
	for name, t := range c.tables {
		if _, has := m.tables[name]; has || t.gone != nil {
			continue
		}
		if t.seen >= presentTwice && t.returns < swings {
			t.gone = &m
		}
		t.seen = 0
	}
}

func (c *content) reduce(m moment) {
	if c.limits.SizeReductionMax <= 0 {
		return
	}
	names := slices.Sorted(maps.Keys(m.components))
	key := fmt.Sprint(names)
	r := c.sets[key]
	if r == nil {
		c.sets[key] = &reduction{before: m, now: m}
		return
	}
	r.now = m
	if float64(m.bytes) < float64(r.before.bytes)*(1-c.limits.SizeReductionMax/100) {
		if r.since == nil {
			r.since = &m
		}
		return
	}
	r.before, r.since = m, nil
}

// accept makes all that is there now usual.
func (c *content) accept() {
	for name, k := range c.components {
		k.bytes.accept()
		k.files.accept()
		if k.vanished != nil || k.without > 0 && k.seen < presentTwice {
			delete(c.components, name)
		}
	}
	for name, t := range c.tables {
		t.rows.accept()
		t.bytes.accept()
		if t.gone != nil {
			delete(c.tables, name)
		}
	}
	for _, r := range c.sets {
		r.before, r.since = r.now, nil
	}
	c.noise.accept()
}

// content judges whether the newest backups have what those before had. began
// is the time of the first backup that is implausible, zero: none is.
func (j *judge) content() (began time.Time) {
	moments := history(j.in)
	c := newContent(j.limits)
	c.walk(moments, acceptedUntil(j.in, moments))
	there := map[string]bool{}
	for _, m := range moments {
		there[m.backup] = m.there
	}
	r := report{judge: j, there: there, newest: c.newest.backup, newestDB: c.newestDB.backup}
	r.reductions(c)
	r.components(c)
	r.tables(c)
	r.noise(c)
	return c.began(moments)
}

// began is the time of the first backup with something implausible that lasts.
func (c *content) began(moments []moment) (first time.Time) {
	at := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	falls := func(list ...*series) {
		for _, s := range list {
			if s.fall != nil {
				at(s.fall.since)
			}
		}
	}
	for _, k := range c.components {
		falls(k.bytes, k.files)
		if k.vanished != nil {
			if i := slices.IndexFunc(moments, func(m moment) bool { return m.at.After(k.last.at) }); i >= 0 {
				at(moments[i].at)
			}
		}
	}
	for name, t := range c.tables {
		falls(t.rows, t.bytes)
		if t.gone != nil && !t.wasEmpty(name) {
			at(t.gone.at)
		}
	}
	for _, r := range c.sets {
		if r.since != nil {
			at(r.since.at)
		}
	}
	if c.noise.risen != nil {
		at(c.noise.risen.first.at)
	}
	return first
}

// wasEmpty says whether a table that is gone held nothing.
func (t *table) wasEmpty(name string) bool {
	return t.last.tables[name].Rows == 0 && t.rows.expected() <= 0
}

// report puts into words what is not usual.
type report struct {
	*judge
	there            map[string]bool // backups that can still be looked into
	newest, newestDB string
}

// lookAt says how to see what changed, and how to say that it is right.
func (r report) lookAt(before, now, more string) string {
	var parts []string
	if r.there[before] && r.there[now] && before != now {
		parts = append(parts, fmt.Sprintf("backstay diff %s %s shows what changed", brief(before), brief(now)))
	}
	if more != "" && r.there[before] {
		parts = append(parts, more)
	}
	return strings.Join(append(parts, "backstay check "+r.in.App+" --accept says that it is right as it is"), "; ")
}

// than says what is usual, of a fall.
func (f *fall) than(write func(int64) string) string {
	text := "usual are " + write(round(f.expected))
	if f.slow > 0 {
		return fmt.Sprintf("%s were there not long ago, and it became less by and by", write(round(f.slow)))
	}
	if f.low == f.high {
		return fmt.Sprintf("%s (in the last %d backups before)", text, f.of)
	}
	return fmt.Sprintf("%s (between %s and %s in the last %d backups before)", text, write(round(f.low)), write(round(f.high)), f.of)
}

func round(x float64) int64 { return int64(math.Round(x)) }

func (r report) since(backup string, at time.Time) string {
	return fmt.Sprintf("since backup %s of %s", brief(backup), r.when(at))
}

func (r report) reductions(c *content) {
	for _, key := range slices.Sorted(maps.Keys(c.sets)) {
		s := c.sets[key]
		if s.since == nil {
			continue
		}
		r.add(core.TopicContent, core.LevelAlarm, "size-reduction", "",
			fmt.Sprintf("backup %s of %s has %s, %.0f %% less than the %s of backup %s before; at most %g %% are allowed", brief(s.now.backup), r.when(s.now.at), size(s.now.bytes),
				100-100*float64(s.now.bytes)/float64(s.before.bytes), size(s.before.bytes), brief(s.before.backup), c.limits.SizeReductionMax),
			r.lookAt(s.before.backup, s.now.backup, ""))
	}
}

func (r report) components(c *content) {
	for _, name := range slices.Sorted(maps.Keys(c.components)) {
		k := c.components[name]
		object := string(name)
		switch {
		case k.vanished != nil:
			r.add(core.TopicContent, core.LevelAlarm, "component-vanished", object,
				fmt.Sprintf("backups have no %s any more; the last that has, %s of %s, has %s", name, brief(k.last.backup), r.when(k.last.at), size(k.last.components[name].Bytes)),
				"see whether it is still configured, and there; "+r.lookAt("", "", ""))
		case k.bytes.fall != nil:
			f := k.bytes.fall
			r.add(core.TopicContent, core.LevelAlarm, "shrank", object,
				fmt.Sprintf("%s has %s; %s; %s", name, size(round(f.last.value)), f.than(size), r.since(f.backup, f.since)), r.lookAt(f.before.backup, f.last.backup, ""))
		case k.files.fall != nil:
			f := k.files.fall
			r.add(core.TopicContent, core.LevelAlarm, "shrank", object,
				fmt.Sprintf("%s has %s files; %s; %s", name, count(round(f.last.value)), f.than(count), r.since(f.backup, f.since)), r.lookAt(f.before.backup, f.last.backup, ""))
		case k.grew > 0:
			r.add(core.TopicContent, core.LevelNotice, "grew", object,
				fmt.Sprintf("%s has %s in backup %s of %s, more than twice the usual %s", name, size(k.last.components[name].Bytes), brief(k.last.backup), r.when(k.last.at), size(round(k.grew))), "")
		}
	}
}

// lost is a problem of a table, and how much of it there was.
type lost struct {
	core.Problem
	weight float64
}

func (r report) tables(c *content) {
	var vanished, dropped, shrank []lost
	for name, t := range c.tables {
		p := core.Problem{App: r.in.App, Topic: core.TopicContent, Object: "table " + name, Level: core.LevelAlarm}
		takeOut := func(backup string) string {
			word, ok := shellWord(name)
			if !ok {
				return ""
			}
			return fmt.Sprintf("backstay restore %s %s --table %s brings it back", r.in.App, brief(backup), word)
		}
		switch {
		case t.gone != nil:
			rows := t.last.tables[name].Rows
			p.Name = "table-vanished"
			p.Message = fmt.Sprintf("table %s is gone %s; it had %s rows", name, r.since(t.gone.backup, t.gone.at), count(rows))
			p.Hint = r.lookAt(t.last.backup, r.newestDB, takeOut(t.last.backup))
			if t.wasEmpty(name) {
				p.Level = core.LevelNotice
			}
			vanished = append(vanished, lost{p, float64(rows)})
		case t.rows.fall != nil:
			f := t.rows.fall
			p.Name = "rows-dropped"
			p.Message = fmt.Sprintf("table %s has %s rows; %s; %s", name, count(round(f.last.value)), f.than(count), r.since(f.backup, f.since))
			p.Hint = r.lookAt(f.before.backup, f.last.backup, takeOut(f.before.backup)) + "; check.ignore_tables leaves out a table that is emptied now and then"
			dropped = append(dropped, lost{p, f.expected - f.last.value})
		case t.bytes.fall != nil:
			f := t.bytes.fall
			p.Name = "shrank"
			p.Message = fmt.Sprintf("table %s has %s with %s rows; %s; %s", name, size(round(f.last.value)), count(t.last.tables[name].Rows), f.than(size), r.since(f.backup, f.since))
			p.Hint = r.lookAt(f.before.backup, f.last.backup, takeOut(f.before.backup))
			shrank = append(shrank, lost{p, f.expected - f.last.value})
		}
	}
	for _, kind := range []struct {
		list []lost
		what string
	}{{vanished, "tables are gone"}, {dropped, "tables lost rows"}, {shrank, "tables lost data"}} {
		slices.SortFunc(kind.list, func(a, b lost) int {
			return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(b.weight, a.weight), cmp.Compare(a.Object, b.Object))
		})
		var problems []core.Problem
		for _, l := range kind.list {
			problems = append(problems, l.Problem)
		}
		r.problems = append(r.problems, atMost(problems, kind.what)...)
	}
}
