// Package edit changes backstay.yaml as a person would: it keeps comments,
// order and blank lines, shows what would be different, and keeps what was
// there before. It is for the console. It promises that what it writes differs
// from what it read in one section only, whatever is asked for; that what it
// shows holds no secret that is written in the file; that no secret that the
// service can read is sent elsewhere than before, whatever is asked for; and that
// a file that somebody else changed meanwhile is not overwritten.
package edit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/goccy/go-yaml/ast"
)

// Config is what a file says. Who imports this package need not import config.
type Config = config.Config

// Sections lists the sections that apps and `defaults` have.
func Sections() []string { return []string{"schedule", "retention", "check", "notify"} }

// TopSections lists the sections of the file itself.
func TopSections() []string { return []string{"service", "console"} }

// MaxBytes is the most that a file may have.
const MaxBytes = strict.MaxFileBytes

// ErrChanged is in the chain of the error of an Apply that came too late.
var ErrChanged = errors.New("the configuration was changed meanwhile")

// Document is a configuration as it was read. It is not changed, and so safe
// to share.
type Document struct {
	path    string // as it was given; what links lead to is written
	target  string // absolute, without links
	data    []byte
	info    fs.FileInfo
	bom     bool
	crlf    bool
	lines   []string // without line ends
	reader  *strict.Reader
	body    ast.Node // nil: the file says nothing
	secrets []secret
}

// Read reads the configuration at path. A file that is not YAML is an error
// with CodeConfig: there are no sections to be found in it.
func Read(path string) (*Document, error) {
	wrap := func(err error) error {
		return &core.Error{Code: core.CodeConfig, Op: "read the configuration", Err: err}
	}
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		target, err = filepath.Abs(target)
	}
	if err != nil {
		return nil, wrap(err)
	}
	info, err := os.Stat(target)
	if err != nil {
		return nil, wrap(err)
	}
	if !info.Mode().IsRegular() {
		return nil, wrap(fmt.Errorf("%s is not a file", path))
	}
	f, err := os.Open(target)
	if err != nil {
		return nil, wrap(err)
	}
	defer f.Close() // only read: nothing to lose
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, wrap(err)
	}
	d, err := parse(path, data)
	if err != nil {
		return nil, err
	}
	d.target, d.info = target, info
	return d, nil
}

// parse takes a file apart. It leaves target and info to the caller.
func parse(path string, data []byte) (*Document, error) {
	d := &Document{path: path, data: data, reader: strict.New(path)}
	text, bom := bytes.CutPrefix(data, []byte("\xef\xbb\xbf"))
	d.bom = bom
	d.lines = strings.Split(string(text), "\n")
	for i, line := range d.lines {
		rest, ok := strings.CutSuffix(line, "\r")
		if i == 0 {
			d.crlf = ok
		} else if last := i == len(d.lines)-1; ok != d.crlf && !last || ok && last {
			return nil, refuse(i+1, "some lines end as on Windows and some do not", "save the file with one kind of line ends")
		}
		d.lines[i] = rest
		if strings.ContainsAny(d.lines[i], "\r\u2028\u2029\u0085") {
			return nil, refuse(i+1, "a line is broken by a character that editors show in different ways", "break lines by the enter key only")
		}
	}
	// What is parsed has plain line ends, so that positions are those of lines.
	d.body = d.reader.Parse([]byte(strings.Join(d.lines, "\n")))
	if err := d.reader.Err(); err != nil {
		return nil, err
	}
	var err error
	d.secrets, err = secretsOf(d.lines, d.body, "")
	return d, err
}

// Digest tells contents of the file apart.
func (d *Document) Digest() string { return digest(d.data) }

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Path is the file's, as it was given.
func (d *Document) Path() string { return d.path }

// Apps lists the names of the apps, in the order of the file.
func (d *Document) Apps() []string {
	var names []string
	for _, values := range d.apps() {
		if name, ok := nameOf(values); ok {
			names = append(names, name)
		}
	}
	return names
}

// Section is a section of an app, of `defaults` or of the file itself.
type Section struct {
	Set  bool   // it is there
	Text string // its value as YAML, with its comments; secrets are replaced by what stands for them
	Line int    // of its key, from 1
}

// Section finds the section called name: one of Sections of the app called
// scope, or with "" of `defaults`; or one of TopSections, without a scope. It
// is an error when there is no such app or section, and with CodeUnsupported
// when it is written in a way that only an editor can change.
func (d *Document) Section(scope, name string) (Section, error) {
	p, err := d.find(scope, name)
	if err != nil || p.entry == nil {
		return Section{}, err
	}
	cut, err := d.cut(p)
	if err != nil {
		return Section{}, err
	}
	text, _, err := maskText(cut.text, name)
	return Section{Set: true, Text: text, Line: cut.first + 1}, err
}

// masked are the file's lines with stars in place of its secrets.
func (d *Document) masked() []string { return starred(d.lines, d.secrets, nil) }

