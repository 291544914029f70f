package config

import (
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/config/strict"
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

func archivesFields(a *Archives) []strict.Field {
	return []strict.Field{
		strict.SizeField("max_bytes", &a.MaxBytes).Describe("how much an archive may unpack to: 500GB, 1TiB, or a number of bytes; 1TiB when not given"),
		strict.CountField("max_ratio", &a.MaxRatio, 1_000_000).Describe("how many bytes a byte of it may unpack to; 250 when not given"),
		strict.CountField("max_entries", &a.MaxEntries, 1_000_000_000).Describe("how many files, folders and links it may hold; 10 million when not given"),
	}
}

func exportFields(e *Export) []strict.Field {
	name := strict.TextField("file_name_format", &e.FileNameFormat, CheckFileNameFormat)
	return []strict.Field{
		name.Describe("how archives are called, without ending: __HOST__, __DB__, __SUBNAME__ and strftime's letters; " + DefaultFileNameFormat + " when not given"),
		strict.PathField("dir", &e.Dir, false).Describe("folder for archives when export names no file or folder"),
		strict.OneOf("format", &e.Format, "formats", ArchiveFormats()...).Describe("the format where neither --format nor the file's name says one; that of the app's profile when not given"),
		strict.NumberField("level", &e.Level, 1, 9).Describe("compression, 1 (fast) to 9 (small)"),
	}
}

// scratchFields are those of a server: which database is used on it is not for
// the configuration to say.
func scratchFields(db *Database) []strict.Field {
	var fields []strict.Field
	for _, f := range databaseFields(db) {
		switch f.Key {
		case "name", "prefix", "connections":
		case "user":
			fields = append(fields, f.Describe("an account that may make databases"))
		default:
			fields = append(fields, f)
		}
	}
	return fields
}

func checkScratch(db *Database) func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
	database := checkDatabase(db)
	return func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
		database(r, own, at)
		if _, given := at["user"]; !given {
			r.Problem(own, "add user: with an account that may make databases", "%q has no %q", "scratch", "user")
		}
	}
}

// CheckFileNameFormat says what is wrong with a format of file names, and a
// hint; "" when nothing is.
func CheckFileNameFormat(s string) (wrong, hint string) {
	switch {
	case strings.TrimSpace(s) == "":
		return strict.NotEmpty(s)
	case strings.ContainsAny(s, "/\\\x00"):
		return fmt.Sprintf("must be a name without folders, not %q", strict.Shown(s)), "the folder is dir:, or given on the command line"
	case strings.HasPrefix(s, "."):
		return fmt.Sprintf("must not begin with a dot, as %q does", strict.Shown(s)), ""
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i++; i == len(s) || !strings.ContainsRune(FileNameLetters, rune(s[i])) {
			return fmt.Sprintf("has a %% that no letter of a date follows: %q", strict.Shown(s)), "such as %Y-%m-%d_%H_%M"
		}
	}
	return "", ""
}

// FileNameLetters may follow a % in a format of file names: strftime's, as far
// as iTop knows them and they bring no slash.
const FileNameLetters = "aAbBdeFgGhHIjklmMpPrRsSTuVwyYzZ"
