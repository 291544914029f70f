package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// Limits. A file's name is kept as eight bytes.
const (
	pageRows   = 2_000
	maxNames   = 4_000_000
	mostNamed  = 500 // missing files that have a proof of their own
	mostExtra  = 100 // extra files that have one
	dirBatch   = 1_000
	maxDepth   = 32
	textWindow = 64 << 10 // characters of a document at a time
	textRows   = 20
	overlap    = 1 << 10 // characters; more than image matches
)

// column is a column that names a file.
type column struct {
	table, id, name string
	owner           string   // the column whose number is the folder; "": none
	folder          string   // "uploads/clients"
	also            []string // what may lie beside it, by prefix
}

// columns are those that ITFlow's pages read files by.
func columns() []column {
	const clients = "uploads/clients"
	return []column{
		{"files", "file_id", "file_reference_name", "file_client_id", clients, []string{"thumbnail_", "preview_"}},
		{"ticket_attachments", "ticket_attachment_id", "ticket_attachment_reference_name", "ticket_attachment_ticket_id", "uploads/tickets", nil},
		{"contacts", "contact_id", "contact_photo", "contact_client_id", clients, nil},
		{"assets", "asset_id", "asset_photo", "asset_client_id", clients, nil},
		{"locations", "location_id", "location_photo", "location_client_id", clients, nil},
		{"racks", "rack_id", "rack_photo", "rack_client_id", clients, nil},
		{"users", "user_id", "user_avatar", "user_id", "uploads/users", nil},
		{"companies", "company_id", "company_logo", "", "uploads/settings", nil},
		{"expenses", "expense_id", "expense_receipt", "", "uploads/expenses", nil},
	}
}

// text is a column that holds HTML with images of ITFlow's own.
type text struct{ table, id, name string }

func texts() []text {
	return []text{
		{"documents", "document_id", "document_content"},
		{"document_versions", "document_version_id", "document_version_content"},
		{"document_templates", "document_template_id", "document_template_content"},
	}
}

// image is where saveBase64Images puts the images that it takes out of a text.
var image = regexp.MustCompile(`(?i)\bsrc\s*=\s*["']?[^"'>\s]{0,255}?(uploads/(?:documents|document_templates)/\d{1,20}/[A-Za-z0-9][A-Za-z0-9._-]{0,199})`)

// fileProver compares what rows name with what is there.
type fileProver struct {
	*prover
	root    *os.Root
	seed    maphash.Seed
	names   []uint64 // of the paths that rows name
	many    bool     // more than maxNames
	named   int64
	missing int64
	failed  int64
	queued  int64 // missing ones that waiting mail names

	lastDir, lastLink string // of linkAbove
}

// files proves that the files that rows name are there, and lists those that no
// row names.
func (p *prover) files(ctx context.Context) (err error) {
	if p.noDatabase(RowFiles) {
		return nil
	}
	why := ""
	switch {
	case p.Root == "" || !slices.Contains(p.Manifest.Components, core.ComponentFiles):
		why = "the backup has no files of users to look for"
	case p.Partly:
		why = "only some of the rows and files were restored, so that it cannot be said which of them belong together"
	}
	if why != "" {
		p.say(core.ProofSkipped, RowFiles, "", 0, "%s", why)
		p.say(core.ProofSkipped, ExtraFiles, "", 0, "%s", why)
		return nil
	}
	f := &fileProver{prover: p, seed: maphash.MakeSeed()}
	if f.root, err = os.OpenRoot(p.Root); err != nil {
		p.say(core.ProofFailed, RowFiles, "", 0, "the copy's folder cannot be read: %v", err)
		return nil
	}
	defer func() { err = errors.Join(err, f.root.Close()) }()
	whole, err := f.readAll(ctx)
	if err != nil {
		return err
	}
	f.summary()
	if !whole || f.many {
		p.say(core.ProofSkipped, ExtraFiles, "", 0, "files that no row names were not looked for: not all the names could be read or kept")
		return nil
	}
	slices.Sort(f.names)
	f.names = slices.Compact(f.names)
	return f.extra(ctx)
}

