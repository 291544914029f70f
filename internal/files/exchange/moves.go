package exchange

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

// The moves file is written by Build and not changed after it: a line of JSON for each
// staging folder, before it is made; then what was found, and last the Built. A file
// without that is one of a Build that did not finish.
//
// The pass file beside it is written by each Switch and Revert before it moves anything: every
// path with the side it is on and the inode of what lies in its slot of the staging
// folder. A path has been moved since when another inode lies there. It ends
// with a line that says that the pass is done.

const movesVersion = 1

// rawPath is a path whose bytes survive JSON.
type rawPath string

// MarshalJSON writes text, or base64 in an object where it is none.
func (p rawPath) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(p)) {
		return json.Marshal(string(p))
	}
	return json.Marshal(struct {
		Bytes []byte `json:"bytes"`
	}{[]byte(p)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *rawPath) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var x struct {
			Bytes []byte `json:"bytes"`
		}
		err := json.Unmarshal(b, &x)
		*p = rawPath(x.Bytes)
		return err
	}
	return json.Unmarshal(b, (*string)(p))
}

// line is one line of either file; one field is set.
type line struct {
	Moves   *movesHead  `json:"moves,omitempty"`
	Stage   rawPath     `json:"stage,omitempty"` // absolute
	Made    rawPath     `json:"made,omitempty"`  // absolute
	Root    *rootLine   `json:"root,omitempty"`
	StageIs *stageLine  `json:"made_stage,omitempty"`
	Follow  *followLine `json:"follow,omitempty"`
	Move    *move       `json:"move,omitempty"`
	Inside  *insideLine `json:"inside,omitempty"`
	Folder  *folderLine `json:"folder,omitempty"`
	Same    *sameLine   `json:"same,omitempty"`
	Built   *Built      `json:"built,omitempty"`
	Pass    *passHead   `json:"pass,omitempty"`
	Done    bool        `json:"done,omitempty"`
}

type movesHead struct {
	Version   int    `json:"version"`
	Component string `json:"component"`
}

type passHead struct {
	To     Side      `json:"to"`
	Stages []rawPath `json:"stages,omitempty"` // as in the moves file, should that be lost
}

// stageLine identifies a staging folder that was made.
type stageLine struct {
	Stage int `json:"in"`
	openat.Mark
}

// followLine is a link that is followed, and the folder that it led to.
type followLine struct {
	placePath
	openat.Mark
}

// rootLine is the target of a place. Device numbers do not outlive a reboot,
// a Mark does.
type rootLine struct {
	Place string  `json:"place"`
	Path  rawPath `json:"path"`
	openat.Mark
}

type placePath struct {
	Place string  `json:"place"`
	Dir   rawPath `json:"dir"` // below the root, "" for the root itself
}

// move is a path at which the slot of a staging folder and the live tree change places.
type move struct {
	placePath
	Name        rawPath     `json:"name"`
	Stage       int         `json:"in"`             // which staging folder
	Slot        rawPath     `json:"slot"`           // path in it
	Take        bool        `json:"take,omitempty"` // it is only taken away
	Had         bool        `json:"had,omitempty"`  // there was something when Build looked
	IsDir       bool        `json:"folder,omitempty"`
	openat.Mark             // of what is in the slot; not known: nothing is
	Was         openat.Mark `json:"was,omitzero"`    // what was live when Build looked
	Staged      openat.Mark `json:"staged,omitzero"` // what Build staged
	Ctime       int64       `json:"ctime,omitempty"` // of that, when Build ended, in nanoseconds
	Size        int64       `json:"size,omitempty"`
	Left        bool        `json:"left,omitempty"` // in a pass: somebody else's folder lies there, and stays
	On          Side        `json:"on,omitempty"`   // in a pass: which side it was on
}

// insideLine lists what Build wrote into a staged folder.
type insideLine struct {
	Stage int           `json:"in"`
	Slot  rawPath       `json:"slot"`
	Names []rawPath     `json:"names"`
	Marks []openat.Mark `json:"marks,omitempty"` // as Names
}

// folderLine is a live folder in which something moves, or that is changed itself.
type folderLine struct {
	placePath
	openat.Mark
	Set  bool        `json:"set,omitempty"`  // what is in New is to be set
	Meta bool        `json:"meta,omitempty"` // and it is more than the time
	Old  attributes  `json:"old"`
	New  *attributes `json:"new,omitempty"`
}

type attributes struct {
	Mode   uint32            `json:"mode"` // as chmod takes it
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Time   [2]int64          `json:"time"` // seconds and nanoseconds
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
}

