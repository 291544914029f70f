package console

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/repository"
)

const (
	usualLimit = 50
	mostLimit  = 1000
	outlookAge = 30 * time.Second
	horizon    = 5 * 365 * 24 * time.Hour // how far retention is looked ahead
	mostOpen   = 200_000                  // tables, chunks and objects of the backups that are kept open
	mostNames  = 400_000                  // in the folders that are remembered
	mostPlaces = 2_000                    // paths that were looked up
	mostDiffs  = 20_000                   // changes in the comparisons that are remembered
	mostFiles  = 500                      // of a comparison that are named
)

// part returns the part of a list that a page asks for.
func part[T any](all []T, p Page) ([]T, Page) {
	p.Limit = cmp.Or(min(max(p.Limit, 0), mostLimit), usualLimit)
	p.Total = len(all)
	p.Offset = min(max(p.Offset, 0), len(all))
	return all[p.Offset:min(p.Offset+p.Limit, len(all))], p
}

// outlook is what retention does with an app's backups.
type outlook struct {
	operation.Outlook
	keep map[string]decision
	err  error
}

type decision struct {
	keep    bool
	reasons []string
}

// future returns what retention does with an app's backups. It never fails:
// what is not known is said of each backup.
func (c *Console) future(ctx context.Context, app string) *outlook {
	c.mu.Lock()
	slot := c.outlooks[app]
	if slot == nil {
		slot = &cached[*outlook]{}
		c.outlooks[app] = slot
	}
	c.mu.Unlock()
	o, err := slot.get(ctx, c.o.Clock.Now, outlookAge, stale, func(ctx context.Context) (o *outlook, _ error) {
		o = &outlook{keep: map[string]decision{}}
		o.err = c.with(ctx, func(r Repository) error {
			caretaker := r.Caretaker(ctx)
			l, err := c.list(ctx)
			if err != nil {
				return err
			}
			caretaker.Know(l.all, l.lost)
			for _, a := range caretaker.Apps {
				if a.Name == app {
					o.Outlook, err = caretaker.Outlook(ctx, a, c.o.Clock.Now().Add(horizon))
					return err
				}
			}
			return noApp(app)
		})
		for _, d := range o.Decisions {
			o.keep[d.ID] = decision{d.Keep, d.Reasons}
		}
		return o, nil
	})
	if err != nil {
		return &outlook{err: err}
	}
	return o
}

func (o *outlook) of(b core.Backup) Backup {
	out := Backup{Backup: b, Keep: true, Reasons: []string{}}
	d, decided := o.keep[b.ID]
	switch {
	case o.err != nil:
		out.KeptUnknown = "what retention does is not known: " + o.err.Error()
	case !decided:
		out.Reasons, out.KeptUnknown = []string{"its app is not in backstay.yaml"}, "nothing removes it: its app is not in backstay.yaml"
	default:
		out.Keep, out.Reasons = d.keep, d.reasons
		out.KeptUnknown = o.Unknown
		if until, ok := o.Until[b.ID]; ok && o.Unknown == "" {
			out.KeptUntil = &until
		}
	}
	return out
}

// Backups lists backups.
func (c *Console) Backups(ctx context.Context, q BackupQuery) (Backups, error) {
	if q.App != "" && !core.ValidAppName(q.App) {
		return Backups{}, noApp("")
	}
	l, err := c.list(ctx)
	if err != nil {
		return Backups{}, err
	}
	var all []repository.Record
	if q.App != "" {
		all = slices.Clone(l.byApp[q.App])
	} else {
		for _, own := range l.byApp {
			all = append(all, own...)
		}
	}
	slices.SortFunc(all, func(a, b repository.Record) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID))
	})
	records, page := part(all, q.Page)
	out := Backups{Page: page, Backups: []Backup{}}
	if l.lost != nil {
		out.Unlisted = l.lost.Error()
	}
	for _, r := range records {
		out.Backups = append(out.Backups, c.outlookOf(ctx, r.App).of(r.Backup))
	}
	return out, nil
}

// outlookOf is future for an app that may not be configured.
func (c *Console) outlookOf(ctx context.Context, app string) *outlook {
	if c.known(app) != nil {
		return &outlook{}
	}
	return c.future(ctx, app)
}

