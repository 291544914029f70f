package own

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// entryLine is an entry's line in ENTRIES.
func entryLine(p string, e core.Entry, link string) []byte {
	kind, size := byte('f'), "-"
	switch e.Type {
	case core.TypeDir:
		kind = 'd'
	case core.TypeSymlink:
		kind, p = 'l', p+" -> "+link
	default:
		size = strconv.FormatInt(e.Object.Size, 10)
	}
	escaped, _ := escape(p)
	return fmt.Appendf(nil, "%c %o %d %d %s %s %s\n", kind, files.UnixMode(e.Mode), e.UID, e.GID, seconds(e.ModTime), size, escaped)
}

// entriesEnd is the last line of ENTRIES.
func entriesEnd(n int) []byte { return fmt.Appendf(nil, "# end: %d entries\n", n) }

// seconds is a time as GNU find prints it with %T@: before 1970 too, the part
// after the point counts forward.
func seconds(t time.Time) string { return fmt.Sprintf("%d.%09d0", t.Unix(), t.Nanosecond()) }

// sumLine is a file's line in SHA256SUMS.
func sumLine(p string, sum [sha256.Size]byte) []byte {
	escaped, changed := escape(p)
	mark := ""
	if changed {
		mark = `\`
	}
	return fmt.Appendf(nil, "%s%x  %s\n", mark, sum, escaped)
}

// sumsEnd is the last line of SHA256SUMS.
func sumsEnd(n int) []byte { return fmt.Appendf(nil, "# end: %d files\n", n) }

// escape escapes a path as sha256sum does.
func escape(p string) (escaped string, changed bool) {
	if !strings.ContainsAny(p, "\\\n") {
		return p, false
	}
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(p), true
}

// list remembers the lines that a list must have, in few bytes each, and
// compares the list with them as it comes.
type list struct {
	marks [][16]byte // of the lines, without their ends
	at    int        // lines that came
	part  []byte     // the line under way
	wrong string     // what is wrong first; "": nothing
}

// maxLine bounds a line: a path and a link's target, each byte escaped, and some numbers.
const maxLine = 4*maxPath + 512

func mark(line []byte) [16]byte {
	sum := sha256.Sum256(line)
	return [16]byte(sum[:16])
}

// expect adds a line, which ends with a newline.
func (l *list) expect(line []byte) { l.marks = append(l.marks, mark(line[:len(line)-1])) }

// Write compares the next bytes of the list.
func (l *list) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && l.wrong == "" {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			l.part = append(l.part, p...)
			if len(l.part) > maxLine {
				l.wrong = fmt.Sprintf("line %d is longer than any line can be", l.at+1)
			}
			break
		}
		line := p[:end]
		if len(l.part) > 0 {
			l.part = append(l.part, line...)
			line = l.part
		}
		l.line(line)
		l.part, p = l.part[:0], p[end+1:]
	}
	return n, nil
}

func (l *list) line(line []byte) {
	switch {
	case l.at >= len(l.marks):
		l.wrong = fmt.Sprintf("line %d names what the archive has not: %.300q", l.at+1, line)
	case l.marks[l.at] != mark(line):
		l.wrong = fmt.Sprintf("line %d does not fit the archive's entry: %.300q", l.at+1, line)
	}
	l.at++
}

// end returns what is wrong with the whole list, or "".
func (l *list) end() string {
	switch {
	case l.wrong != "":
		return l.wrong
	case len(l.part) > 0:
		return "its last line has no end"
	case l.at < len(l.marks):
		return fmt.Sprintf("it has %d lines of %d", l.at, len(l.marks))
	}
	return ""
}
