package archives

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/profile"
)

func TestFileName(t *testing.T) {
	at := time.Date(2026, 11, 3, 4, 5, 6, 0, time.UTC)
	naming := profile.Naming{Host: "/run/mysqld.sock", Database: "it op\n", Subname: "pre_", TimeZone: "Europe/Paris"}
	for _, tt := range []struct{ format, want string }{
		{"__DB__-%Y-%m-%d_%H_%M", "it op--2026-11-03_05_05"},
		{"__HOST__.__SUBNAME__.__KIND__", "-run-mysqld.sock.pre_.full"},
		{"../../etc/passwd", ""},
		{"%D", ""},
		{"..", ""},
	} {
		naming.Format = tt.format
		got, err := fileName(naming, at, "full")
		if got != tt.want || (err == nil) == (tt.want == "") {
			t.Errorf("%q: %q, %v, want %q", tt.format, got, err, tt.want)
		}
	}
	naming.Format = "__RANDOM__"
	one, err := fileName(naming, at, "full")
	other, err2 := fileName(naming, at, "full")
	if len(one) != 32 || one == other || err != nil || err2 != nil {
		t.Errorf("%q and %q are not random: %v, %v", one, other, err, err2)
	}
}

// TestEveryLetterOfADate: what the configuration accepts becomes something that
// can be in a file's name.
func TestEveryLetterOfADate(t *testing.T) {
	at := time.Date(2026, 11, 3, 14, 5, 6, 0, time.UTC)
	for _, l := range config.FileNameLetters {
		got, err := fileName(profile.Naming{Format: "x%" + string(l), TimeZone: "UTC"}, at, "full")
		if err != nil || strings.Contains(got, "%") || got == "x" {
			t.Errorf("%%%c gives %q, %v", l, got, err)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for file, want := range map[string]string{
		"a.tar.gz": "itop", "/x/A.TGZ": "itop", "a.zip": "itflow", "a.sql": "sql", "a.sql.gz": "sql", "a.sql.zst": "sql",
		"a.tar.zst": "backstay", "a.tar.zst.age": "backstay", "a": "", "a.tar": "", "": "", "-": "", "a.gz": "",
	} {
		if got, ending := formatOf(file); got != want || !strings.HasSuffix(strings.ToLower(file), ending) {
			t.Errorf("%s: %q, %q, want %q", file, got, ending, want)
		}
	}
}