// refuse is the error of what only an editor can change.
func refuse(line int, message, hint string) error {
	where := ""
	if line > 0 {
		where = fmt.Sprintf("line %d: ", line)
	}
	return &core.Error{Code: core.CodeUnsupported, Message: where + message, Hint: hint}
}

// place is where a section is, or would be.
type place struct {
	scope, name string
	entry       *ast.MappingValueNode   // nil: it is not there
	siblings    []*ast.MappingValueNode // of the mapping that it belongs to; none: that is not there, or empty
	defaults    *ast.MappingValueNode   // that has no value
}

func (d *Document) find(scope, name string) (place, error) {
	p := place{scope: scope, name: name}
	unknown := func(what string, known []string) error {
		return &core.Error{Code: core.CodeNotFound, Message: "there is no " + what, Hint: "there are " + strings.Join(known, ", ")}
	}
	top, flow, err := d.mapping(d.body)
	if err != nil {
		return p, err
	}
	if flow {
		return p, refuse(1, "the configuration is written in braces", "write its keys on lines of their own")
	}
	switch {
	case scope == "" && slices.Contains(TopSections(), name):
		p.siblings = top
	case !slices.Contains(Sections(), name):
		return p, unknown(fmt.Sprintf("section %q", name), Sections())
	case scope == "":
		entry := entryOf(top, "defaults")
		if entry == nil {
			return p, nil
		}
		if _, null := unwrap(entry.Value).(*ast.NullNode); null {
			p.defaults = entry
			return p, nil
		}
		p.siblings, flow, err = d.mapping(entry.Value)
		if err == nil && flow {
			err = refuse(lineOf(entry.Key), `"defaults" is written in braces`, "write its keys on lines of their own")
		}
	default:
		found := false
		for _, values := range d.apps() {
			if other, ok := nameOf(values); ok && other == scope {
				p.siblings, found = values, true
			}
		}
		if !found {
			return p, unknown(fmt.Sprintf("app %q", scope), d.Apps())
		}
		if d.braced(scope) {
			err = refuse(lineOf(p.siblings[0].Key), fmt.Sprintf("the app %q is written in braces", scope), "write its keys on lines of their own")
		}
	}
	if err != nil {
		return p, err
	}
	p.entry = entryOf(p.siblings, name)
	if p.entry != nil {
		for _, other := range p.siblings {
			if other != p.entry && keyOf(other) == name {
				return p, refuse(lineOf(other.Key), fmt.Sprintf("%q is there twice", name), "keep one of the two")
			}
		}
	}
	return p, nil
}

// apps are the mappings of `apps`.
func (d *Document) apps() [][]*ast.MappingValueNode {
	var all [][]*ast.MappingValueNode
	for _, n := range d.appNodes() {
		if values, _, err := d.mapping(n); err == nil && len(values) > 0 {
			all = append(all, values)
		}
	}
	return all
}

func (d *Document) appNodes() []ast.Node {
	top, _, err := d.mapping(d.body)
	if err != nil {
		return nil
	}
	entry := entryOf(top, "apps")
	if entry == nil {
		return nil
	}
	list, ok := unwrap(entry.Value).(*ast.SequenceNode)
	if !ok {
		return nil
	}
	return list.Values
}

func (d *Document) braced(app string) bool {
	for _, n := range d.appNodes() {
		if values, flow, err := d.mapping(n); err == nil && flow {
			if name, ok := nameOf(values); ok && name == app {
				return true
			}
		}
	}
	return false
}

// mapping returns the entries of a mapping, and whether it is in braces.
func (d *Document) mapping(n ast.Node) (values []*ast.MappingValueNode, flow bool, err error) {
	switch v := unwrap(n).(type) {
	case nil, *ast.NullNode:
		return nil, false, nil
	case *ast.MappingNode:
		return v.Values, v.IsFlowStyle, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{v}, false, nil
	case *ast.AliasNode:
		return nil, false, refuse(lineOf(v), "this is what another part of the file says (*)", "write it out")
	default:
		return nil, false, refuse(lineOf(v), "there are no keys and values here", "")
	}
}

func unwrap(n ast.Node) ast.Node {
	for {
		a, ok := n.(*ast.AnchorNode)
		if !ok {
			return n
		}
		n = a.Value
	}
}

func keyOf(v *ast.MappingValueNode) string { return v.Key.GetToken().Value }

func lineOf(n ast.Node) int { return strict.PositionOf(n.GetToken()).Line }

func entryOf(values []*ast.MappingValueNode, key string) *ast.MappingValueNode {
	for _, v := range values {
		if keyOf(v) == key && !v.Key.IsMergeKey() {
			return v
		}
	}
	return nil
}

func nameOf(values []*ast.MappingValueNode) (string, bool) {
	entry := entryOf(values, "name")
	if entry == nil {
		return "", false
	}
	s, ok := unwrap(entry.Value).(*ast.StringNode)
	if !ok {
		return "", false
	}
	return s.Value, true
}
