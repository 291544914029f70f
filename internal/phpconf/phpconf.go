// Package phpconf reads literal values out of PHP configuration files, for the
// profiles of PHP applications. It evaluates literals the way PHP does -
// strings with their escapes, numbers, arrays, constants, concatenation,
// assignments in order - and runs nothing. Whatever is not literal becomes a
// Value that says why and on which line, so that the caller can name the
// setting; AskPHP then gives its value where there is a PHP. Files are taken as
// hostile: size, depth and work are bounded and nothing panics.
package phpconf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"syscall"

	"github.com/VKCOM/php-parser/pkg/ast"
	"github.com/VKCOM/php-parser/pkg/conf"
	phperrors "github.com/VKCOM/php-parser/pkg/errors"
	"github.com/VKCOM/php-parser/pkg/parser"
	"github.com/VKCOM/php-parser/pkg/version"

	"github.com/backstay/backstay/internal/core"
)

// MaxSize is the size in bytes up to which a configuration file is read.
const MaxSize = 1 << 20

// maxDepth bounds how deep expressions and statements may be nested.
const maxDepth = 1000

// File is what a PHP file sets, at its end. It is immutable and safe for
// concurrent use.
type File struct {
	variables map[string]Value
	constants map[string]Value
	// opaque, when set, is why any variable that the file does not assign in
	// plain sight may still have a value.
	opaque *Value
}

// Variable returns the value that the variable (its name is given without $)
// has at the end of the file; false when nothing sets it.
func (f *File) Variable(name string) (Value, bool) {
	if v, ok := f.variables[name]; ok {
		return v, true
	}
	if f.opaque != nil {
		return *f.opaque, true
	}
	return Value{}, false
}

// Constant returns the value of a constant that the file defines.
func (f *File) Constant(name string) (Value, bool) {
	v, ok := f.constants[name]
	return v, ok
}

// Variables returns the names of all variables that the file sets, sorted.
func (f *File) Variables() []string {
	names := make([]string, 0, len(f.variables))
	for name := range f.variables {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// ReadFile parses the file at path. The error is a core.Error.
func ReadFile(path string) (*File, error) {
	src, err := read(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(src)
	if err != nil {
		var e *core.Error
		if errors.As(err, &e) {
			e.Op = "read " + path
		}
		return nil, err
	}
	return f, nil
}

func read(path string) (src []byte, err error) {
	// Not blocking: a FIFO in its place would hold us up for ever.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		hint := "check the path"
		if errors.Is(err, os.ErrPermission) {
			hint = "run backstay as root or as the web server's user, or let its account read " + path
		}
		return nil, &core.Error{Code: core.CodeApplication, Op: "read configuration", Hint: hint, Err: err}
	}
	defer func() {
		if closeErr := file.Close(); err == nil && closeErr != nil {
			src, err = nil, fmt.Errorf("read %s: %w", path, closeErr)
		}
	}()
	if info, statErr := file.Stat(); statErr == nil && !info.Mode().IsRegular() {
		return nil, &core.Error{
			Code: core.CodeApplication, Op: "read " + path, Message: "it is not a regular file",
			Hint: "give the application's root folder, and check what lies at that path",
		}
	}
	src, err = io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, &core.Error{Code: core.CodeApplication, Op: "read configuration", Err: err, Hint: "check that " + path + " can be read"}
	}
	return src, nil
}

// Parse reads PHP source text. A file that PHP would refuse, that holds no PHP
// or that is past the limits gives a core.Error with CodeApplication.
func Parse(src []byte) (f *File, err error) {
	if len(src) > MaxSize {
		return nil, unreadable(fmt.Sprintf("it is larger than %d bytes: this is no configuration file", MaxSize), nil)
	}
	defer func() {
		// The parser library panics on some inputs (an empty heredoc, for one).
		if r := recover(); r != nil {
			f, err = nil, unreadable("the PHP in it could not be parsed", fmt.Errorf("parser: %v", r))
		}
	}()
	// The parser's lexer never comes back from text that ends in "<".
	src = append(bytes.Clone(src), '\n')
	root, err := parseSource(src)
	if err != nil {
		return nil, err
	}
	in := newInterpreter(src)
	if err := in.checkDepth(root); err != nil {
		return nil, err
	}
	in.run(root)
	return in.file(), nil
}

// parseSource tries the newest grammar first, then the last of PHP 7.
func parseSource(src []byte) (*ast.Root, error) {
	var first error
	for _, v := range []version.Version{{Major: 8, Minor: 1}, {Major: 7, Minor: 4}} {
		var problem *phperrors.Error
		node, err := parser.Parse(src, conf.Config{Version: &v, ErrorHandlerFunc: func(e *phperrors.Error) {
			if problem == nil {
				problem = e
			}
		}})
		if err != nil {
			return nil, unreadable("the PHP in it could not be parsed", err)
		}
		root, ok := node.(*ast.Root)
		if problem == nil && ok && root != nil {
			if !hasPHP(root) {
				return nil, unreadable("there is no PHP in it", nil)
			}
			return root, nil
		}
		if first == nil {
			message := "the PHP in it could not be parsed"
			if problem != nil && problem.Pos != nil {
				message = fmt.Sprintf("line %d: PHP syntax error", problem.Pos.StartLine)
			}
			first = unreadable(message, nil)
		}
	}
	return nil, first
}

func hasPHP(root *ast.Root) bool {
	for _, s := range root.Stmts {
		if _, html := s.(*ast.StmtInlineHtml); !html {
			return true
		}
	}
	// Nothing but comments between the tags: tokens that hang on the end.
	return len(root.Stmts) == 0 && root.EndTkn != nil && len(root.EndTkn.FreeFloating) > 0
}

func unreadable(message string, cause error) error {
	return &core.Error{
		Code: core.CodeApplication, Op: "read PHP configuration", Message: message, Err: cause,
		Hint: "check the file with php -l, or give the database under database: in backstay.yaml",
	}
}
