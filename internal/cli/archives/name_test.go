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
	for _, tt := range []struct {
		format, want string
	}{
		{"__DB__-%Y-%m-%d_%H_%M", "it%op-2026-11-03_05_05"},
		{"__HOST__.__SUBNAME__.__KIND__", "-run-mysqld.sock.pre_.full"},
		{"__DB__%%", "it%op%"},
		{"%D %T/x", "11-03-26 05:05:06-x"},
		{"../../etc/passwd", "backup..-..-etc-passwd"},
		{"a\nb\x00c\\d", "a-b-c-d"},
		{".", "backup."},
	} {
		n := profile.Naming{Format: tt.format, Host: "/run/mysqld.sock", Database: "it%op", Subname: "pre_", TimeZone: "Europe/Paris"}
		if got := fileName(n, at, "full"); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.format, got, tt.want)
		}
	}
	long := fileName(profile.Naming{Format: "__DB__", Database: strings.Repeat("é", 200)}, at, "full")
	if len(long) > maxName || !strings.HasPrefix(long, "éé") || strings.ContainsRune(long, '�') {
		t.Errorf("%d bytes: %q", len(long), long)
	}
	one, other := fileName(profile.Naming{Format: "__RANDOM__"}, at, ""), fileName(profile.Naming{Format: "__RANDOM__"}, at, "")
	if len(one) != 32 || one == other {
		t.Errorf("%q and %q are not random", one, other)
	}
}

// TestEveryLetterOfADate: what the configuration accepts becomes something.
func TestEveryLetterOfADate(t *testing.T) {
	at := time.Date(2026, 11, 3, 14, 5, 6, 0, time.UTC)
	for _, l := range config.FileNameLetters {
		got := fileName(profile.Naming{Format: "x%" + string(l), TimeZone: "UTC"}, at, "full")
		if l != '%' && (strings.Contains(got, "%") || got == "x") {
			t.Errorf("%%%c gives %q", l, got)
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
