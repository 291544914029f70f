// Package archtest holds the house rules that a machine can check: who may
// import what, and why; where the clock, the exit and the default logger are;
// how large a file and a package may grow; that packages are described and
// fuzz targets have seeds. It is for the project's own tests. It promises to
// name the place and the reason of each breach, so that whoever meets a rule
// for the first time need not ask.
package archtest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is the import path in front of the project's own packages.
const module = "github.com/backstay/backstay/"

// Limits in lines, comments included. They ask for a review of the design;
// splitting by noun is nearly always the answer.
const (
	maxFileLines     = 600
	maxTestFileLines = 1000
	maxPackageLines  = 3000
)

// file is one parsed Go file.
type file struct {
	path    string // relative to the module's root
	dir     string
	test    bool // a test file, or a file of a package that is for tests only
	lines   int
	imports map[string]string // name in the file → import path
	nodes   *ast.File
	set     *token.FileSet
}

// Check reads every Go file below root, the module's folder, and returns the
// breaches of the house rules, sorted.
func Check(root fs.FS) ([]string, error) {
	files, err := parse(root)
	if err != nil {
		return nil, err
	}
	var breaches []string
	report := func(format string, args ...any) { breaches = append(breaches, fmt.Sprintf(format, args...)) }
	for _, f := range files {
		checkImports(f, report)
		checkCalls(f, report)
		checkFileSize(f, report)
		checkSeeds(root, f, report)
	}
	checkPackages(files, report)
	slices.SortFunc(breaches, cmp.Compare[string])
	return slices.Compact(breaches), nil
}

func parse(root fs.FS) ([]file, error) {
	var files []file
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != "." && (base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f := file{path: name, dir: path.Dir(name), set: token.NewFileSet(), imports: map[string]string{}}
		if f.nodes, err = parser.ParseFile(f.set, name, source, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
		f.test = strings.HasSuffix(name, "_test.go") || forTests(f.dir)
		f.lines = f.set.File(f.nodes.Pos()).LineCount()
		for _, spec := range f.nodes.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: read import %s: %w", name, spec.Path.Value, err)
			}
			local := path.Base(imported)
			if spec.Name != nil {
				local = spec.Name.Name
			}
			f.imports[local+" "+imported] = imported
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	return files, nil
}

func (f *file) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", f.path, f.set.Position(pos).Line)
}

// imported says which package a name stands for in the file, "" for none.
func (f *file) imported(name string) string {
	for key, imported := range f.imports {
		if local, _, _ := strings.Cut(key, " "); local == name {
			return imported
		}
	}
	return ""
}

// within says whether dir is one of places or below one.
func within(dir string, places []string) bool {
	return slices.ContainsFunc(places, func(place string) bool {
		return dir == place || strings.HasPrefix(dir, place+"/")
	})
}

// forTests says whether a package exists for tests only.
func forTests(dir string) bool {
	base := path.Base(dir)
	return strings.HasSuffix(base, "test") || dir == "test" || strings.HasPrefix(dir, "test/")
}

func checkImports(f file, report func(string, ...any)) {
	for _, imported := range f.imports {
		checkOutside(f, imported, report)
		if own, ok := strings.CutPrefix(imported, module); ok {
			checkInside(f, own, report)
		}
	}
}

// checkOutside checks an import of a package that is not the project's.
func checkOutside(f file, imported string, report func(string, ...any)) {
	first, _, _ := strings.Cut(imported, "/")
	standard := !strings.Contains(first, ".")
	for _, rule := range libraries() {
		// log is not log/slog, but kopia/repo is kopia.
		if imported != rule.library && (standard || !within(imported, []string{rule.library})) || within(f.dir, rule.only) || rule.tests && f.test {
			continue
		}
		report("%s imports %s: %s", f.path, imported, rule.reason)
	}
	if f.dir == "internal/core" && !f.test && !standard {
		report("%s imports %s: core imports the standard library only, so that every package can import core", f.path, imported)
	}
}

// checkInside checks an import of one of the project's packages. Tests may
// bring anything together.
func checkInside(f file, imported string, report func(string, ...any)) {
	if f.test {
		return
	}
	if forTests(imported) {
		report("%s imports %s: what is for tests is not part of the program", f.path, imported)
		return
	}
	for _, rule := range wiring() {
		if within(imported, []string{rule.pkg}) && !within(f.dir, rule.only) {
			report("%s imports %s: %s", f.path, imported, rule.reason)
		}
	}
	from, to := roomOf(f.dir), roomOf(imported)
	if from == "" || to == "" || from == to {
		return
	}
	allowed, known := rooms()[from]
	if !known || slices.Contains(allowed.mayImport, to) || slices.Contains(allowed.mayImport, "*") {
		return // an unknown room is reported once, by checkPackages
	}
	report("%s imports %s: internal/%s may import %s only: %s", f.path, imported, from, listOf(allowed.mayImport), allowed.reason)
}

