package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Archives bounds what an archive that is imported may unpack to. A field that
// is 0 has its default.
type Archives struct {
	MaxBytes   int64 // unpacked
	MaxRatio   int64 // unpacked bytes for each byte of the archive
	MaxEntries int64
}

// Export says how archives are written and called. Fields are "" or 0 where
// nothing is said.
type Export struct {
	FileNameFormat string // with __HOST__, __DB__, __SUBNAME__ and strftime's letters
	Dir            string // absolute; where archives go that are given no place
	Format         string // one of ArchiveFormats
	Level          int    // of compression, 1 to 9
}

// DefaultFileNameFormat is how archives are called where nothing else is said:
// as iTop calls its own.
const DefaultFileNameFormat = "__DB__-%Y-%m-%d_%H_%M"

// ArchiveFormats lists the formats that a backup can be exported to.
func ArchiveFormats() []string { return []string{"itop", "itflow", "sql", "backstay"} }

func archivesFields(a *Archives) []field {
	return []field{
		sizeField("max_bytes", &a.MaxBytes).describe("how much an archive may unpack to: 500GB, 1TiB, or a number of bytes; 1TiB when not given"),
		countField("max_ratio", &a.MaxRatio, 1_000_000).describe("how many bytes a byte of it may unpack to; 250 when not given"),
		countField("max_entries", &a.MaxEntries, 1_000_000_000).describe("how many files, folders and links it may hold; 10 million when not given"),
	}
}

func exportFields(e *Export) []field {
	name := textField("file_name_format", &e.FileNameFormat, CheckFileNameFormat)
	return []field{
		name.describe("how archives are called, without ending: __HOST__, __DB__, __SUBNAME__ and strftime's letters; " + DefaultFileNameFormat + " when not given"),
		pathField("dir", &e.Dir, false).describe("folder for archives when export names no file or folder"),
		oneOf("format", &e.Format, "formats", ArchiveFormats()...).describe("the format where neither --format nor the file's name says one; that of the app's profile when not given"),
		numberField("level", &e.Level, 1, 9).describe("compression, 1 (fast) to 9 (small)"),
	}
}

// scratchFields are those of a server: which database is used on it is not for
// the configuration to say.
func scratchFields(db *Database) []field {
	var fields []field
	for _, f := range databaseFields(db) {
		switch f.key {
		case "name", "prefix", "connections":
		case "user":
			fields = append(fields, f.describe("an account that may make databases"))
		default:
			fields = append(fields, f)
		}
	}
	return fields
}

func checkScratch(db *Database) func(r *reader, own position, at map[string]position) {
	database := checkDatabase(db)
	return func(r *reader, own position, at map[string]position) {
		database(r, own, at)
		if _, given := at["user"]; !given {
			r.problem(own, "add user: with an account that may make databases", "%q has no %q", "scratch", "user")
		}
	}
}

// CheckFileNameFormat says what is wrong with a format of file names, and a
// hint; "" when nothing is.
func CheckFileNameFormat(s string) (wrong, hint string) {
	switch {
	case strings.TrimSpace(s) == "":
		return notEmpty(s)
	case strings.ContainsAny(s, "/\\\x00"):
		return fmt.Sprintf("must be a name without folders, not %q", shown(s)), "the folder is dir:, or given on the command line"
	case strings.HasPrefix(s, "."):
		return fmt.Sprintf("must not begin with a dot, as %q does", shown(s)), ""
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i++; i == len(s) || !strings.ContainsRune(FileNameLetters, rune(s[i])) {
			return fmt.Sprintf("has a %% that no letter of a date follows: %q", shown(s)), "such as %Y-%m-%d_%H_%M"
		}
	}
	return "", ""
}

// FileNameLetters may follow a % in a format of file names: strftime's, as far
// as iTop knows them and they bring no slash.
const FileNameLetters = "aAbBdeFgGhHIjklmMpPrRsSTuVwyYzZ"

var size = regexp.MustCompile(`^([0-9]{1,18})\s?(|B|[kK]B|[MGT]B|[KMGT]iB)$`)

// parseSize reads a number of bytes, with a unit or without: "500GB", "1TiB".
func parseSize(s string) (n int64, wrong, hint string) {
	m := size.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Sprintf("cannot be %q", shown(s)), "write a whole number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB: 500GB, 1TiB"
	}
	unit := map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}[m[2]]
	n, err := strconv.ParseInt(m[1], 10, 64)
	switch {
	case err != nil || n > math.MaxInt64/4/unit: // room to count beyond it
		return 0, fmt.Sprintf("cannot be %q", shown(s)), "two exbibytes are the most"
	case n == 0:
		return 0, "cannot be 0", "nothing fits into that; remove the key for what holds by itself"
	}
	return n * unit, "", ""
}

// sizeField is a number of bytes, or one with a unit.
func sizeField(key string, into *int64) field {
	f := scalarField(key, func(s string) (wrong, hint string) {
		n, wrong, hint := parseSize(s)
		if wrong == "" {
			*into = n
		}
		return wrong, hint
	})
	f.schema = map[string]any{"type": []string{"string", "integer"}, "pattern": size.String(), "minimum": 1}
	return f
}

// countField is a whole number of things from 1.
func countField(key string, into *int64, high int) field {
	f := numberField(key, nil, 1, high)
	f.read = func(r *reader, _ position, n ast.Node) {
		if v, ok := r.number(n, key, 1, high); ok {
			*into = int64(v)
		}
	}
	return f
}
