// Package demo makes the throwaway helpdesk of `backstay demo`: a database of
// tickets with attachments and a folder of uploads and configuration, the same
// for the same seed. It can do a day's work on it, damage it, and take
// fingerprints of it that say row by row and file by file what differs. It is
// for the demo, for tests and for benchmarks. It promises to write only into
// the database that its connection uses and the folder that it is given, and
// to refuse ones that hold anything.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// DefaultSize is the size of the helpdesk when none is given, in bytes.
const DefaultSize = 200 << 20

// Folders and files of the application, relative to its folder.
const (
	UploadsDir = "uploads"             // what users put in
	ConfigFile = "config/helpdesk.ini" // the application's configuration
)

// Options says what kind of helpdesk to make.
type Options struct {
	Size     int64 // bytes in all, roughly; 0: DefaultSize; small sizes become about 1 MB
	Seed     uint64
	Progress core.Progress // nil: nobody listens
}

// Summary counts what was made.
type Summary struct {
	Customers     int
	Agents        int
	Tickets       int
	Messages      int
	Attachments   int
	Files         int   // uploads and configuration
	DatabaseBytes int64 // of texts and attachments
	FileBytes     int64
}

// Generate fills the database that conn uses, which must be empty, and the
// folder dir, which must be missing or empty. What it makes depends on Size
// and Seed only. After an error both hold a part.
func Generate(ctx context.Context, conn *mysql.Conn, dir string, opts Options) (Summary, error) {
	if err := wantEmptyDatabase(ctx, conn); err != nil {
		return Summary{}, err
	}
	if err := wantEmptyFolder(dir); err != nil {
		return Summary{}, err
	}
	if opts.Size <= 0 {
		opts.Size = DefaultSize
	}
	if opts.Progress == nil {
		opts.Progress = core.NoProgress{}
	}
	p := newPlan(opts)
	opts.Progress.Stage("generate helpdesk", p.attachmentBytes+p.uploadBytes+p.textBytes)

	uploads := p.planUploads()
	var files, rows Summary
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		files, err = p.writeFiles(groupCtx, dir, uploads)
		return diskError("write the helpdesk's files", err)
	})
	group.Go(func() (err error) {
		rows, err = p.writeDatabase(groupCtx, conn, uploads)
		return err
	})
	if err := group.Wait(); err != nil {
		return Summary{}, fmt.Errorf("generate helpdesk: %w", err)
	}
	rows.Files, rows.FileBytes = files.Files, files.FileBytes
	return rows, nil
}

func wantEmptyDatabase(ctx context.Context, conn *mysql.Conn) error {
	rows, err := conn.Query(ctx, "SELECT DATABASE(), COUNT(table_name) FROM information_schema.tables WHERE table_schema = DATABASE()")
	if err != nil {
		return fmt.Errorf("look into the database: %w", err)
	}
	if len(rows) != 1 || rows[0][0].Null {
		return errors.New("generate helpdesk: the connection uses no database")
	}
	if rows[0][1].Text != "0" {
		return &core.Error{
			Code: core.CodeUsage, Op: "generate helpdesk", Message: fmt.Sprintf("database %s holds tables", rows[0][0].Text),
			Hint: "the helpdesk is made in an empty database only",
		}
	}
	return nil
}

func wantEmptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("generate helpdesk: %w", err)
	}
	if len(entries) > 0 {
		return &core.Error{
			Code: core.CodeUsage, Op: "generate helpdesk", Message: fmt.Sprintf("folder %s is not empty", dir),
			Hint: "the helpdesk is made in an empty folder only",
		}
	}
	return nil
}

// diskError marks a full disk as such.
func diskError(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &core.Error{Code: core.CodeDisk, Op: op, Message: "the disk is full", Hint: "free some space, or set TMPDIR to a folder with more room", Err: err}
	}
	return fmt.Errorf("%s: %w", op, err)
}