// readAll reads the names of all columns; whole is false when one of them could
// not be read.
func (f *fileProver) readAll(ctx context.Context) (whole bool, err error) {
	whole = true
	read := func(table, name string, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			whole = false
			f.failed++
			f.say(core.ProofFailed, RowFiles, table+"."+name, 0, "the names of files cannot be read: %v", err)
		}
		return nil
	}
	for _, c := range columns() {
		if !f.has(c.table, c.id, c.name) || c.owner != "" && !f.has(c.table, c.owner) {
			continue // not in this version
		}
		if err := read(c.table, c.name, f.column(ctx, c)); err != nil {
			return false, err
		}
	}
	for _, t := range texts() {
		if !f.has(t.table, t.id, t.name) {
			continue
		}
		if err := read(t.table, t.name, f.text(ctx, t)); err != nil {
			return false, err
		}
	}
	if f.has("email_queue", "email_id", "email_attachments") {
		if err := read("email_queue", "email_attachments", f.queue(ctx)); err != nil {
			return false, err
		}
	}
	return whole, nil
}

// pages asks for rows a page at a time; the first column is the number that they
// are sorted by. row's error ends it.
func (f *fileProver) pages(ctx context.Context, id, selected, from, where string, size int, row func(r []*string) error) error {
	last := int64(-1 << 62)
	for {
		rows, err := f.Query.Query(ctx, fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s > %d AND %s ORDER BY %s LIMIT %d", id, selected, from, id, last, where, id, size))
		if err != nil {
			return err
		}
		for _, r := range rows {
			n, err := strconv.ParseInt(profile.Text(r, 0), 10, 64)
			if err != nil || n <= last {
				return fmt.Errorf("the server gave %q for the row's number", profile.Text(r, 0))
			}
			last = n
			if err := row(r); err != nil {
				return err
			}
		}
		if len(rows) < size {
			return nil
		}
	}
}

func (f *fileProver) column(ctx context.Context, c column) error {
	owner := "''"
	if c.owner != "" {
		owner = c.owner
	}
	return f.pages(ctx, c.id, owner+", "+c.name, c.table, c.name+" <> ''", pageRows, func(r []*string) error {
		dir := path.Join(c.folder, profile.Text(r, 1))
		name := profile.Text(r, 2)
		f.name(c.table, profile.Text(r, 0), dir, name)
		for _, prefix := range c.also {
			f.keep(path.Join(dir, prefix+name))
		}
		return nil
	})
}

// text looks for images in the texts that may have some, a window at a time:
// one text may be larger than all else.
func (f *fileProver) text(ctx context.Context, t text) error {
	return f.pages(ctx, t.id, fmt.Sprintf("CHAR_LENGTH(%s), SUBSTRING(%s, 1, %d)", t.name, t.name, textWindow), t.table, t.name+" LIKE '%uploads/document%'", textRows, func(r []*string) error {
		id := profile.Text(r, 0)
		length, err := strconv.ParseInt(profile.Text(r, 1), 10, 64)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		look := func(part string, end bool) {
			for _, at := range image.FindAllStringSubmatchIndex(part, -1) {
				// What a window cuts off is whole in the next one.
				if p := part[at[2]:at[3]]; !seen[p] && (end || at[1] < len(part)) {
					seen[p] = true
					f.name(t.table, id, path.Dir(p), path.Base(p))
				}
			}
		}
		look(profile.Text(r, 2), length <= textWindow)
		for at := int64(textWindow - overlap); at+overlap < length; at += textWindow - overlap {
			rows, err := f.Query.Query(ctx, fmt.Sprintf("SELECT SUBSTRING(%s, %d, %d) FROM %s WHERE %s = %s", t.name, at+1, textWindow, t.table, t.id, id))
			if err != nil {
				return err
			}
			if len(rows) != 1 {
				return fmt.Errorf("the rest of row %s did not come", id)
			}
			look(profile.Text(rows[0], 0), at+textWindow >= length)
		}
		return nil
	})
}

// queue reads what waiting and sent mail names; ITFlow removes such files when
// their ticket goes, and sends without them.
func (f *fileProver) queue(ctx context.Context) error {
	return f.pages(ctx, "email_id", "email_attachments", "email_queue", "email_attachments LIKE '[%'", pageRows, func(r []*string) error {
		var list []struct {
			Path string `json:"path"`
		}
		if json.Unmarshal([]byte(profile.Text(r, 1)), &list) != nil {
			return nil // ITFlow passes over what it cannot read
		}
		for _, a := range list {
			clean, err := profile.Relative(a.Path)
			if err != nil {
				continue
			}
			f.keep(clean)
			if info, err := f.root.Stat(clean); err != nil || !info.Mode().IsRegular() {
				f.queued++
			}
		}
		return nil
	})
}

// keep remembers a path that a row names.
func (f *fileProver) keep(p string) {
	if len(f.names) >= maxNames {
		f.many = true
		return
	}
	f.names = append(f.names, maphash.String(f.seed, p))
}

// name looks for a file that a row names.
func (f *fileProver) name(table, id, dir, name string) {
	f.named++
	if name != path.Base(name) || name == "." || name == ".." || strings.ContainsRune(name, 0) {
		f.lacking(table, id, path.Join("uploads", "?"), core.ProofNote, "the row names something that is no file's name")
		return
	}
	p := path.Join(dir, name)
	f.keep(p)
	info, err := f.root.Stat(p)
	switch {
	case err == nil && info.Mode().IsRegular():
	case err == nil:
		f.lacking(table, id, p, core.ProofNote, "what the row names is not a file, as when it was captured")
	default:
		outcome, why := f.whyMissing(p)
		f.lacking(table, id, p, outcome, why)
	}
}

// whyMissing says why a file is not in the copy. What the backup holds is
// there: the drill compares that by itself.
func (f *fileProver) whyMissing(p string) (core.ProofOutcome, string) {
	for _, w := range f.Manifest.Warnings {
		object := strings.TrimPrefix(strings.TrimPrefix(w.Object, f.Manifest.Root), "/")
		if object == "" || p != object && !strings.HasPrefix(p, object+"/") {
			continue
		}
		if w.Code == "vanished" {
			return core.ProofNote, "named by a row, and removed while the backup was made"
		}
		return core.ProofFailed, "named by a row, and the backup could not take it: " + w.Message
	}
	for _, t := range f.Manifest.Trees {
		if g := profile.LeftOut(t.Exclude, p); t.Place == "app" && t.Component == core.ComponentFiles && g != "" {
			return core.ProofNote, "named by a row, and left out of the backup by the pattern " + g
		}
	}
	if link := f.linkAbove(path.Dir(p)); link != "" {
		return core.ProofFailed, "named by a row, and not in the backup: " + link + " is a link, and what it leads to was not captured"
	}
	return core.ProofNote, "named by a row, not in the backup, and so not there when it was captured"
}

// linkAbove returns the deepest of dir and the folders above it that is a link,
// "": none is. Files of one folder come one after the other.
func (f *fileProver) linkAbove(dir string) string {
	if dir == f.lastDir {
		return f.lastLink
	}
	f.lastDir, f.lastLink = dir, ""
	for ; dir != "."; dir = path.Dir(dir) {
		if info, err := f.root.Lstat(dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			f.lastLink = dir
			break
		}
	}
	return f.lastLink
}

// lacking says that a file is not there.
func (f *fileProver) lacking(table, id, p string, outcome core.ProofOutcome, why string) {
	f.missing++
	if outcome == core.ProofFailed {
		f.failed++
	}
	if f.missing <= mostNamed {
		f.say(outcome, RowFiles, p, 0, "%s: table %s, row %s", why, table, id)
	} else if f.missing == mostNamed+1 && outcome == core.ProofFailed {
		f.say(outcome, RowFiles, p, 0, "%s: table %s, row %s (more are missing than are named)", why, table, id)
	}
}

func (f *fileProver) summary() {
	mail := ""
	if f.queued > 0 {
		mail = fmt.Sprintf("; besides, %d that mail names are gone, which ITFlow sends without", f.queued)
	}
	switch {
	case f.missing == 0 && f.failed == 0:
		f.say(core.ProofOK, RowFiles, "", f.named, "all %d files that rows name are there%s", f.named, mail)
	case f.failed > 0:
		f.say(core.ProofFailed, RowFiles, "", f.named, "rows name %d files, of which %d are not there%s", f.named, f.missing, mail)
	default:
		f.say(core.ProofOK, RowFiles, "", f.named, "rows name %d files; all that were there when they were captured are there, and %d were not%s", f.named, f.missing, mail)
	}
	if f.missing > mostNamed {
		f.say(core.ProofNote, RowFiles, "", f.missing, "%d files are missing in all; %d are named", f.missing, mostNamed)
	}
}

// extras are the files that no row names, the first by name.
type extras struct {
	count int64
	bytes int64
	first []string
}

func (e *extras) add(p string, size int64) {
	e.count++
	e.bytes += size
	at, _ := slices.BinarySearch(e.first, p)
	if at < mostExtra {
		e.first = slices.Insert(e.first, at, p)
		e.first = e.first[:min(len(e.first), mostExtra)]
	}
}

// extra lists the files below uploads/ that no row names. They are nothing
// bad: ITFlow forgets some, and people put some there.
func (f *fileProver) extra(ctx context.Context) error {
	var e extras
	seen := int64(0)
	err := f.walk(ctx, "uploads", 0, func(p string, info fs.FileInfo) {
		seen++
		if _, named := slices.BinarySearch(f.names, maphash.String(f.seed, p)); !named && !isOwn(p) {
			e.add(p, info.Size())
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		f.say(core.ProofSkipped, ExtraFiles, "uploads", 0, "files that no row names could not be looked for: %v", err)
		return nil
	}
	for _, p := range e.first {
		f.say(core.ProofNote, ExtraFiles, p, 0, "no row names it")
	}
	switch {
	case e.count == 0:
		f.say(core.ProofOK, ExtraFiles, "uploads", seen, "a row names each of the files of users, or ITFlow put it there itself: %d files", seen)
	case e.count > int64(len(e.first)):
		f.say(core.ProofNote, ExtraFiles, "uploads", seen, "%d of %d files are named by no row (%d bytes); %d are listed", e.count, seen, e.bytes, len(e.first))
	default:
		f.say(core.ProofNote, ExtraFiles, "uploads", seen, "%d of %d files are named by no row (%d bytes)", e.count, seen, e.bytes)
	}
	return nil
}

// isOwn says whether ITFlow puts the file there without a row.
func isOwn(p string) bool {
	switch path.Base(p) {
	case "index.php", ".htaccess", "favicon.ico", ".gitkeep":
		return true
	}
	return strings.HasPrefix(p, "uploads/tmp/") || strings.HasPrefix(p, "uploads/backups/") || strings.HasPrefix(p, "uploads/custom/")
}

// walk goes through the files below dir, some entries of a folder at a time,
// and follows no links.
func (f *fileProver) walk(ctx context.Context, dir string, depth int, file func(p string, info fs.FileInfo)) (err error) {
	if depth > maxDepth {
		return fmt.Errorf("%s is deeper than %d folders", dir, maxDepth)
	}
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for {
		entries, err := d.ReadDir(dirBatch)
		for _, e := range entries {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			at := path.Join(dir, e.Name())
			switch {
			case e.IsDir():
				if err := f.walk(ctx, at, depth+1, file); err != nil {
					return err
				}
			case e.Type().IsRegular():
				info, err := e.Info()
				if err != nil {
					return err
				}
				file(at, info)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
