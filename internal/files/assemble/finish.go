package assemble

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// Finish stores the folders, and is the last call but for Close.
func (b *Builder) Finish(ctx context.Context) (*Result, error) {
	b.storing.Wait()
	if err := b.failed(ctx); err != nil {
		return nil, err
	}
	b.closed = true
	result, err := b.finish(ctx)
	if err != nil {
		return nil, b.fail(err)
	}
	return result, nil
}

func (b *Builder) finish(ctx context.Context) (_ *Result, err error) {
	defer func() {
		if b.extra == nil {
			return
		}
		if cerr := b.extra.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("store extra.jsonl: %w", cerr)
		}
	}()
	result := &Result{}
	top := core.Entry{Name: string(b.opt.Component), Type: core.TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0).UTC()}
	var entries []core.Entry
	for _, p := range b.places {
		e, err := b.storeFolder(ctx, p, p.root, "", p.Place)
		if err != nil {
			return nil, err
		}
		if e.ModTime.After(top.ModTime) {
			top.ModTime = e.ModTime
		}
		top.Files += e.Files
		entries = append(entries, e)
	}
	if top.Object, err = b.w.WriteDir(ctx, entries); err != nil {
		return nil, fmt.Errorf("store folder %s: %w", b.opt.Component, err)
	}
	result.Entry = top
	if b.extra != nil {
		object, err := b.extra.Finish()
		if err != nil {
			return nil, fmt.Errorf("store extra.jsonl: %w", err)
		}
		result.Extra = &object
	}
	for _, p := range b.places {
		if result.Extra != nil {
			p.counts.Extra = files.ExtraName(b.opt.Component)
		}
		result.Trees = append(result.Trees, p.counts)
	}
	result.Owners = b.owners.all()
	if b.owners.more {
		b.warnings.Add(CodeOwners, b.places[0].Root, fmt.Sprintf("there are more than %d owners; the names of the others were not kept", maxOwners))
	}
	result.Warnings = b.warnings.All(" of " + string(b.opt.Component))
	return result, nil
}

// storeFolder stores what is in a folder and then the folder, and lets go of
// it. path is below the place's root, stored the same in the component.
func (b *Builder) storeFolder(ctx context.Context, p *place, d *folder, path, stored string) (core.Entry, error) {
	if err := ctx.Err(); err != nil {
		return core.Entry{}, err
	}
	if !d.given {
		a := Attributes{Mode: 0o755}
		if p.Folder != nil {
			a = p.Folder(path)
		}
		b.setAttributes(p, d, path, a)
	}
	// In their order, because names that are no UTF-8 are stored by it.
	slices.SortFunc(d.records, func(q, r record) int { return strings.Compare(q.name, r.name) })
	names := make([]string, len(d.records))
	for i := range d.records {
		names[i] = d.records[i].name
	}
	escaped := files.EscapeNames(names)
	var extras []files.Extra
	entries := make([]core.Entry, 0, len(d.records))
	count := int64(0)
	for i := range d.records {
		r := &d.records[i]
		name := r.name
		if n, ok := escaped[name]; ok {
			extras = append(extras, files.Extra{Path: join(stored, n), Name: []byte(name)})
			name = n
		}
		e := r.entry(name)
		switch e.Type {
		case core.TypeDir:
			var err error
			if e, err = b.storeFolder(ctx, p, r.folder, join(path, r.name), join(stored, name)); err != nil {
				return e, err
			}
			e.Name = name
			count += e.Files
		case core.TypeFile:
			count++
		}
		entries = append(entries, e)
	}
	d.records, d.index = nil, nil
	slices.SortFunc(entries, func(e, f core.Entry) int { return strings.Compare(e.Name, f.Name) })
	e := d.self.entry(d.self.name)
	var err error
	if e.Object, err = b.w.WriteDir(ctx, entries); err != nil {
		return e, fmt.Errorf("store folder %s: %w", files.Quote(p.real(path)), err)
	}
	e.Files = count
	p.counts.Dirs++
	return e, b.writeExtras(ctx, extras)
}

// writeExtras appends lines to extra.jsonl, which is begun with the first.
func (b *Builder) writeExtras(ctx context.Context, extras []files.Extra) error {
	if len(extras) == 0 {
		return nil
	}
	if b.extra == nil {
		w, err := b.w.Create(ctx, files.ExtraName(b.opt.Component))
		if err != nil {
			return fmt.Errorf("store extra.jsonl: %w", err)
		}
		b.extra = w
	}
	slices.SortFunc(extras, func(x, y files.Extra) int { return strings.Compare(x.Path, y.Path) })
	for i := range extras {
		line, err := extras[i].Encode()
		if err != nil {
			return err
		}
		if _, err := b.extra.Write(line); err != nil {
			return fmt.Errorf("store extra.jsonl: %w", err)
		}
	}
	return nil
}

// owners collects the names behind ids: for each id the first that is one.
type owners struct {
	users, groups map[uint32]string
	more          bool // there were too many
}

func (b *Builder) own(a Attributes) {
	o := &b.owners
	if o.users == nil {
		o.users, o.groups = map[uint32]string{}, map[uint32]string{}
	}
	o.add(o.users, a.UID, a.User)
	o.add(o.groups, a.GID, a.Group)
}

func (o *owners) add(names map[uint32]string, id uint32, name string) {
	if name == "" || names[id] != "" || !isName(name) {
		return
	}
	if len(names) >= maxOwners {
		o.more = true
		return
	}
	names[id] = strings.Clone(name)
}

// isName says whether an account can be called so.
func isName(name string) bool {
	return len(name) <= maxName && utf8.ValidString(name) && !strings.ContainsAny(name, ":/") &&
		strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func (o *owners) all() core.Owners {
	out := core.Owners{Users: map[string]string{}, Groups: map[string]string{}}
	for id, name := range o.users {
		out.Users[strconv.FormatUint(uint64(id), 10)] = name
	}
	for id, name := range o.groups {
		out.Groups[strconv.FormatUint(uint64(id), 10)] = name
	}
	return out
}
