package exporting_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/exporting"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository/memory"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// plain is a format that writes the dump and nothing else, and fails when told.
type plain struct {
	archive.Format
	fail  error             // after the dump
	while func(w io.Writer) // between two writes
	flaws []archive.Flaw    // that reading back finds
}

func (plain) Name() string { return "plain" }

func (p plain) Write(ctx context.Context, w io.Writer, c archive.Content, _ archive.WriteOptions) ([]core.Warning, error) {
	size, err := c.DumpSize(ctx, archive.DialectMySQL)
	if err != nil {
		return nil, err
	}
	if p.while != nil {
		p.while(w)
	}
	counted := &bytes.Buffer{}
	if _, err := c.Dump(ctx, io.MultiWriter(w, counted), archive.DialectMySQL); err != nil {
		return nil, err
	}
	if int64(counted.Len()) != size {
		return nil, fmt.Errorf("the dump has %d bytes, and %d were said", counted.Len(), size)
	}
	return []core.Warning{{Code: "not-carried", Object: "files", Message: "3 files"}}, p.fail
}

func (p plain) Open(context.Context, *os.File, archive.OpenOptions) (archive.Archive, error) {
	return opened{flaws: p.flaws}, nil
}

type opened struct {
	archive.Archive
	flaws []archive.Flaw
}

func (o opened) Check(context.Context) ([]archive.Flaw, error) { return o.flaws, nil }
func (opened) Close() error                                    { return nil }

func backedUp(t *testing.T) (*engine.Engine, exporting.Request) {
	t.Helper()
	app := enginetest.NewApp(t)
	e := enginetest.New(t, memory.New())
	b := enginetest.Backup(t, e, app.Target)
	return e, exporting.Request{Record: enginetest.Find(t, e, b.ID), Format: plain{}, File: filepath.Join(t.TempDir(), "shop.sql")}
}

// names lists what a folder holds.
func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestExport(t *testing.T) {
	e, req := backedUp(t)
	req.Sum, req.Check = true, true
	got, err := exporting.Export(t.Context(), e, req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(req.File)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	if got.SHA256 != hex.EncodeToString(sum[:]) || got.Bytes != int64(len(text)) || !got.Checked || len(got.Warnings) != 1 {
		t.Errorf("got %+v", got)
	}
	line, err := os.ReadFile(req.File + ".sha256")
	if want := got.SHA256 + "  shop.sql\n"; err != nil || string(line) != want {
		t.Errorf("sum file %q (%v), want %q", line, err, want)
	}
	for _, name := range []string{req.File, req.File + ".sha256"} {
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if have := names(t, filepath.Dir(req.File)); len(have) != 2 {
		t.Errorf("the folder holds %q", have)
	}

	var out bytes.Buffer
	req.Writer, req.File, req.Sum, req.Check = &out, "", false, false
	streamed, err := exporting.Export(t.Context(), e, req)
	if err != nil || streamed.SHA256 != got.SHA256 || !bytes.Equal(out.Bytes(), text) {
		t.Errorf("streamed %d bytes, %v", out.Len(), err)
	}
}

// TestNoFile: whatever goes wrong, there is no file of the name, and what was
// there stays.
func TestNoFile(t *testing.T) {
	e, whole := backedUp(t)
	dir := filepath.Dir(whole.File)
	for name, c := range map[string]struct {
		change func(*exporting.Request)
		code   core.Code
		says   string
	}{
		"disk full": {func(r *exporting.Request) {
			r.Format = plain{fail: fmt.Errorf("write: %w", syscall.ENOSPC)}
		}, core.CodeDisk, "no space"},
		"read back": {func(r *exporting.Request) {
			r.Check, r.Format = true, plain{flaws: []archive.Flaw{{Where: "x", Message: "is short"}}}
		}, core.CodeDamage, "is short"},
		"no folder":  {func(r *exporting.Request) { r.File = filepath.Join(dir, "none", "x") }, core.CodeDisk, "there is no folder"},
		"a folder":   {func(r *exporting.Request) { r.File = dir }, core.CodeUsage, "not a plain file"},
		"recipients": {func(r *exporting.Request) { r.Check, r.Options.Recipients = true, []string{"age1x"} }, core.CodeUsage, "keys are not here"},
	} {
		t.Run(name, func(t *testing.T) {
			req := whole
			c.change(&req)
			_, err := exporting.Export(t.Context(), e, req)
			enginetest.WantError(t, err, c.code, c.says)
			if have := names(t, dir); len(have) != 0 {
				t.Errorf("the folder holds %q", have)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := exporting.Export(ctx, e, whole); core.CodeOf(err) != core.CodeCancelled || len(names(t, dir)) != 0 {
		t.Errorf("cancelled: %v, %q", err, names(t, dir))
	}
}

func TestExisting(t *testing.T) {
	e, req := backedUp(t)
	if err := os.WriteFile(req.File, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := exporting.Export(t.Context(), e, req)
	enginetest.WantError(t, err, core.CodeUsage, "there already")
	if text, err := os.ReadFile(req.File); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	req.Replace = true
	if _, err := exporting.Export(t.Context(), e, req); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(req.File); err != nil || info.Mode() != 0o600 || info.Size() < 100 {
		t.Errorf("%v, %v", info, err)
	}
	// It came while the archive was written.
	req.Replace, req.File = false, filepath.Join(filepath.Dir(req.File), "late")
	req.Format = plain{while: func(io.Writer) {
		if err := os.WriteFile(req.File, []byte("mine"), 0o644); err != nil {
			t.Error(err)
		}
	}}
	_, err = exporting.Export(t.Context(), e, req)
	enginetest.WantError(t, err, core.CodeUsage, "there already")
	if text, err := os.ReadFile(req.File); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestTwoAtOnce: a second export to the same name waits for nobody and spoils
// nothing; what a killed one left is no obstacle.
func TestTwoAtOnce(t *testing.T) {
	e, req := backedUp(t)
	temp := filepath.Join(filepath.Dir(req.File), files.TempName("shop.sql"))
	f, err := os.Create(temp)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half an archive"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, err = exporting.Export(t.Context(), e, req)
	enginetest.WantError(t, err, core.CodeLocked, "another export")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := exporting.Export(t.Context(), e, req); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(req.File)
	if err != nil || bytes.Contains(text, []byte("half an archive")) {
		t.Errorf("%v: %q", err, text)
	}
	if _, err := os.Lstat(temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is there: %v", err)
	}
}
