// Package itop reads and writes the archives of iTop's own backup: a .tar.gz
// as its backup.php writes and its restore.php reads it, and for reading the
// .zip of older versions. It is for the engine, through archive.Format. It
// promises to refuse what iTop's backup cannot have written, and to say what
// of a backup iTop's restore will not bring back.
package itop

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// The names that iTop's restore takes as special (DBRestore, itop-backup).
const (
	configName  = "config-itop.php"
	deltaName   = "delta.xml"
	modulesName = "production-modules" // whatever the environment: DBRestore has it fixed
	dumpName    = "itop-dump.sql"
)

// defaultEnvironment is iTop's where nothing else is said.
const defaultEnvironment = "production"

// Format is iTop's archive. The zero value is ready to use.
type Format struct{}

var _ archive.Format = Format{}

// New returns the format.
func New() Format { return Format{} }

// Name returns "itop".
func (Format) Name() string { return "itop" }

// Extension returns ".tar.gz".
func (Format) Extension() string { return ".tar.gz" }

// Recognizes says whether f is a compressed tar or a zip whose first entry is
// one that iTop's backup begins with.
func (Format) Recognizes(f *os.File, _ string) bool {
	var head [30 + archive.MaxPath]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return false
	}
	name := ""
	switch {
	case n > 2 && head[0] == 0x1f && head[1] == 0x8b:
		src := archive.NewSource(context.Background(), io.NewSectionReader(f, 0, 1<<20), nil)
		z, err := newGunzip(src)
		if err != nil {
			return false
		}
		h, err := newTarReader(z).next()
		if err != nil {
			return false
		}
		name = h.name
	case n > 30 && string(head[:4]) == localSignature:
		length := int(binary.LittleEndian.Uint16(head[26:]))
		if 30+length > n {
			return false
		}
		name = string(head[30 : 30+length])
	}
	top, _, _ := strings.Cut(name, "/")
	return top == configName || top == deltaName || top == dumpName || strings.HasSuffix(top, "-modules")
}

// Open opens a .tar.gz or, of older versions, a .zip.
func (Format) Open(ctx context.Context, f *os.File, opt archive.OpenOptions) (archive.Archive, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	if opt.Environment == "" {
		opt.Environment = defaultEnvironment
	}
	if opt.Progress == nil {
		opt.Progress = core.NoProgress{}
	}
	if err := checkEnvironment(opt.Environment); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	var magic [4]byte
	if n, err := f.ReadAt(magic[:], 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("open archive: %w", err)
	} else if n == 0 {
		return nil, damaged(archive.Flaw{Where: "the archive", Message: "it is empty"})
	}
	switch {
	case magic[0] == 0x1f && magic[1] == 0x8b:
		return &tarball{f: f, size: info.Size(), opt: opt}, nil
	case string(magic[:2]) == "PK":
		return openZip(ctx, f, info.Size(), opt)
	}
	return nil, &core.Error{
		Code: core.CodeUnsupported, Op: "open archive", Message: "it is neither a .tar.gz nor a .zip",
		Hint: "iTop's backups are called *.tar.gz, those of older versions *.zip",
	}
}

// checkEnvironment refuses what cannot be the name of an environment: it
// becomes part of paths.
func checkEnvironment(environment string) error {
	if strings.Trim(environment, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == "" && len(environment) <= 100 {
		return nil
	}
	return &core.Error{Code: core.CodeUsage, Op: "open archive", Message: fmt.Sprintf("%q cannot be an environment of iTop", environment)}
}

// place says what an entry of an archive is to the application. Only in the
// root of the archive a name is special: iTop's restore takes the names as
// special at any depth, and so loses files.
func place(environment, name string, dir bool) (e archive.Entry, dump bool, err error) {
	p, err := archive.CheckPath(name)
	if err != nil {
		return e, false, err
	}
	if !dir && strings.HasSuffix(name, "/") {
		return e, false, archive.Hostile(name, "a file is named as a folder")
	}
	e = archive.Entry{Component: core.ComponentFiles, Place: "app", Path: p, Type: core.TypeFile}
	if dir {
		e.Type = core.TypeDir
	}
	top, below, deeper := strings.Cut(p, "/")
	modules := top == modulesName || top == environment+"-modules"
	special := modules || top == configName || top == deltaName || top == dumpName
	switch {
	case !special:
		return e, false, nil
	case modules:
		if !deeper && !dir {
			return e, false, archive.Hostile(name, "it is to be a folder")
		}
		e.Path = path.Join("data", environment+"-modules", below)
		return e, false, nil
	case dir || deeper:
		return e, false, archive.Hostile(name, "it is to be a file")
	case top == configName:
		// 0440 is what iTop's restore gives it, whatever the archive says.
		e.Component, e.Path, e.Mode, e.HasMode = core.ComponentConfig, configPath(environment), 0o440, true
	case top == deltaName:
		e.Path = deltaPath(environment)
	}
	return e, top == dumpName, nil
}

func configPath(environment string) string  { return "conf/" + environment + "/" + configName }
func deltaPath(environment string) string   { return "data/" + environment + ".delta.xml" }
func modulesPath(environment string) string { return "data/" + environment + "-modules" }

// flaw is damage, as an error on its way to Check, which returns it as a Flaw.
type flaw archive.Flaw

func (f *flaw) Error() string { return f.Where + ": " + f.Message }

// damaged returns the error for damage where there is no Check to tell of it.
func damaged(f archive.Flaw) error {
	return &core.Error{
		Code: core.CodeDamage, Op: "read archive", Message: f.Where + ": " + f.Message,
		Hint: "use another backup; what can be read of this one can be loaded into a database of its own with --salvage",
	}
}
