// Package files holds what capturing and restoring file trees share, and what
// others need to look into a captured tree: Walk and Lookup, the names under
// which files of any name are stored, extra.jsonl with what a folder entry
// cannot hold, and Scope, which says what of a tree a backup owns. It is for
// packages capture and restore below it, for the engine, and for whatever
// lists, verifies or compares what was captured.
//
// A captured tree has contents, names of any bytes, modes, owners, times to
// the nanosecond, symbolic and hard links, holes and extended attributes. Its
// form is specified in docs/spec/backup-layout.md. What is read of it is
// checked: what cannot have been captured is an error with core.CodeDamage.
//
// The packages below it work on Linux file systems, relative to open folders
// throughout.
package files

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// Walk calls fn for everything below the stored folder dir: each folder before
// what is in it, names in byte order. path is relative to dir, as stored:
// "app/uploads/a.txt". When fn returns fs.SkipDir for a folder, what is below
// it is left out; for a file, the rest of its folder. Any other error ends the
// walk and is returned.
func Walk(ctx context.Context, r core.TreeReader, dir core.Entry, fn func(path string, e core.Entry) error) error {
	return walkStored(ctx, r, "", dir, fn)
}

func walkStored(ctx context.Context, r core.TreeReader, at string, dir core.Entry, fn func(string, core.Entry) error) error {
	entries, err := ReadDir(ctx, r, at, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(at, e.Name)
		err := fn(path, e)
		if err == fs.SkipDir {
			if e.Type == core.TypeDir {
				continue
			}
			return nil
		}
		if err != nil {
			return err
		}
		if e.Type == core.TypeDir {
			if err := walkStored(ctx, r, path, e, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// Lookup returns the entry at path, relative to the stored folder dir and as
// stored; "" is dir itself. The error has core.CodeNotFound when there is none.
func Lookup(ctx context.Context, r core.TreeReader, dir core.Entry, path string) (core.Entry, error) {
	return LookupIn(ctx, r, dir, path, "")
}

// LookupIn is Lookup, with errors that name the backup that dir is of, when it
// is not "".
func LookupIn(ctx context.Context, r core.TreeReader, dir core.Entry, path, backup string) (core.Entry, error) {
	e, at := dir, ""
	for _, name := range strings.Split(path, "/") {
		if name == "" {
			continue
		}
		missing := notThere(path, name, filepath.Join(dir.Name, at), backup)
		if e.Type != core.TypeDir {
			return core.Entry{}, missing
		}
		entries, err := ReadDir(ctx, r, at, e)
		if err != nil {
			return core.Entry{}, err
		}
		i := slices.IndexFunc(entries, func(e core.Entry) bool { return e.Name == name })
		if i < 0 {
			return core.Entry{}, missing
		}
		e, at = entries[i], filepath.Join(at, name)
	}
	return e, nil
}

// notThere is the error of looking up path, of which name is not in a folder.
func notThere(path, name, folder, backup string) error {
	var in []string
	if folder != "" {
		in = append(in, Quote(folder))
	}
	if backup != "" || folder == "" {
		in = append(in, strings.TrimSpace("backup "+backup))
	}
	see := cmp.Or(backup, "BACKUP")
	if folder != "" {
		see += " " + Quote(folder)
	}
	return &core.Error{
		Code: core.CodeNotFound, Op: "look up " + Quote(path), Message: fmt.Sprintf("there is no %s in %s", Quote(name), strings.Join(in, " of ")),
		Hint: "see what there is with `backstay ls " + see + "`",
	}
}

// ReadDir returns the entries of a stored folder in byte order. What
// cannot have been captured is damage; at says in the error where the folder is.
func ReadDir(ctx context.Context, r core.TreeReader, at string, dir core.Entry) ([]core.Entry, error) {
	entries, err := r.ReadDir(ctx, dir.Object.ID)
	if err != nil {
		return nil, fmt.Errorf("read stored folder %q: %w", at, err)
	}
	sort.Slice(entries, func(i, k int) bool { return entries[i].Name < entries[k].Name })
	for i, e := range entries {
		if err := CheckName(e.Name); err != nil {
			return nil, Damage("read stored folder "+Quote(at), err.Error())
		}
		if i > 0 && entries[i-1].Name == e.Name {
			return nil, Damage("read stored folder "+Quote(at), fmt.Sprintf("the name %q is there twice", e.Name))
		}
		switch e.Type {
		case core.TypeFile, core.TypeDir, core.TypeSymlink:
		default:
			return nil, Damage("read stored folder "+Quote(at), fmt.Sprintf("%q is of the unknown kind %q", e.Name, e.Type))
		}
	}
	return entries, nil
}

// Damage returns the error, with core.CodeDamage and a hint, for what cannot have
// been captured.
func Damage(op, message string) error {
	return &core.Error{
		Code: core.CodeDamage, Op: op, Message: message,
		Hint: "run `backstay verify` to see what else is affected, and use another backup",
	}
}

// Quote makes a path printable: as it is where it is plain, in quotes where it
// holds control characters or is not valid UTF-8.
func Quote(path string) string {
	if printable(path) {
		return path
	}
	return strconv.Quote(path)
}
