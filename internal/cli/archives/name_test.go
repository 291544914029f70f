package archives

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/generic"
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

// TestNameOfAHost: no name begins with what a missing host leaves.
func TestNameOfAHost(t *testing.T) {
	x := &export{profile: generic.Profile{}, flags: exportFlags{nameFormat: "__HOST__-x"}}
	for host, want := range map[string]string{"": "localhost-x", "vm": "vm-x"} {
		x.rec.Host = host
		if got, err := fileName(x.naming(t.Context()), time.Time{}, "full"); got != want || err != nil {
			t.Errorf("of %q: %q, %v, want %q", host, got, err, want)
		}
	}
}

func TestEndingOf(t *testing.T) {
	for file, want := range map[string]string{
		"a.tar.gz": ".tar.gz itop", "/x/A.TGZ": ".tgz itop", "a.zip": ".zip itflow", "a.sql": ".sql sql", "a.sql.gz": ".sql.gz sql",
		"a.sql.zst": ".sql.zst sql", "a.tar.zst": ".tar.zst backstay", "a.tar.zst.age": ".tar.zst.age backstay", "a": " ", "a.tar": ".tar ",
		"": " ", "-": " ", "a.gz": ".gz ", "a.sql.bz2": ".bz2 ", "a.sql.gz.age": ".age ", "a.txt": " ",
	} {
		if got := endingOf(file); got.text+" "+got.format != want {
			t.Errorf("%s: %+v, want %q", file, got, want)
		}
	}
}
