package importing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
)

// Tried is what became of one file of a folder.
type Tried struct {
	File     string
	Imported *Imported // what Import returned; nil where it returned nothing
	// Skipped says why nothing was tried: it is no archive of the app.
	Skipped string
	Err     error
}

// Folder imports the archives in a folder, the oldest first, and goes on after
// one that fails. Folders in it are not looked into. each hears of every file
// when it is done. The error is that of reading the folder, or of ctx.
func Folder(ctx context.Context, e *engine.Engine, req Request, dir string, each func(Tried)) error {
	paths, others, err := filesByAge(dir)
	if err != nil {
		return err
	}
	for _, path := range others {
		each(Tried{File: path, Skipped: "it is not a plain file; give it by itself if it is to be imported"})
	}
	for _, path := range paths {
		req.File = path
		tried := Tried{File: path}
		tried.Imported, tried.Err = Import(ctx, e, req)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// What is no archive, or none with data, lies in such folders too. What is
		// called like one and cannot be read as one is a backup that nobody has.
		if core.CodeOf(tried.Err) == core.CodeUnsupported && tried.Imported == nil && !(errors.Is(tried.Err, archive.ErrUnknown) && looksPacked(path)) {
			tried.Skipped, tried.Err = tried.Err.Error(), nil
		}
		each(tried)
	}
	return nil
}

// filesByAge lists the plain files of a folder, the oldest first, and what is
// neither a file nor a folder.
func filesByAge(dir string) (paths, others []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, &core.Error{Code: core.CodeDisk, Op: "import folder " + dir, Err: err, Hint: "give a folder that you may read"}
	}
	type file struct {
		path string
		at   int64
	}
	var found []file
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if !e.Type().IsRegular() {
			others = append(others, filepath.Join(dir, e.Name()))
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, nil, fmt.Errorf("import folder %s: %w", dir, err)
		}
		found = append(found, file{filepath.Join(dir, e.Name()), info.ModTime().UnixNano()})
	}
	slices.SortFunc(found, func(a, b file) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.path, b.path)) })
	for _, f := range found {
		paths = append(paths, f.path)
	}
	return paths, others, nil
}
