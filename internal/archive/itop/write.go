package itop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/pgzip"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// defaultLevel is gzip's own.
const defaultLevel = 6

// Write writes a .tar.gz that iTop's restore.php takes: what lies below the
// application's folder of the component files becomes delta, modules and extra
// files.
func (Format) Write(ctx context.Context, w io.Writer, content archive.Content, opt archive.WriteOptions) (_ []core.Warning, err error) {
	const op = "write iTop archive"
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	environment := cmp.Or(opt.Environment, content.Manifest.Settings["environment"], defaultEnvironment)
	if err := checkEnvironment(environment); err != nil {
		return nil, err
	}
	if content.Dump == nil || content.DumpSize == nil {
		return nil, &core.Error{
			Code: core.CodeUnsupported, Op: op, Message: "the backup has no database, and iTop's archive is none without it",
			Hint: "use --format backstay",
		}
	}
	size, err := content.DumpSize(ctx, archive.DialectITop)
	if err != nil {
		return nil, fmt.Errorf("%s: measure dump: %w", op, err)
	}
	out := &stoppable{w: w}
	z, err := pgzip.NewWriterLevel(out, cmp.Or(opt.Level, defaultLevel))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	defer func() {
		// Close ends the compressor's goroutines; after an error it is not to end
		// the file, so that what was written looks like nothing whole.
		out.stopped.Store(err != nil)
		if cerr := z.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("%s: %w", op, cerr)
		}
	}()
	a := &writer{
		content: content, environment: environment, tar: tarWriter{w: z}, losses: newLosses(),
		progress: opt.Progress,
	}
	if a.progress == nil {
		a.progress = core.NoProgress{}
	}
	if err := a.write(ctx, size); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return a.warnings, nil
}

// stoppable is a writer that can be told to take no more. The compressor
// writes to it from a goroutine of its own.
type stoppable struct {
	w       io.Writer
	stopped atomic.Bool
}

var errStopped = errors.New("the archive was given up")

func (s *stoppable) Write(p []byte) (int, error) {
	if s.stopped.Load() {
		return 0, errStopped
	}
	return s.w.Write(p)
}

// writer writes one archive.
type writer struct {
	content     archive.Content
	environment string
	tar         tarWriter
	progress    core.Progress
	losses      *losses
	warnings    []core.Warning
}

