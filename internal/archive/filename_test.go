package archive

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// TestFileName has what iTop 3.3 on PHP 8.2 makes of each letter
// (utils::StrftimeFormatToDateTimeFormat, then DateTime::format).
func TestFileName(t *testing.T) {
	paris := time.FixedZone("CET", 3600)
	at := time.Date(2024, 12, 30, 23, 59, 9, 0, paris)
	for format, want := range map[string]string{
		"__DB__-%Y-%m-%d": "itop-2024-12-30", "__DB__-%Y-%m-%d_%H_%M": "itop-2024-12-30_23_59",
		"__HOST__.__DB__.__SUBNAME__": "db.example.itop.pre_", "plain": "plain", "100%": "100%", "%%Y": "%2024", "%5": "%5",
		"%a %A %b %B %h": "Mon Monday Dec December Dec", "%e %j %u %w %V": "30 364 1 1 01", "%y %g %G %C": "24 24 2024 %C",
		"%k %I %l %p %P": "23 11 11 PM pm", "%r": "11:59:09 PM", "%R %T": "23:59 23:59:09", "%z %Z": "+0100 CET",
		"%F %s %S": "2024-12-30 1735599549 09", "%E%f%J%K%q%Q": "%E%f%J%K%q%Q", "%n %t %L %N": "%12 %31 %1 %1", "%U %W %X": "%1735599549 %01 %+2024",
		"%c": "%2024-12-30T23:59:09+01:00", "%x %o %i %O %v": "%2024 %2025 %59 %+0100 %000",
		"__DB__ ünï 漢": "itop ünï 漢",
	} {
		got, err := FileName(format, at, "db.example", "itop", "pre_")
		if err != nil || got != want {
			t.Errorf("FileName(%q) = %q, %v, want %q", format, got, err, want)
		}
	}
}

func TestFileNameRefuses(t *testing.T) {
	at := time.Date(2024, 12, 30, 23, 59, 9, 0, time.UTC)
	for _, c := range []struct{ format, host, db string }{
		{"sub/__DB__", "h", "d"}, {"%D", "h", "d"}, {"__HOST__", "../etc", "d"}, {"__DB__", "h", ".."}, {"__DB__", "h", `a\b`},
		{"__DB__", "h", "a\x00b"}, {"", "h", "d"}, {"__DB__", "h", ""}, {"__DB__", "h", "."}, {"__DB__", "h", strings.Repeat("d", 250)},
	} {
		if got, err := FileName(c.format, at, c.host, c.db, ""); core.CodeOf(err) != core.CodeUsage || core.HintOf(err) == "" {
			t.Errorf("FileName(%q, %q, %q) = %q, %v", c.format, c.host, c.db, got, err)
		}
	}
}