func attributesOf(st *unix.Stat_t) attributes {
	return attributes{Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Time: [2]int64{st.Mtim.Sec, st.Mtim.Nsec}}
}

// sameLine lists files of a folder that were the same, with the times at which
// they were last changed in any way, in nanoseconds.
type sameLine struct {
	placePath
	Names  []rawPath `json:"names"`
	Ctimes []int64   `json:"ctimes"`
}

// lineWriter writes a file of lines that others must not read.
type lineWriter struct {
	f *os.File
	w *bufio.Writer
	e *json.Encoder
}

func createLines(path string) (*lineWriter, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	w := &lineWriter{f: f, w: bufio.NewWriterSize(f, 1<<16)}
	w.e = json.NewEncoder(w.w)
	w.e.SetEscapeHTML(false)
	return w, nil
}

func (w *lineWriter) put(l line) error { return w.e.Encode(l) }

// sync brings what was put to disk.
func (w *lineWriter) sync() error {
	if err := w.w.Flush(); err != nil {
		return err
	}
	return w.f.Sync()
}

// readLines calls fn for each line. A last line that is not whole is left out: it was
// being written when the machine stopped.
func readLines(path string, withSame bool, fn func(line) error) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	r := bufio.NewReaderSize(f, 1<<16)
	for n := 1; ; n++ {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if bytes.HasPrefix(text, []byte(`{"same":`)) && !withSame {
			continue
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return &core.Error{
				Code: core.CodeDamage, Op: fmt.Sprintf("read %s, line %d", files.Quote(path), n), Err: err,
				Hint: "the file is not as it was written; what was replaced lies in the folders that it names, with .backstay- in front",
			}
		}
		if err := fn(l); err != nil {
			return err
		}
	}
}

// plan is what is in a moves file, and in the pass file beside it.
type plan struct {
	file      string
	stages    []string
	made      []string
	roots     map[string]rootLine
	followed  map[placePath]bool
	known     map[placePath]openat.Mark // folders
	stageIs   map[int]openat.Mark
	moves     []*move
	inside    map[string]*insideLine // by insideKey
	folders   []*folderLine
	same      []*sameLine
	built     *Built
	pass      *passHead // nil: none yet
	done      bool      // the pass is
	passMoves []*move
	passed    []*folderLine
}

func insideKey(stage int, slot rawPath) string { return fmt.Sprintf("%d/%s", stage, slot) }

func passFile(movesFile string) string { return movesFile + ".pass" }

