package localserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// templateFormat changes when a template made by an older version of this
// package will not do.
const templateFormat = "1"

const (
	indexFileName   = "template.json"
	templateDirName = "data"
	workInfix       = ".new-"
	lockInterval    = 20 * time.Millisecond
)

// template is a freshly initialised data folder, kept so that a server starts
// from a copy of it: initialising takes several times as long as copying.
//
// It is used under a shared lock and made under an exclusive one. It is
// complete when its index is there, which is written last, and every copy is
// compared with the index; so a template that a crash or a full disk cut short
// is made anew, not used.
type template struct {
	dir    string
	binary binary
	log    *slog.Logger
}

// templateIndex is template.json.
type templateIndex struct {
	Binary  string         `json:"binary"`
	Version string         `json:"version"`
	Files   []templateFile `json:"files"`
	Dirs    []string       `json:"dirs"`
}

type templateFile struct {
	Path string `json:"path"` // relative to the data folder
	Size int64  `json:"size"`
	CRC  uint32 `json:"crc32c"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errTemplate = errors.New("the template is missing or damaged")

// fillDataFolder makes dir, a data folder for a new server.
func fillDataFolder(ctx context.Context, b binary, dir string, log *slog.Logger) error {
	cache, err := cacheFolder()
	if err != nil {
		log.Debug("no cache for the template of a database; making one for this server alone", "error", err)
		return initialize(ctx, b, dir)
	}
	key, err := b.fingerprint()
	if err != nil {
		return err
	}
	t := template{dir: filepath.Join(cache, key), binary: b, log: log}
	return t.copyTo(ctx, dir)
}

// fingerprint names the build: version and place, size and time of the program.
func (b binary) fingerprint() (string, error) {
	info, err := os.Stat(b.path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%d\n%d\n", templateFormat, b.version, b.path, info.Size(), info.ModTime().UnixNano()))
	return hex.EncodeToString(sum[:8]), nil
}

// cacheFolder returns the folder of templates: in the user's cache folder, or,
// for a user without a home, in the temporary folder.
func cacheFolder() (string, error) {
	var candidates []string
	if dir, err := os.UserCacheDir(); err == nil {
		// A home folder that is not there is not made.
		if _, err := os.Stat(filepath.Dir(dir)); err == nil {
			candidates = append(candidates, filepath.Join(dir, "backstay"))
		}
	}
	candidates = append(candidates, filepath.Join(os.TempDir(), "backstay-cache-"+strconv.Itoa(os.Geteuid())))
	var errs []error
	for _, dir := range candidates {
		dir = filepath.Join(dir, "database")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			errs = append(errs, err)
			continue
		}
		// The temporary folder is everybody's: somebody else may have made it.
		if !ownFolder(dir) || !ownFolder(filepath.Dir(dir)) {
			errs = append(errs, fmt.Errorf("%s belongs to another user", dir))
			continue
		}
		return dir, nil
	}
	return "", errors.Join(errs...)
}

func (t template) copyTo(ctx context.Context, dir string) error {
	lock, err := t.lock(ctx, syscall.LOCK_SH)
	if err != nil {
		return err
	}
	err = errors.Join(t.copyOut(dir), lock.Close())
	if !errors.Is(err, errTemplate) {
		return err
	}
	if lock, err = t.lock(ctx, syscall.LOCK_EX); err != nil {
		return err
	}
	// Somebody else may have made it while this process waited for the lock.
	err = t.copyOut(dir)
	if errors.Is(err, errTemplate) {
		if err = t.create(ctx); err == nil {
			err = t.copyOut(dir)
		}
	}
	return errors.Join(err, lock.Close())
}

// lock waits for the template's lock. Closing the file gives it back.
func (t template) lock(ctx context.Context, how int) (*os.File, error) {
	f, err := os.OpenFile(t.dir+".lock", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock database template: %w", err)
	}
	ticker := time.NewTicker(lockInterval)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock database template: %w", err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock database template: %w", ctx.Err()), f.Close())
		case <-ticker.C:
		}
	}
}

// create makes the template. The caller holds the exclusive lock.
func (t template) create(ctx context.Context) error {
	t.log.Debug("making a template of an empty database", "dir", t.dir, "server", t.binary.version)
	// What a killed maker left goes. Its initialiser may still be writing, so
	// the new one gets a name of its own.
	old, err := filepath.Glob(globEscape(t.dir) + workInfix + "*")
	if err != nil {
		return fmt.Errorf("remove old database template: %w", err)
	}
	for _, dir := range append(old, t.dir) {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove old database template: %w", err)
		}
	}
	work, err := os.MkdirTemp(filepath.Dir(t.dir), filepath.Base(t.dir)+workInfix+"*")
	if err != nil {
		return fmt.Errorf("make database template: %w", err)
	}
	err = initialize(ctx, t.binary, filepath.Join(work, templateDirName))
	if err == nil {
		err = t.index(work)
	}
	if err == nil {
		err = os.Rename(work, t.dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(work))
	}
	t.prune()
	return nil
}

// index writes template.json for what is in work.
func (t template) index(work string) error {
	root := filepath.Join(work, templateDirName)
	index := templateIndex{Binary: t.binary.path, Version: t.binary.version}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			index.Dirs = append(index.Dirs, rel)
			return nil
		case d.Type().IsRegular():
			file, err := copyFile(path, "")
			file.Path = rel
			index.Files = append(index.Files, file)
			return err
		default:
			return fmt.Errorf("%s in a new data folder is neither a file nor a folder", rel)
		}
	})
	if err != nil {
		return fmt.Errorf("index database template: %w", err)
	}
	text, err := json.MarshalIndent(index, "", "\t")
	if err != nil {
		return fmt.Errorf("index database template: %w", err)
	}
	return os.WriteFile(filepath.Join(work, indexFileName), text, 0o600)
}

// copyOut copies the template to dir and compares the copy with the index. It
// gives errTemplate, and leaves nothing at dir, when it is not as it should be.
func (t template) copyOut(dir string) error {
	text, err := os.ReadFile(filepath.Join(t.dir, indexFileName))
	if err != nil {
		return errors.Join(errTemplate, err)
	}
	var index templateIndex
	if err := json.Unmarshal(text, &index); err != nil || len(index.Files) == 0 {
		return errors.Join(errTemplate, err)
	}
	err = copyIndexed(index, filepath.Join(t.dir, templateDirName), dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

func copyIndexed(index templateIndex, from, to string) error {
	for _, d := range append([]string{"."}, index.Dirs...) {
		if err := os.Mkdir(filepath.Join(to, d), 0o700); err != nil {
			return fmt.Errorf("copy database template: %w", err)
		}
	}
	for _, want := range index.Files {
		got, err := copyFile(filepath.Join(from, want.Path), filepath.Join(to, want.Path))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EIO) {
			return errors.Join(errTemplate, err)
		}
		if err != nil {
			return fmt.Errorf("copy database template: %w", err)
		}
		got.Path = want.Path
		if got != want {
			return fmt.Errorf("%w: %s differs from what was stored", errTemplate, want.Path)
		}
	}
	return nil
}

// copyFile reads a file and, when to is not "", writes its copy, without the
// blocks of zeros. The result lacks the path.
func copyFile(from, to string) (templateFile, error) {
	in, err := os.Open(from)
	if err != nil {
		return templateFile{}, err
	}
	defer in.Close()
	var out *os.File
	if to != "" {
		if out, err = os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return templateFile{}, err
		}
	}
	file, err := copyBlocks(in, out)
	if out != nil {
		if err == nil {
			err = out.Truncate(file.Size)
		}
		err = errors.Join(err, out.Close())
	}
	return file, err
}

func copyBlocks(in io.Reader, out *os.File) (templateFile, error) {
	var file templateFile
	block, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(in, block)
		file.CRC = crc32.Update(file.CRC, castagnoli, block[:n])
		if out != nil && !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := out.WriteAt(block[:n], file.Size); err != nil {
				return file, err
			}
		}
		file.Size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return file, nil
		}
		if err != nil {
			return file, err
		}
	}
}

// prune removes the templates of former builds of the same program. One that
// is in use stays; what cannot be removed only takes space.
func (t template) prune() {
	indexes, err := filepath.Glob(filepath.Join(globEscape(filepath.Dir(t.dir)), "*", indexFileName))
	if err != nil {
		t.log.Warn("cannot look for old database templates", "error", err)
		return
	}
	for _, path := range indexes {
		dir := filepath.Dir(path)
		if dir == t.dir {
			continue
		}
		var index templateIndex
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &index)
		}
		if err != nil || index.Binary != t.binary.path {
			continue
		}
		lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
		if err == nil {
			if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
				err = os.RemoveAll(dir)
			}
			err = errors.Join(err, lock.Close())
		}
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			t.log.Warn("cannot remove an old database template", "dir", dir, "error", err)
		}
	}
}

// initialize makes dir, an empty database.
func initialize(ctx context.Context, b binary, dir string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "init-tmp-*")
	if err != nil {
		return err
	}
	err = runInitializer(ctx, b, dir, tmp)
	return errors.Join(err, os.RemoveAll(tmp))
}

func runInitializer(ctx context.Context, b binary, dir, tmp string) error {
	path, args, err := b.initializer(dir, tmp)
	if err != nil {
		return err
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = "/"
	cmd.Env = environment(tmp)
	cmd.Stdout, cmd.Stderr = &output, &output
	// The script starts the server program; cancelling ends both.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		text := output.String()
		if saysDiskFull(text) {
			err = errors.Join(err, syscall.ENOSPC)
		}
		err = fmt.Errorf("initialise an empty database with %s: %w", path, err)
		if said := quote(text); said != "" {
			// On the same line, so that a reader of one line learns something too.
			err = fmt.Errorf("%w; it said: %s", err, said)
		}
		return err
	}
	return nil
}