// opened returns a backup's manifest and index, which never change.
func (c *Console) opened(ctx context.Context, id string) (*engine.Open, error) {
	rec, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if o, ok := c.opens.get(id); ok {
		fresh := *o
		fresh.Record = rec // what is recorded of it does change
		return &fresh, nil
	}
	var o *engine.Open
	err = c.with(ctx, func(r Repository) (err error) {
		o, err = r.Engine().OpenBackup(ctx, rec)
		return err
	})
	if err != nil {
		return nil, err
	}
	weight := 1 + len(o.Index.Objects)
	for _, t := range o.Index.Tables {
		weight += 1 + len(t.Columns) + len(t.Chunks)
	}
	if o.IndexDamage == nil {
		c.opens.put(id, o, weight)
	}
	return o, nil
}

// Backup looks at one; CodeNotFound. id is whole.
func (c *Console) Backup(ctx context.Context, id string) (Detail, error) {
	o, err := c.opened(ctx, id)
	if err != nil {
		return Detail{}, err
	}
	m := o.Manifest
	d := Detail{Backup: c.outlookOf(ctx, m.App).of(o.Record.Backup), Manifest: m, Tables: len(o.Index.Tables), Formats: formats(m)}
	if o.IndexDamage != nil {
		d.Damage = o.IndexDamage.Error()
	}
	l, err := c.list(ctx)
	if err != nil {
		return Detail{}, err
	}
	own := l.byApp[m.App]
	if i := slices.IndexFunc(own, func(r repository.Record) bool { return r.ID == id }); i >= 0 {
		if i > 0 {
			d.Former = own[i-1].ID
		}
		if i < len(own)-1 {
			d.Next = own[i+1].ID
		}
	}
	return d, nil
}

// formats are those that a backup can be downloaded in, the application's own first.
func formats(m core.Manifest) []string {
	var out []string
	if m.Profile == "itop" || m.Profile == "itflow" {
		out = append(out, m.Profile)
	}
	out = append(out, "backstay")
	if m.Database != nil {
		out = append(out, "sql")
	}
	return out
}

// Tables lists the tables of a backup.
func (c *Console) Tables(ctx context.Context, id string, q TableQuery) (Tables, error) {
	o, err := c.opened(ctx, id)
	if err != nil {
		return Tables{}, err
	}
	if o.IndexDamage != nil {
		return Tables{}, o.IndexDamage
	}
	name := strings.ToLower(q.Name)
	fits := func(s string) bool { return strings.Contains(strings.ToLower(s), name) }
	all := []Table{}
	for _, t := range o.Index.Tables {
		if fits(t.Name) {
			all = append(all, Table{Name: t.Name, Engine: t.Engine, Rows: t.Rows, Bytes: t.Bytes})
		}
	}
	switch q.Sort {
	case "rows":
		slices.SortStableFunc(all, func(a, b Table) int { return cmp.Compare(b.Rows, a.Rows) })
	case "bytes":
		slices.SortStableFunc(all, func(a, b Table) int { return cmp.Compare(b.Bytes, a.Bytes) })
	}
	out := Tables{Objects: []core.SchemaObject{}}
	out.Tables, out.Page = part(all, q.Page)
	if out.Offset == 0 {
		for _, object := range o.Index.Objects {
			if fits(object.Name) {
				out.Objects = append(out.Objects, object)
			}
		}
	}
	return out, nil
}

// cleanPath checks a path that somebody gave: it names one thing below a backup's
// root, or the root.
func cleanPath(p string) (string, error) {
	p = strings.Trim(p, "/")
	bad := len(p) > 8192 || strings.ContainsRune(p, 0)
	if p != "" {
		for _, element := range strings.Split(p, "/") {
			bad = bad || element == "" || element == "." || element == ".."
		}
	}
	if bad {
		return "", &core.Error{Code: core.CodeUsage, Op: "read path", Message: "no backup can have such a path", Hint: "begin at the backup's root and follow its folders"}
	}
	return p, nil
}