// roomOf returns the room, in rooms, that a package belongs to: the longest
// that contains it, else its first folder below internal; "" outside internal.
func roomOf(dir string) string {
	rest, ok := strings.CutPrefix(dir, "internal/")
	if !ok {
		return ""
	}
	for room := rest; room != "."; room = path.Dir(room) {
		if _, known := rooms()[room]; known {
			return room
		}
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}

func listOf(rooms []string) string {
	if len(rooms) == 0 {
		return "none of the project's packages"
	}
	return strings.Join(rooms, ", ")
}

func checkCalls(f file, report func(string, ...any)) {
	ast.Inspect(f.nodes, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				report("%s has an init function: what runs is wired in internal/cli, in sight", f.at(n.Pos()))
			}
		case *ast.SelectorExpr:
			name, ok := n.X.(*ast.Ident)
			if !ok {
				return true
			}
			symbol := f.imported(name.Name) + "." + n.Sel.Name
			for _, rule := range symbols() {
				if slices.Contains(rule.names, symbol) && !within(f.dir, rule.only) && !(rule.tests && f.test) {
					report("%s uses %s: %s", f.at(n.Pos()), symbol, rule.reason)
				}
			}
		}
		return true
	})
}

func checkFileSize(f file, report func(string, ...any)) {
	limit := maxFileLines
	if strings.HasSuffix(f.path, "_test.go") {
		limit = maxTestFileLines
	}
	if f.lines > limit && !ast.IsGenerated(f.nodes) {
		report("%s has %d lines, more than %d: split it by what its parts are about", f.path, f.lines, limit)
	}
}

// checkSeeds wants each fuzz target to begin with something: without seeds a
// plain `go test` runs it on nothing.
func checkSeeds(root fs.FS, f file, report func(string, ...any)) {
	for _, decl := range f.nodes.Decls {
		target, ok := decl.(*ast.FuncDecl)
		if !ok || target.Recv != nil || !strings.HasSuffix(f.path, "_test.go") || !strings.HasPrefix(target.Name.Name, "Fuzz") || target.Body == nil {
			continue
		}
		seeded := false
		ast.Inspect(target.Body, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if s, ok := call.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Add" {
					seeded = true
				}
			}
			return !seeded
		})
		if corpus, err := fs.ReadDir(root, path.Join(f.dir, "testdata/fuzz", target.Name.Name)); err == nil && len(corpus) > 0 {
			seeded = true
		}
		if !seeded {
			report("%s has no seeds: add some with f.Add or in testdata/fuzz/%s", f.at(target.Pos()), target.Name.Name)
		}
	}
}

func checkPackages(files []file, report func(string, ...any)) {
	comments, lines := map[string][]string{}, map[string]int{}
	for _, f := range files {
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		lines[f.dir] += f.lines
		if _, ok := comments[f.dir]; !ok {
			comments[f.dir] = nil
		}
		if f.nodes.Doc == nil {
			continue
		}
		comments[f.dir] = append(comments[f.dir], f.path)
		begin := "Package " + f.nodes.Name.Name + " "
		if f.nodes.Name.Name == "main" {
			begin = "Command " + path.Base(f.dir) + " "
		}
		if !strings.HasPrefix(f.nodes.Doc.Text(), begin) {
			report("%s: the package comment must begin with %q", f.path, begin)
		}
	}
	for dir, commented := range comments {
		switch len(commented) {
		case 1:
		case 0:
			report("%s has no package comment: say what it is for, for whom, and what it promises", dir)
		default:
			report("%s has %d package comments, in %s: keep one", dir, len(commented), strings.Join(commented, ", "))
		}
		if lines[dir] > maxPackageLines {
			report("%s has %d lines without its tests, more than %d: split it by noun", dir, lines[dir], maxPackageLines)
		}
		if base := path.Base(dir); slices.Contains(vagueNames(), base) {
			report("%s: a package is named by the noun it owns, not %s", dir, base)
		}
		if room := roomOf(dir); room != "" {
			if _, known := rooms()[room]; !known {
				report("internal/%s is not in the list of rooms: add it to internal/archtest/rules.go with what it may import and why", room)
			}
		}
	}
}
