package demo

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/mysql"
)

// Fingerprint tells one state of the helpdesk from every other: each row, each
// definition, each file.
type Fingerprint struct {
	Tables      map[string]Rows   // by name
	Definitions map[string]string // by kind and name: "view open_tickets"
	Files       map[string]File   // by path below the application's folder, with "/"
}

// Rows holds the hash of each row of a table, by primary key.
type Rows map[string][16]byte

// File is what is compared of a file, folder or symbolic link.
type File struct {
	Mode     fs.FileMode // with type bits
	UID, GID uint32
	Size     int64     // of a regular file
	Modified time.Time // not of a symbolic link
	SHA256   [32]byte  // of a regular file's content
	Target   string    // of a symbolic link
}

// TakeFingerprint reads every row of the database that conn uses, and every
// file of the application in dir. What is missing is missing in the result.
func TakeFingerprint(ctx context.Context, conn *mysql.Conn, dir string) (Fingerprint, error) {
	f := Fingerprint{Tables: map[string]Rows{}, Definitions: map[string]string{}, Files: map[string]File{}}
	if err := f.addDatabase(ctx, conn); err != nil {
		return Fingerprint{}, fmt.Errorf("take fingerprint of the database: %w", err)
	}
	for _, path := range []string{UploadsDir, filepath.FromSlash(ConfigFile)} {
		if err := f.addFiles(ctx, dir, path); err != nil {
			return Fingerprint{}, fmt.Errorf("take fingerprint of the files: %w", err)
		}
	}
	return f, nil
}

func (f Fingerprint) addDatabase(ctx context.Context, conn *mysql.Conn) error {
	objects, err := conn.Query(ctx,
		"SELECT CASE WHEN table_type LIKE '%VIEW%' THEN 'view' ELSE 'table' END, table_name"+
			" FROM information_schema.tables WHERE table_schema = DATABASE()"+
			" UNION ALL SELECT 'trigger', trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()")
	if err != nil {
		return err
	}
	for _, object := range objects {
		kind, name := object[0].Text, object[1].Text
		rows, err := conn.Query(ctx, "SHOW CREATE "+kind+" "+mysql.QuoteName(name))
		if err != nil {
			return err
		}
		statement := 1
		if kind == "trigger" {
			statement = 2 // after its name and sql_mode
		}
		if len(rows) != 1 || len(rows[0]) <= statement {
			return fmt.Errorf("show create %s %s: unexpected answer", kind, name)
		}
		f.Definitions[kind+" "+name] = rows[0][statement].Text
		if kind != "table" {
			continue
		}
		if f.Tables[name], err = tableRows(ctx, conn, name); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	return nil
}

// tableRows hashes the rows of a table.
func tableRows(ctx context.Context, conn *mysql.Conn, table string) (Rows, error) {
	columns, err := conn.Query(ctx, "SELECT column_name, column_key = 'PRI', data_type FROM information_schema.columns"+
		" WHERE table_schema = DATABASE() AND table_name = "+mysql.QuoteText(table)+" ORDER BY column_key <> 'PRI', ordinal_position")
	if err != nil {
		return nil, err
	}
	h := rowHasher{rows: Rows{}, hash: sha256.New()}
	var list []string
	for _, c := range columns {
		expression := mysql.QuoteName(c[0].Text)
		if c[1].Text == "1" {
			h.keys++
		}
		if c[2].Text == "float" {
			expression += " + 0e0" // the server prints only 6 digits of a FLOAT
		}
		list = append(list, expression)
	}
	err = conn.Stream(ctx, "SELECT "+strings.Join(list, ", ")+" FROM "+mysql.QuoteName(table), len(list), &h)
	return h.rows, err
}

// rowHasher is a mysql.RowHandler that hashes rows whose first columns are the key.
type rowHasher struct {
	rows Rows
	keys int
	hash hash.Hash
	key  strings.Builder
	seen int // columns of this row
}

var _ mysql.RowHandler = (*rowHasher)(nil)

func (h *rowHasher) begin() {
	h.hash.Reset()
	h.key.Reset()
	h.seen = 0
}

// value begins a value: what tells NULL from an empty text, and one border
// between values from another.
func (h *rowHasher) value(size int64, null bool) {
	var head [9]byte
	if null {
		head[0] = 1
	}
	binary.BigEndian.PutUint64(head[1:], uint64(size))
	h.write(head[:])
	h.seen++
}

func (h *rowHasher) write(p []byte) { _, _ = h.hash.Write(p) } // documented to never fail

func (h *rowHasher) addKey(p []byte) {
	if h.seen > 1 {
		h.key.WriteString(", ")
	}
	h.key.Write(p)
}

func (h *rowHasher) end() {
	sum := [16]byte(h.hash.Sum(nil))
	key := h.key.String()
	if h.keys == 0 {
		key = fmt.Sprintf("%x", sum)
	}
	for base, n := key, 2; ; n++ { // equal rows of a table without a key
		if _, taken := h.rows[key]; !taken {
			break
		}
		key = fmt.Sprintf("%s again %d", base, n)
	}
	h.rows[key] = sum
}

// Row hashes a row.
func (h *rowHasher) Row(payload []byte) error {
	h.begin()
	for len(payload) > 0 {
		v, null, rest, err := mysql.NextValue(payload)
		if err != nil {
			return err
		}
		payload = rest
		h.value(int64(len(v)), null)
		h.write(v)
		if h.seen <= h.keys {
			h.addKey(v)
		}
	}
	h.end()
	return nil
}

// LargeRow hashes a row piece by piece.
func (h *rowHasher) LargeRow(r *mysql.RowReader) error {
	h.begin()
	for {
		size, null, err := r.Next()
		if errors.Is(err, io.EOF) {
			h.end()
			return nil
		}
		if err != nil {
			return err
		}
		h.value(size, null)
		value := io.LimitReader(r, size)
		if h.seen <= h.keys {
			key, err := io.ReadAll(value)
			if err != nil {
				return err
			}
			h.write(key)
			h.addKey(key)
			continue
		}
		n, err := io.Copy(h.hash, value)
		if err == nil && n != size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("read a value of %d bytes: %w", size, err)
		}
	}
}

func (f Fingerprint) addFiles(ctx context.Context, dir, below string) error {
	err := filepath.WalkDir(filepath.Join(dir, below), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f.Files[filepath.ToSlash(rel)], err = fileOf(path)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func fileOf(path string) (File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return File{}, err
	}
	f := File{Mode: info.Mode()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.GID = stat.Uid, stat.Gid
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		f.Target, err = os.Readlink(path)
	case info.Mode().IsRegular():
		f.Modified, f.Size = info.ModTime(), info.Size()
		f.SHA256, err = hashFile(path)
	default:
		f.Modified = info.ModTime()
	}
	return f, err
}

func hashFile(path string) (sum [32]byte, err error) {
	in, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), nil
}
