package own

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// extras gives the entries of a tree their real names.
type extras struct {
	names map[string]files.Extra // of the tree under way: by stored path in it
}

// is says whether p is a component's extra.jsonl.
func (*extras) is(p string) bool {
	return strings.HasSuffix(p, ".extra.jsonl") && !strings.Contains(p, "/")
}

func (x *extras) read(ctx context.Context, body io.Reader) (err error) {
	x.names, err = files.ReadExtra(ctx, oneFile{body: body}, "extra")
	return err
}

// oneFile is a repository with one file, which is read once.
type oneFile struct {
	core.TreeReader
	body io.Reader
}

func (f oneFile) Open(context.Context, core.ObjectID) (io.ReadSeekCloser, error) {
	return onlyRead{f.body}, nil
}

type onlyRead struct{ io.Reader }

func (onlyRead) Seek(int64, int) (int64, error) {
	return 0, errors.New("seek in an archive: not possible")
}
func (onlyRead) Close() error { return nil }

// entry is an entry of a tree as Files passes it on.
func (a *opened) entry(component core.Component, i item, names map[string]files.Extra) (archive.Entry, error) {
	stored := strings.TrimPrefix(i.path, string(component)+"/")
	elements := strings.Split(stored, "/")
	at := elements[0]
	for n, element := range elements[1:] {
		at += "/" + element
		x, ok := names[at]
		if !ok || x.Name == nil {
			continue
		}
		if err := files.CheckName(string(x.Name)); err != nil {
			return archive.Entry{}, archive.Hostile(i.path, fmt.Sprintf("of its real name: %s", err))
		}
		elements[n+1] = string(x.Name)
	}
	e := i.entry
	id := func(n uint32) string { return fmt.Sprint(n) }
	out := archive.Entry{
		Component: component, Place: elements[0], Path: strings.Join(elements[1:], "/"), Type: e.Type, Mode: e.Mode, HasMode: true,
		UID: e.UID, GID: e.GID, HasOwner: true, User: a.manifest.Owners.Users[id(e.UID)], Group: a.manifest.Owners.Groups[id(e.GID)],
		ModTime: e.ModTime, Link: i.link,
	}
	if e.Type == core.TypeFile {
		out.Size = e.Object.Size
	}
	return out, nil
}

// OpenDump implements archive.Archive. There is none: the rows are there as
// they are stored.
func (*opened) OpenDump(context.Context) (io.ReadCloser, error) { return nil, nil }

// Close implements archive.Archive.
func (*opened) Close() error { return nil }