// entry finds what lies at a path.
func (c *Console) entry(ctx context.Context, id, p string) (o *engine.Open, e core.Entry, clean string, err error) {
	if clean, err = cleanPath(p); err != nil {
		return nil, e, "", err
	}
	if o, err = c.opened(ctx, id); err != nil {
		return nil, e, "", err
	}
	key := id + " " + clean
	e, known := c.places.get(key)
	if !known {
		err = c.with(ctx, func(r Repository) (err error) {
			e, err = o.Lookup(ctx, clean)
			return err
		})
		if err == nil {
			c.places.put(key, e, 1)
		}
	}
	return o, e, clean, err
}

// Folder lists a folder of a backup: folders first, by name.
func (c *Console) Folder(ctx context.Context, id string, q FileQuery) (Folder, error) {
	o, dir, clean, err := c.entry(ctx, id, q.Path)
	if err != nil {
		return Folder{}, err
	}
	if dir.Type != core.TypeDir {
		return Folder{}, &core.Error{Code: core.CodeUsage, Op: "list " + clean, Message: "it is not a folder", Hint: "open its folder, and download it from there"}
	}
	entries, err := c.names(ctx, dir.Object.ID)
	if err != nil {
		return Folder{}, err
	}
	if q.Name != "" {
		name := strings.ToLower(q.Name)
		entries = slices.DeleteFunc(slices.Clone(entries), func(e core.Entry) bool { return !strings.Contains(strings.ToLower(e.Name), name) })
	}
	shown, page := part(entries, q.Page)
	out := Folder{Page: page, Path: clean, Entries: []File{}}
	var large []core.ObjectID
	for _, e := range shown {
		f := fileOf(e, clean, o.Manifest.Owners)
		if e.Type == core.TypeSymlink {
			f.Target = c.target(ctx, e)
		}
		if e.Type == core.TypeDir && e.Files > manyFiles && len(large) < mostAhead {
			large = append(large, e.Object.ID)
		}
		out.Entries = append(out.Entries, f)
	}
	c.readAhead(large)
	return out, nil
}

// names returns what lies in a folder: folders first, by name. It must not be changed.
func (c *Console) names(ctx context.Context, dir core.ObjectID) ([]core.Entry, error) {
	if entries, known := c.folders.get(dir); known {
		return entries, nil
	}
	var entries []core.Entry
	err := c.with(ctx, func(r Repository) (err error) {
		entries, err = r.Engine().Store.ReadDir(ctx, dir)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b core.Entry) int {
		return cmp.Or(-boolCompare(a.Type == core.TypeDir, b.Type == core.TypeDir), strings.Compare(a.Name, b.Name))
	})
	c.folders.put(dir, entries, len(entries)+1)
	return entries, nil
}

// manyFiles is from how many on a folder below one that is looked at is read
// ahead: 100,000 names take half a second.
const manyFiles = 5000

// mostAhead is how many folders are read ahead at most.
const mostAhead = 4

