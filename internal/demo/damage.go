package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/backstay/backstay/internal/mysql"
)

// Damage ruins the helpdesk as a bad day would: tables and rows go, values are
// overwritten, files are deleted, cut short and changed inside. It says what it
// did, in words.
func Damage(ctx context.Context, conn *mysql.Conn, dir string) (what []string, err error) {
	if what, err = damageDatabase(ctx, conn); err != nil {
		return nil, fmt.Errorf("damage the database: %w", err)
	}
	files, err := damageFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("damage the files: %w", err)
	}
	return append(what, files...), nil
}

func damageDatabase(ctx context.Context, conn *mysql.Conn) ([]string, error) {
	// Without the checks, so that orphans stay behind.
	if err := execAll(ctx, conn, []string{"SET SESSION foreign_key_checks = 0"}); err != nil {
		return nil, err
	}
	what, err := ruin(ctx, conn)
	return what, errors.Join(err, execAll(ctx, conn, []string{"SET SESSION foreign_key_checks = 1"}))
}

func ruin(ctx context.Context, conn *mysql.Conn) ([]string, error) {
	if err := execAll(ctx, conn, []string{
		"DROP TABLE attachments", "DROP TABLE ticket_tags", "DROP VIEW open_tickets", "DROP TRIGGER message_counts",
	}); err != nil {
		return nil, err
	}
	deleted, err := conn.Exec(ctx, "DELETE FROM tickets WHERE id % 3 = 0")
	if err != nil {
		return nil, err
	}
	overwritten, err := conn.Exec(ctx, "UPDATE customers SET name = '?????', notes = NULL WHERE id % 2 = 0")
	if err != nil {
		return nil, err
	}
	return []string{
		"dropped the tables attachments and ticket_tags, the view open_tickets and the trigger message_counts",
		"deleted " + plural(int(deleted.Affected), "ticket") + " under their messages",
		"overwrote the names of " + plural(int(overwritten.Affected), "customer"),
	}, nil
}

func damageFiles(dir string) ([]string, error) {
	root := filepath.Join(dir, UploadsDir)
	months, err := filepath.Glob(filepath.Join(root, "[0-9]*", "[0-9]*"))
	if err != nil {
		return nil, err
	}
	if len(months) == 0 {
		return nil, fmt.Errorf("there are no uploads in %s", root)
	}
	slices.Sort(months)
	newest := months[len(months)-1]
	lost, err := os.ReadDir(newest)
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(newest); err != nil {
		return nil, err
	}
	config := filepath.FromSlash(ConfigFile)
	if err := os.Remove(filepath.Join(dir, config)); err != nil {
		return nil, err
	}
	changed, cut, err := spoil(root)
	if err != nil {
		return nil, err
	}
	return []string{
		fmt.Sprintf("deleted the folder %s with %s, and %s", below(dir, newest), plural(len(lost), "file"), config),
		"changed bytes inside " + plural(changed, "file") + ", leaving size and time as they were",
		"cut " + plural(cut, "file") + " short",
	}, nil
}

// spoil changes every fifth file inside and cuts every thirtieth short.
func spoil(root string) (changed, cut int, err error) {
	n := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n++
		switch {
		case n%30 == 4:
			cut++
			return cutShort(path)
		case n%5 == 0:
			changed++
			return changeInside(path)
		}
		return nil
	})
	return changed, cut, err
}

func cutShort(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(path, info.Mode()|0o200), os.Truncate(path, info.Size()/2), os.Chmod(path, info.Mode()))
}

// changeInside changes bytes in the middle of a file and gives it its old time.
func changeInside(path string) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	// The owner may have no right to write, which stops nobody who means harm.
	if err := os.Chmod(path, info.Mode()|0o200); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	block := make([]byte, 16)
	at := info.Size() / 2
	n, err := f.ReadAt(block, max(0, at-int64(len(block))))
	for i := range block[:n] {
		block[i] ^= 0x5a
	}
	if err == nil {
		_, err = f.WriteAt(block[:n], max(0, at-int64(len(block))))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Chmod(path, info.Mode()), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// below names a path below dir, which it is known to be.
func below(dir, path string) string {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}
