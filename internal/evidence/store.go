package evidence

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Store keeps reports and the installation's key, in STATE_DIR/evidence: KEY is
// instance.key (Ed25519, PEM, its owner's only) with instance.pub beside it; a
// drill is drills/ID.json, drills/ID.html, and the signatures ID.json.sig and
// ID.html.sig (docs/spec/evidence.md). Several processes may use it at once.
type Store struct {
	Dir  string
	Disk Disk // nil: the machine's
}

// MostListed is how many reports Drills returns at most, the newest.
const MostListed = 1000

// What Trim keeps of each app's drills.
const (
	keepMost  = 2000 // never more
	keepLeast = 50   // of these, none for its age
	keepFor   = 400 * 24 * time.Hour
	sweepAge  = time.Hour // of files that a killed process left
)

// drillID is what can name a report; no dot, so that what follows it is the
// kind of file.
var drillID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,127}$`)

// datedID is an ID as drills are given it: app, time, and chance.
var datedID = regexp.MustCompile(`^(.+)-(\d{8}-\d{6})-[a-z0-9]+$`)

// Save signs a drill's report and writes it, durably: a report that is there is
// whole. It makes the installation's key when there is none yet. It replaces no
// report.
func (s Store) Save(d Drill) error {
	if !drillID.MatchString(d.ID) {
		return fmt.Errorf("save the report of a drill: %q is no id", d.ID)
	}
	key, err := s.key()
	if err != nil {
		return err
	}
	d.Schema, d.Signer = DrillSchema, publicOf(key).Fingerprint()
	d.Started, d.Finished = d.Started.UTC().Round(0), d.Finished.UTC().Round(0)
	if d.Steps == nil {
		d.Steps = []Step{}
	}
	if d.Proofs == nil {
		d.Proofs = []core.Proof{}
	}
	page, err := Page(d)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(page)
	d.PageSHA256 = hex.EncodeToString(sum[:])
	text, err := MarshalReport(d)
	if err != nil {
		return err
	}
	path := s.path(drillsDir, d.ID)
	if err := vacant(path+".json", path+".html"); err != nil {
		return err
	}
	return s.putAll([]file{
		{path + ".html", page}, {path + ".html" + SignatureEnd, ed25519.Sign(key, page)},
		{path + ".json" + SignatureEnd, ed25519.Sign(key, text)}, {path + ".json", text}, // the last is what lists look for
	})
}

// MarshalReport writes a report as JSON: indented, in UTF-8, with a line end.
// The same report gives the same bytes.
func MarshalReport(report any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(report); err != nil {
		return nil, fmt.Errorf("write the report as JSON: %w", err)
	}
	return b.Bytes(), nil
}

// DrillReport is a drill's report with the bytes that were signed.
type DrillReport struct {
	Drill               Drill
	JSON, JSONSignature []byte
	HTML, HTMLSignature []byte
	Signer              PublicKey
}

// Report returns one drill's report, for who wants to see or download it. One
// that is not as it was signed in all its parts is an error with
// core.CodeDamage, one that is not there core.CodeNotFound.
func (s Store) Report(id string) (DrillReport, error) {
	if !drillID.MatchString(id) {
		return DrillReport{}, unknownReport(id)
	}
	keys, err := s.Trusted()
	if err != nil {
		return DrillReport{}, err
	}
	var r DrillReport
	if r.Drill, r.JSON, err = s.load(id, keys); err != nil {
		return DrillReport{}, err
	}
	path := s.path(drillsDir, id+".html")
	page, err := VerifyFile(path, path+SignatureEnd, keys)
	if err != nil {
		return DrillReport{}, &core.Error{Code: core.CodeDamage, Err: err, Hint: core.HintOf(err)}
	}
	if sum := sha256.Sum256(page.Content); hex.EncodeToString(sum[:]) != r.Drill.PageSHA256 {
		return DrillReport{}, refused(path, "it is the page of another report", "do not rely on it; the JSON is as it was signed")
	}
	r.HTML = page.Content
	for into, end := range map[*[]byte]string{&r.JSONSignature: ".json", &r.HTMLSignature: ".html"} {
		if *into, err = readBounded(s.path(drillsDir, id+end+SignatureEnd), maxKeyFile); err != nil {
			return DrillReport{}, fmt.Errorf("read a report's signature: %w", err)
		}
	}
	for _, k := range keys {
		if k.Signed(r.JSON, r.JSONSignature) {
			r.Signer = k
		}
	}
	return r, nil
}

func unknownReport(id string) error {
	return &core.Error{Code: core.CodeNotFound, Op: "find the report", Message: fmt.Sprintf("there is no report of a drill %q", id)}
}

// load reads one report and refuses it unless it is as it was signed.
func (s Store) load(id string, keys []PublicKey) (d Drill, text []byte, err error) {
	path := s.path(drillsDir, id+".json")
	if text, err = readBounded(path, maxReport); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return d, nil, unknownReport(id)
		}
		return d, nil, refused(path, "it cannot be read: "+err.Error(), "look at the state folder's disk")
	}
	if _, err := verify(path, text, path+SignatureEnd, keys); err != nil {
		return d, nil, err
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, nil, refused(path, "it is signed, and cannot be understood: "+err.Error(), "use the version of backstay that wrote it")
	}
	if d.Schema > DrillSchema {
		return d, nil, &core.Error{Code: core.CodeUnsupported, Op: "read " + path, Message: fmt.Sprintf("a newer version of backstay wrote it (form %d)", d.Schema), Hint: "use that version"}
	}
	if d.ID != id {
		return d, nil, refused(path, fmt.Sprintf("it is the report of drill %q under another name", d.ID), "do not rely on it; ask who put it there")
	}
	return d, text, nil
}

// Drills returns the newest MostListed reports of an app, or of all when app is
// "", oldest first. A report that is not as it was signed is not in it, and is
// named by the error, which has core.CodeDamage and comes with the others.
func (s Store) Drills(app string) ([]Drill, error) { return s.Newest(app, MostListed) }

// Latest returns the newest report of an app; nil: there is none. The error is
// as that of Drills.
func (s Store) Latest(app string) (*Drill, error) {
	newest, err := s.Newest(app, 1)
	if len(newest) == 0 {
		return nil, err
	}
	return &newest[0], err
}

// Newest is Drills for at most so many.
func (s Store) Newest(app string, most int) ([]Drill, error) {
	var out []Drill
	err := s.Each(app, func(d Drill) bool {
		out = append(out, d)
		return len(out) < most
	})
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b Drill) int { return a.Started.Compare(b.Started) })
	return out, err
}

// Each calls do with the reports of an app, or of all when app is "", the newest
// first, until it returns false. One report is in memory at a time. The error is
// as that of Drills, of the reports that were come by.
func (s Store) Each(app string, do func(Drill) bool) error {
	all, err := s.entries()
	if err != nil || len(all) == 0 {
		return err
	}
	keys, err := s.Trusted()
	if err != nil {
		return err
	}
	var bad []error
	for _, e := range all {
		if app != "" && e.app != "" && e.app != app {
			continue
		}
		d, _, err := s.load(e.id, keys)
		switch {
		case core.CodeOf(err) == core.CodeNotFound: // trimmed meanwhile
		case err != nil:
			bad = append(bad, err)
		case app != "" && d.App != app:
		case !do(d):
			return unreliable(bad)
		}
	}
	return unreliable(bad)
}

// unreliable is one error for reports that cannot be relied on.
func unreliable(bad []error) error {
	switch len(bad) {
	case 0:
		return nil
	case 1:
		return bad[0]
	}
	texts := make([]string, len(bad))
	for i, err := range bad {
		texts[i] = err.Error()
	}
	code := core.CodeUnsupported
	for _, err := range bad {
		if core.CodeOf(err) == core.CodeDamage {
			code = core.CodeDamage
		}
	}
	return &core.Error{Code: code, Op: fmt.Sprintf("read the reports of drills: %d cannot be relied on", len(bad)), Message: core.Some(texts, 5), Hint: core.HintOf(bad[0])}
}

// entry is a report by its file's name.
type entry struct {
	id  string
	app string    // "": the name does not say
	at  time.Time // by its name, else of the file
}

// entries lists reports, the newest first.
func (s Store) entries() ([]entry, error) {
	files, err := os.ReadDir(s.path(drillsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the reports of drills: %w", err)
	}
	var out []entry
	for _, f := range files {
		id, isReport := strings.CutSuffix(f.Name(), ".json")
		if !isReport || !drillID.MatchString(id) {
			continue
		}
		e := entry{id: id}
		if m := datedID.FindStringSubmatch(id); m != nil {
			if at, err := time.Parse("20060102-150405", m[2]); err == nil {
				e.app, e.at = m[1], at
			}
		}
		if e.at.IsZero() {
			info, err := f.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("list the reports of drills: %w", err)
			}
			e.at = info.ModTime()
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b entry) int { return cmp.Or(b.at.Compare(a.at), strings.Compare(b.id, a.id)) })
	return out, nil
}

// Trim removes reports of drills that are older than 400 days, but for the
// newest 50 of each app, and all beyond the newest 2000 of an app, and what
// killed processes left. It goes by the files' names and reads none.
func (s Store) Trim(now time.Time) (removed int, err error) {
	all, err := s.entries()
	if err != nil {
		return 0, err
	}
	seen := map[string]int{}
	for _, e := range all {
		seen[e.app]++
		n := seen[e.app]
		if n <= keepLeast || n <= keepMost && now.Sub(e.at) <= keepFor {
			continue
		}
		if err := s.remove(e.id); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, s.sweep(now)
}

// remove takes away the file first that makes it a report.
func (s Store) remove(id string) error {
	for _, end := range []string{".json", ".json" + SignatureEnd, ".html", ".html" + SignatureEnd} {
		if err := s.disk().Remove(s.path(drillsDir, id+end)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diskError("remove the report of drill "+id, err)
		}
	}
	return nil
}

// sweep removes what a killed process left: files that were not put into place,
// and parts of a report that never became one.
func (s Store) sweep(now time.Time) error {
	for _, dir := range []string{s.Dir, s.path(drillsDir), s.path(reportsDir)} {
		files, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("tidy up the reports: %w", err)
		}
		whole := map[string]bool{}
		for _, f := range files {
			if id, ok := strings.CutSuffix(f.Name(), ".json"); ok {
				whole[id] = true
			}
		}
		for _, f := range files {
			id, _, _ := strings.Cut(f.Name(), ".")
			part := dir == s.path(drillsDir) && drillID.MatchString(id) && !whole[id]
			if !part && !strings.HasPrefix(f.Name(), tempPrefix) {
				continue
			}
			info, err := f.Info()
			if errors.Is(err, fs.ErrNotExist) || err == nil && (now.Sub(info.ModTime()) < sweepAge || !info.Mode().IsRegular()) {
				continue
			}
			if err == nil {
				err = s.disk().Remove(filepath.Join(dir, f.Name()))
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return diskError("tidy up the reports", err)
			}
		}
	}
	return nil
}