// readAhead reads folders that somebody may look at next, unless others are
// being read so.
func (c *Console) readAhead(folders []core.ObjectID) {
	folders = slices.DeleteFunc(folders, func(dir core.ObjectID) bool {
		_, known := c.folders.get(dir)
		return known
	})
	if len(folders) == 0 || !c.ahead.TryLock() {
		return
	}
	go func() {
		defer c.ahead.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		for _, dir := range folders {
			if _, err := c.names(ctx, dir); err != nil {
				c.o.Log.Debug("read a folder ahead", "err", err) // who looks at it hears of it
			}
		}
	}()
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// target is where a symbolic link leads; "" when that cannot be read.
func (c *Console) target(ctx context.Context, e core.Entry) (target string) {
	if e.Object.Size > 4096 {
		return ""
	}
	err := c.with(ctx, func(r Repository) (err error) {
		f, err := r.Engine().Store.Open(ctx, e.Object.ID)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		b, err := io.ReadAll(io.LimitReader(f, 4096))
		target = string(b)
		return err
	})
	if err != nil {
		return ""
	}
	return target
}

func fileOf(e core.Entry, folder string, owners core.Owners) File {
	p := e.Name
	if folder != "" {
		p = folder + "/" + e.Name
	}
	mode := e.Mode
	switch e.Type {
	case core.TypeDir:
		mode |= fs.ModeDir
	case core.TypeSymlink:
		mode |= fs.ModeSymlink
	}
	user, group := strconv.FormatUint(uint64(e.UID), 10), strconv.FormatUint(uint64(e.GID), 10)
	return File{
		Name: e.Name, Path: p, Type: e.Type, Size: e.Object.Size, Files: e.Files, Mode: mode.String(), ModTime: e.ModTime,
		Owner: cmp.Or(owners.Users[user], user) + ":" + cmp.Or(owners.Groups[group], group),
	}
}

// content is a file of a repository that stays open for it.
type content struct {
	io.ReadSeekCloser
	release func()
}

func (f content) Close() error {
	defer f.release()
	return f.ReadSeekCloser.Close()
}

// Open opens a file of a backup. Errors as Folder; CodeUsage for a folder.
func (c *Console) Open(ctx context.Context, id, path string) (*Content, error) {
	o, e, clean, err := c.entry(ctx, id, path)
	if err != nil {
		return nil, err
	}
	if e.Type == core.TypeDir {
		return nil, &core.Error{Code: core.CodeUsage, Op: "read " + clean, Message: "it is a folder", Hint: "download the backup as an archive, or restore the folder"}
	}
	r, release, err := c.hold.take(ctx, c.o.Config())
	if err != nil {
		return nil, err
	}
	f, err := r.Engine().Store.Open(ctx, e.Object.ID)
	if err != nil {
		release()
		return nil, err
	}
	folder := ""
	if i := strings.LastIndexByte(clean, '/'); i >= 0 {
		folder = clean[:i]
	}
	return &Content{ReadSeekCloser: content{f, release}, File: fileOf(e, folder, o.Manifest.Owners), ETag: `"` + string(e.Object.ID) + `"`}, nil
}

// Compare says what is different in the backup id as against former.
func (c *Console) Compare(ctx context.Context, former, id string) (Comparison, error) {
	a, err := c.opened(ctx, former)
	if err != nil {
		return Comparison{}, err
	}
	b, err := c.opened(ctx, id)
	if err != nil {
		return Comparison{}, err
	}
	if a.Manifest.App != b.Manifest.App {
		return Comparison{}, &core.Error{Code: core.CodeUsage, Op: "compare backups", Message: "they are of two apps: " + a.Manifest.App + " and " + b.Manifest.App, Hint: "choose two backups of one app"}
	}
	key := former + " " + id
	d, known := c.diffs.get(key)
	if !known {
		err := c.with(ctx, func(r Repository) (err error) {
			d, err = r.Engine().Diff(ctx, a, b)
			return err
		})
		if err != nil {
			return Comparison{}, err
		}
		weight := 1 + len(d.Tables) + len(d.Modules) + len(d.Objects)
		for _, f := range d.Files {
			weight += len(f.Changes)
		}
		c.diffs.put(key, d, weight)
	}
	out := Comparison{Former: c.outlookOf(ctx, a.Manifest.App).of(a.Record.Backup), Backup: c.outlookOf(ctx, b.Manifest.App).of(b.Record.Backup), Difference: *d, Files: []engine.Change{}}
	for _, f := range d.Files {
		for _, change := range f.Changes {
			if len(out.Files) == mostFiles {
				out.More++
				continue
			}
			out.Files = append(out.Files, change)
		}
	}
	return out, nil
}

// Pin keeps a backup from retention and deletion, or lets go of it.
func (c *Console) Pin(ctx context.Context, id string, pin bool) error {
	rec, err := c.find(ctx, id)
	if err != nil {
		return err
	}
	defer c.forget()
	return c.with(ctx, func(r Repository) error { return r.Engine().Pin(ctx, rec, pin) })
}

// Delete removes a backup. A pinned one is refused.
func (c *Console) Delete(ctx context.Context, id string) error {
	if !repository.ValidID(id) {
		return noBackup(id)
	}
	defer c.forget()
	return c.with(ctx, func(r Repository) error {
		rec, err := r.Engine().Find(ctx, id) // as it is now: it may have been pinned meanwhile
		if err == nil && rec.ID != id {
			err = noBackup(id)
		}
		if err != nil {
			return err
		}
		return r.Engine().Delete(ctx, rec)
	})
}