// readPlan reads both files. The error is os.ErrNotExist when there is no moves file.
func readPlan(movesFile string, withSame bool) (*plan, error) {
	p := &plan{file: movesFile, roots: map[string]rootLine{}, followed: map[placePath]bool{}, known: map[placePath]openat.Mark{}, stageIs: map[int]openat.Mark{}, inside: map[string]*insideLine{}}
	known := false
	if err := p.readPass(); err != nil {
		return nil, err
	}
	err := readLines(movesFile, withSame, func(l line) error {
		switch {
		case l.Moves != nil:
			known = l.Moves.Version == movesVersion
		case !known:
			return &core.Error{
				Code: core.CodeUnsupported, Op: "read " + files.Quote(movesFile), Message: "it was written by another version of backstay",
				Hint: "finish or undo the restore with the version that began it",
			}
		case l.Stage != "":
			p.stages = append(p.stages, string(l.Stage))
		case l.Made != "":
			p.made = append(p.made, string(l.Made))
		case l.Root != nil:
			p.roots[l.Root.Place] = *l.Root
		case l.StageIs != nil:
			p.stageIs[l.StageIs.Stage] = l.StageIs.Mark
		case l.Follow != nil:
			p.followed[l.Follow.placePath] = true
			p.known[l.Follow.placePath] = l.Follow.Mark
		case l.Move != nil:
			p.moves = append(p.moves, l.Move)
		case l.Inside != nil:
			p.inside[insideKey(l.Inside.Stage, l.Inside.Slot)] = l.Inside
		case l.Folder != nil:
			p.folders = append(p.folders, l.Folder)
			p.known[l.Folder.placePath] = l.Folder.Mark
		case l.Same != nil:
			p.same = append(p.same, l.Same)
		case l.Built != nil:
			p.built = l.Built
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) && p.pass == nil {
		return nil, err
	}
	if err == nil && p.built != nil || p.pass == nil || core.CodeOf(err) == core.CodeUnsupported {
		return p, err
	}
	return nil, p.lost(err)
}

// lost says what is known of a restore that was switched to, at least in part, and whose moves file
// is gone or not whole.
func (p *plan) lost(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		err = nil // it is not as where nothing was ever built
	}
	where := "in folders whose names begin with .backstay-, beside the app's folder or in it"
	stages := p.pass.Stages
	if len(stages) > 0 {
		var quoted []string
		for _, s := range stages {
			quoted = append(quoted, files.Quote(string(s)))
		}
		where = "in " + core.Some(quoted, 10)
	}
	how := "its files were switched"
	switch {
	case p.pass.To == Old && p.done:
		how = "its files were switched, and switched back"
	case !p.done:
		how = "its files were switched in part"
	}
	return &core.Error{
		Code: core.CodeDamage, Op: "read " + files.Quote(p.file), Err: err,
		Message: "the file is lost or not whole: " + how + ", and what was replaced lies " + where,
		Hint: "the backup that was made before the restore has what was replaced, too: restore that; docs/spec/file-exchange.md says how to go back by hand; " +
			"to give up what was kept, remove " + where[len("in "):] + " and " + files.Quote(passFile(p.file)),
	}
}

// readPass reads the pass file, if there is one.
func (p *plan) readPass() error {
	err := readLines(passFile(p.file), false, func(l line) error {
		switch {
		case l.Pass != nil:
			p.pass = l.Pass
		case l.Move != nil:
			p.passMoves = append(p.passMoves, l.Move)
		case l.Folder != nil:
			p.passed = append(p.passed, l.Folder)
			p.known[l.Folder.placePath] = l.Folder.Mark
		case l.Done:
			p.done = true
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// readBuilt reads the plan of a Build that finished.
func readBuilt(movesFile string, withSame bool) (*plan, error) {
	p, err := readPlan(movesFile, withSame)
	if err == nil && p.built == nil {
		err = fmt.Errorf("%w: the restore did not finish building", os.ErrNotExist)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, &core.Error{
			Code: core.CodeNotFound, Op: "read " + files.Quote(movesFile), Err: err, Hint: "nothing was switched; restore again",
		}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// reserveFile keeps room for the pass file of a Revert, which must not fail because a
// disk is full.
func reserveFile(movesFile string) string { return movesFile + ".reserve" }

// writePass replaces the pass file, durably. A Switch makes sure of the room for going back.
func writePass(movesFile string, head passHead, moves []*move, folders []*folderLine) error {
	reserve := reserveFile(movesFile)
	to := head.To
	err := replacePass(movesFile, head, moves, folders)
	if openat.IsErrno(err, unix.ENOSPC, unix.EDQUOT) && to == Old {
		if err := removeFile(reserve); err != nil {
			return files.Failed("remove", reserve, err)
		}
		err = replacePass(movesFile, head, moves, folders)
	}
	if err != nil || to == Old {
		return err
	}
	st, err := os.Stat(passFile(movesFile))
	if err != nil {
		return files.Failed("stat", passFile(movesFile), err)
	}
	return files.Failed("write", reserve, os.WriteFile(reserve, make([]byte, st.Size()+8192), 0o600))
}

func replacePass(movesFile string, head passHead, moves []*move, folders []*folderLine) (err error) {
	path := passFile(movesFile)
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	w, err := createLines(temp)
	if err != nil {
		return files.Failed("write", temp, err)
	}
	put := func() error {
		if err := w.put(line{Pass: &head}); err != nil {
			return err
		}
		for _, f := range folders {
			if err := w.put(line{Folder: f}); err != nil {
				return err
			}
		}
		for _, m := range moves {
			if err := w.put(line{Move: m}); err != nil {
				return err
			}
		}
		return w.sync()
	}
	err = errors.Join(put(), w.f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = openat.SyncPath(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(files.Failed("write", path, err), removeFile(temp))
	}
	return nil
}

// passDone notes that all of a pass is on disk.
func passDone(movesFile string) error {
	path := passFile(movesFile)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return files.Failed("write", path, err)
	}
	b, err := json.Marshal(line{Done: true})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	size, err := f.Seek(0, io.SeekEnd)
	tail := make([]byte, min(size, 256))
	if err == nil {
		_, err = f.ReadAt(tail, size-int64(len(tail)))
	}
	if err == nil {
		// A power cut may have left a part of this very line.
		size += int64(bytes.LastIndexByte(tail, '\n') + 1 - len(tail))
		_, err = f.WriteAt(append(b, '\n'), size)
	}
	if err == nil {
		err = f.Sync()
	}
	return files.Failed("write", path, errors.Join(err, f.Close()))
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
