package files

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/xattr"
)

// Extra is what a folder entry cannot hold about one stored path: a line of
// NAME.extra.jsonl.
type Extra struct {
	Path   string            `json:"path"`             // in the component, as stored
	Name   []byte            `json:"name,omitempty"`   // the real last path element, where it is not valid UTF-8
	Xattrs map[string][]byte `json:"xattrs,omitempty"` // extended attributes
	Link   string            `json:"link,omitempty"`   // the stored path that this file is a hard link to
	Sparse bool              `json:"sparse,omitempty"` // the file had holes
}

// ExtraName is the name of a component's extra.jsonl in the root of a backup.
func ExtraName(c core.Component) string { return string(c) + ".extra.jsonl" }

// Empty says that there is nothing to say about the path.
func (x *Extra) Empty() bool {
	return x.Name == nil && len(x.Xattrs) == 0 && x.Link == "" && !x.Sparse
}

// check refuses what cannot have been captured.
func (x *Extra) check() error {
	if x.Path == "" {
		return errors.New("there is no path")
	}
	if x.Name != nil {
		if err := CheckName(string(x.Name)); err != nil {
			return err
		}
		if utf8.Valid(x.Name) {
			return fmt.Errorf("the name %q needs no second form", x.Name)
		}
	}
	for name := range x.Xattrs {
		if !xattr.Stored(name) {
			return fmt.Errorf("the extended attribute %q is none that is stored", name)
		}
	}
	return nil
}

// maxExtraLine bounds a line: a file's extended attributes are at most 64 KiB
// a value on the usual file systems.
const maxExtraLine = 64 << 20

// ReadExtra reads a component's extra.jsonl: by path, as stored. An empty id
// gives an empty map.
func ReadExtra(ctx context.Context, r core.TreeReader, id core.ObjectID) (map[string]Extra, error) {
	if id == "" {
		return nil, nil
	}
	f, err := r.Open(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read extra.jsonl: %w", err)
	}
	extras, err := parseExtra(ctx, f)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("read extra.jsonl: %w", cerr)
	}
	return extras, err
}

// ParseExtra is ReadExtra of bytes.
func ParseExtra(ctx context.Context, text []byte) (map[string]Extra, error) {
	return parseExtra(ctx, bytes.NewReader(text))
}

func parseExtra(ctx context.Context, r io.Reader) (map[string]Extra, error) {
	extras := map[string]Extra{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxExtraLine)
	for n := 1; lines.Scan(); n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var x Extra
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return nil, Damage(fmt.Sprintf("read extra.jsonl, line %d", n), err.Error())
		}
		if err := x.check(); err != nil {
			return nil, Damage(fmt.Sprintf("read extra.jsonl, line %d", n), err.Error())
		}
		if _, twice := extras[x.Path]; twice {
			return nil, Damage(fmt.Sprintf("read extra.jsonl, line %d", n), fmt.Sprintf("%q is there twice", x.Path))
		}
		extras[x.Path] = x
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, Damage("read extra.jsonl", "a line is too long")
		}
		return nil, fmt.Errorf("read extra.jsonl: %w", err)
	}
	return extras, nil
}

// Encode returns the line, with its end.
func (x *Extra) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(x); err != nil {
		return nil, fmt.Errorf("encode extra.jsonl line of %s: %w", x.Path, err)
	}
	return b.Bytes(), nil
}