func (a *writer) write(ctx context.Context, dumpSize int64) error {
	if err := a.config(ctx); err != nil {
		return err
	}
	for _, part := range []role{roleDelta, roleModule, roleExtra} {
		err := a.content.Walk(ctx, core.ComponentFiles, func(item archive.Item) error {
			if item.Path == "" {
				return nil
			}
			if item.Place != "app" {
				if part == roleExtra && item.Type != core.TypeDir {
					a.losses.add(lossSystem, "/"+item.Path)
				}
				return nil
			}
			if a.role(item) != part {
				return nil
			}
			return a.item(ctx, item, part)
		})
		if err != nil {
			return err
		}
	}
	err := a.content.Walk(ctx, core.ComponentCode, func(item archive.Item) error {
		if item.Type != core.TypeDir {
			a.losses.add(lossCode, item.Path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := a.dump(ctx, dumpSize); err != nil {
		return err
	}
	a.warnings = append(a.warnings, a.losses.warnings()...)
	return a.tar.close()
}

// role is what an entry of the component files becomes.
type role int

const (
	roleExtra role = iota
	roleDelta
	roleModule
)

// role of an entry. iTop's restore puts modules into data/production-modules
// whatever the environment is, so that those of another one go as extra files.
func (a *writer) role(item archive.Item) role {
	switch {
	case item.Path == deltaPath(a.environment) && item.Type == core.TypeFile:
		return roleDelta
	case a.environment == defaultEnvironment && strings.HasPrefix(item.Path+"/", modulesPath(a.environment)+"/") && (item.Path != modulesPath(a.environment) || item.Type == core.TypeDir):
		return roleModule
	}
	return roleExtra
}

// config writes the configuration of the environment, and counts the others.
func (a *writer) config(ctx context.Context) error {
	found := false
	err := a.content.Walk(ctx, core.ComponentConfig, func(item archive.Item) error {
		switch {
		case item.Path == "" || item.Type == core.TypeDir:
			return nil
		case item.Place == "app" && item.Path == configPath(a.environment) && item.Type == core.TypeFile:
			found = true
			a.attributes(item)
			return a.file(ctx, configName, item, item.Stored.Object)
		case item.Place != "app":
			a.losses.add(lossSystem, "/"+item.Path)
		case isGuard(item.Path):
			a.losses.add(lossCode, item.Path)
		default:
			a.losses.add(lossConfig, item.Path)
		}
		return nil
	})
	if err != nil || found {
		return err
	}
	return &core.Error{
		Code: core.CodeUnsupported, Message: "the backup has no " + configPath(a.environment) + ", and iTop's archive is none without it",
		Hint: "name the environment that the backup is of, or use --format backstay",
	}
}

// isGuard says whether a file is one of those that come with iTop's code and
// keep web servers out of a folder.
func isGuard(name string) bool {
	return slices.Contains([]string{".htaccess", "index.php", "web.config"}, path.Base(name))
}

// item writes an entry of the component files.
func (a *writer) item(ctx context.Context, item archive.Item, part role) error {
	name := item.Path
	switch part {
	case roleDelta:
		name = deltaName
	case roleModule:
		name = modulesName + strings.TrimPrefix(item.Path, modulesPath(a.environment))
	}
	a.attributes(item)
	return a.put(ctx, name, item, part, false)
}

// put writes an entry under a name. within says that a link to a folder led here.
func (a *writer) put(ctx context.Context, name string, item archive.Item, part role, within bool) error {
	if _, err := archive.CheckPath(name); err != nil {
		a.losses.add(lossName, name)
		return nil
	}
	if part == roleExtra {
		if top, _, _ := strings.Cut(name, "/"); special(top) || top == a.environment+"-modules" {
			a.losses.add(lossSpecial, name)
			return nil
		}
		if item.Type != core.TypeDir && special(path.Base(name)) || strings.HasPrefix(name, modulesName) {
			a.losses.add(lossQuirk, name)
		}
	}
	switch item.Type {
	case core.TypeDir:
		return a.tar.begin(header{name: name, dir: true, mode: int64(item.Mode.Perm()), time: item.ModTime})
	case core.TypeSymlink:
		return a.link(ctx, name, item, part, within)
	}
	return a.file(ctx, name, item, item.Stored.Object)
}

// special says whether iTop's restore takes a name as special.
func special(name string) bool {
	return name == configName || name == deltaName || name == dumpName || name == modulesName
}

// link writes what a symbolic link points to in its place, as iTop's backup
// does, where that is in the backup.
func (a *writer) link(ctx context.Context, name string, item archive.Item, part role, within bool) error {
	target, ok, err := a.resolve(ctx, item)
	if err != nil {
		return err
	}
	switch {
	case !ok || target.Type == core.TypeDir && (within || strings.HasPrefix(item.Path+"/", target.Path+"/")):
		a.losses.add(lossLink, name)
		return nil
	case target.Type == core.TypeFile:
		a.losses.add(lossFollowed, name)
		return a.file(ctx, name, target, target.Stored.Object)
	}
	a.losses.add(lossFollowed, name)
	return a.content.Walk(ctx, core.ComponentFiles, func(below archive.Item) error {
		if below.Place != "app" || below.Path != target.Path && !strings.HasPrefix(below.Path, target.Path+"/") {
			return nil
		}
		return a.put(ctx, name+strings.TrimPrefix(below.Path, target.Path), below, part, true)
	})
}

// file writes a file with the attributes of item.
func (a *writer) file(ctx context.Context, name string, item archive.Item, object core.Object) (err error) {
	a.progress.Item(name)
	if err := a.tar.begin(header{name: name, size: item.Size, mode: int64(item.Mode.Perm()), time: item.ModTime}); err != nil {
		return err
	}
	if item.Size > maxOctal12 {
		a.losses.add(lossLarge, name)
	}
	f, err := a.content.Tree.Open(ctx, object.ID)
	if err != nil {
		return fmt.Errorf("read %s: %w", item.Path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	body := &body{ctx: ctx, w: a.tar.w, progress: a.progress, left: item.Size}
	if _, err := io.Copy(body, f); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if body.left != 0 {
		return &core.Error{Code: core.CodeDamage, Op: "read " + item.Path, Message: fmt.Sprintf("%d bytes of it are missing", body.left)}
	}
	return a.tar.end(item.Size)
}

// dump writes itop-dump.sql.
func (a *writer) dump(ctx context.Context, size int64) error {
	a.progress.Item(dumpName)
	made := a.content.Manifest.Time
	if made.IsZero() {
		made = time.Unix(0, 0)
	}
	if err := a.tar.begin(header{name: dumpName, size: size, mode: 0o600, time: made}); err != nil {
		return err
	}
	if size > maxOctal12 {
		a.losses.add(lossLarge, dumpName)
	}
	body := &body{ctx: ctx, w: a.tar.w, progress: a.progress, left: size}
	warnings, err := a.content.Dump(ctx, body, archive.DialectITop)
	if err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	if body.left != 0 {
		return fmt.Errorf("write dump: it is %d bytes shorter than measured", body.left)
	}
	a.warnings = append(a.warnings, warnings...)
	return a.tar.end(size)
}

// body takes exactly as many bytes as its header says.
type body struct {
	ctx      context.Context
	w        io.Writer
	progress core.Progress
	left     int64
}

var errTooLong = errors.New("there is more of it than was said")

func (b *body) Write(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if int64(len(p)) > b.left {
		return 0, errTooLong
	}
	n, err := b.w.Write(p)
	b.left -= int64(n)
	b.progress.Add(int64(n))
	return n, err
}
