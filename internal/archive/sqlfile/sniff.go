package sqlfile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// packing is how a dump is packed.
type packing string

const (
	plain     packing = "not packed"
	gzipped   packing = "gzip"
	zstandard packing = "zstd"
	bzipped   packing = "bzip2"
)

// magics are the first bytes of what may hold a dump; those without a packing
// are known and not read.
func magics() []struct {
	begin string
	packing
	name, unpack string
} {
	return []struct {
		begin string
		packing
		name, unpack string
	}{
		{"\x1f\x8b", gzipped, "", ""},
		{"\x28\xb5\x2f\xfd", zstandard, "", ""},
		{"BZh", bzipped, "", ""},
		{"\xfd7zXZ\x00", "", "xz", "xz -dk FILE"},
		{"7z\xbc\xaf\x27\x1c", "", "7z", "7z x FILE"},
		{"PK\x03\x04", "", "zip", "unzip FILE"},
		{"Rar!", "", "rar", "unrar x FILE"},
		{"age-encryption.org/", "", "age", "age -d FILE > FILE.sql"},
		{"-----BEGIN AGE", "", "age", "age -d FILE > FILE.sql"},
	}
}

// packed says how a file is packed that begins with head.
func packed(head []byte) (packing, error) {
	for _, m := range magics() {
		if !strings.HasPrefix(string(head), m.begin) {
			continue
		}
		if m.packing != "" {
			return m.packing, nil
		}
		return "", &core.Error{
			Code: core.CodeUnsupported, Op: "open dump", Message: "it is packed with " + m.name,
			Hint: "unpack it first: " + m.unpack + "; dumps are read plain and from gzip, zstd and bzip2",
		}
	}
	return plain, nil
}

// sniffed is how much of a dump is looked at to know it for one.
const sniffed = 64 << 10

func recognizes(f *os.File) bool {
	head := make([]byte, 32)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return false
	}
	p, err := packed(head[:n])
	if err != nil {
		return false
	}
	u, err := unpack(p, io.NewSectionReader(f, 0, 1<<62))
	if err != nil {
		return false
	}
	defer u.close()
	begin, err := io.ReadAll(io.LimitReader(u, sniffed))
	// What is cut short is still a dump, if not a whole one.
	return (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) && looksLikeSQL(begin)
}

// looksLikeSQL says whether a text that begins so is SQL: after comments comes
// a word that a statement of a dump begins with.
func looksLikeSQL(b []byte) bool {
	full := len(b) >= sniffed
	all := b
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	for {
		b = bytes.TrimLeft(b, " \t\r\n;")
		switch {
		case bytes.HasPrefix(b, []byte("/*!")), bytes.HasPrefix(b, []byte("/*M!")):
			return true
		case bytes.HasPrefix(b, []byte("/*")):
			_, rest, found := bytes.Cut(b, []byte("*/"))
			if !found {
				return false
			}
			b = rest
		case isMessage(b), bytes.HasPrefix(b, []byte("--")) && (len(b) == 2 || b[2] <= ' '), bytes.HasPrefix(b, []byte("#")):
			_, rest, found := bytes.Cut(b, []byte("\n"))
			if !found {
				rest = nil
			}
			b = rest
		case len(b) == 0:
			return len(all) > 0 && bytes.Contains(bytes.ToLower(all), []byte("dump"))
		default:
			return isStatement(b, full)
		}
	}
}

// isMessage says whether a line of a dump program's own messages begins here,
// which somebody's 2>&1 put into the dump.
func isMessage(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	program, _, found := bytes.Cut(line, []byte(": "))
	return found && slices.Contains([]string{"mysqldump", "mariadb-dump", "mysqlpump"}, path.Base(string(program)))
}

// isStatement says whether a text begins with a statement of a dump. full says
// that there is more of it than could be looked at.
func isStatement(b []byte, full bool) bool {
	end := bytes.IndexFunc(b, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
	if end <= 0 || !strings.ContainsRune(" \t\r\n;(`", rune(b[end])) {
		return false
	}
	words := []string{
		"ALTER", "ANALYZE", "BEGIN", "CALL", "CHANGE", "COMMIT", "CREATE", "DELETE", "DELIMITER", "DROP", "FLUSH", "GRANT", "INSERT",
		"LOAD", "LOCK", "REPLACE", "SELECT", "SET", "START", "TRUNCATE", "UNLOCK", "UPDATE", "USE",
	}
	return slices.Contains(words, strings.ToUpper(string(b[:end]))) && (full || bytes.ContainsRune(b, ';'))
}
