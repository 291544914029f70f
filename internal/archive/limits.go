package archive

import (
	"fmt"
	"io"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// Limits bound what an archive may unpack to, so that a small file cannot fill
// a disk or run for days. A field that is 0 has its default.
type Limits struct {
	MaxBytes   int64 // unpacked, of all entries together; default 1 TiB
	MaxRatio   int64 // unpacked bytes for each byte of the archive, beyond the first GiB unpacked; default 250
	MaxEntries int64 // default 10 million
}

// The limits where nothing else is said.
const (
	DefaultMaxBytes   = 1 << 40
	DefaultMaxRatio   = 250
	DefaultMaxEntries = 10_000_000
	// freeBytes may always be unpacked: a gigabyte hurts nobody.
	freeBytes = 1 << 30
	// MaxPath and MaxName are the longest path and path element, in bytes.
	MaxPath = 4096
	MaxName = 255
)

// WithDefaults returns the limits with each field set.
func (l Limits) WithDefaults() Limits {
	if l.MaxBytes == 0 {
		l.MaxBytes = DefaultMaxBytes
	}
	if l.MaxRatio == 0 {
		l.MaxRatio = DefaultMaxRatio
	}
	if l.MaxEntries == 0 {
		l.MaxEntries = DefaultMaxEntries
	}
	return l
}

// Meter counts what one reading of an archive unpacks, and ends it where a
// limit is passed. It is used by one goroutine.
type Meter struct {
	limits  Limits
	size    int64 // of the archive
	bytes   int64
	entries int64
}

// NewMeter returns a meter for an archive of size bytes.
func NewMeter(limits Limits, size int64) *Meter {
	return &Meter{limits: limits.WithDefaults(), size: size}
}

// Entry counts an entry.
func (m *Meter) Entry() error {
	m.entries++
	if m.entries > m.limits.MaxEntries {
		return overLimit(fmt.Sprintf("it has more than %d entries", m.limits.MaxEntries), "max_entries")
	}
	return nil
}

// Reader counts what is read through it.
func (m *Meter) Reader(r io.Reader) io.Reader { return &meteredReader{r, m} }

// Add counts n unpacked bytes.
func (m *Meter) Add(n int64) error {
	m.bytes += n
	if m.bytes > m.limits.MaxBytes {
		return overLimit(fmt.Sprintf("it unpacks to more than %d bytes", m.limits.MaxBytes), "max_bytes")
	}
	if m.bytes > freeBytes && m.bytes/m.limits.MaxRatio > m.size {
		return overLimit(fmt.Sprintf("it unpacks to more than %d times its size", m.limits.MaxRatio), "max_ratio")
	}
	return nil
}

func overLimit(message, setting string) error {
	return &core.Error{
		Code: core.CodeUnsupported, Op: "read archive", Message: message,
		Hint: "if it is rightly so large, raise archives: {" + setting + ": …} in backstay.yaml",
	}
}

type meteredReader struct {
	r io.Reader
	m *Meter
}

func (r *meteredReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if merr := r.m.Add(int64(n)); merr != nil {
		return n, merr
	}
	return n, err
}

// CheckPath refuses a name in an archive that is not a plain path below a
// folder, and returns it without a trailing slash. Names may hold any bytes
// but NUL; Windows' separators and drive letters are refused, because no
// application of ours writes them and other readers would follow them.
func CheckPath(name string) (string, error) {
	p := strings.TrimSuffix(name, "/")
	problem := ""
	switch {
	case p == "":
		problem = "it is empty"
	case strings.HasPrefix(p, "/"):
		problem = "it is absolute"
	case len(p) > MaxPath:
		problem = fmt.Sprintf("it is longer than %d bytes", MaxPath)
	case strings.ContainsRune(p, 0):
		problem = "it holds a NUL"
	case strings.Contains(p, `\`):
		problem = "it holds a backslash"
	case len(p) >= 2 && p[1] == ':' && (p[0]|0x20 >= 'a' && p[0]|0x20 <= 'z'):
		problem = "it begins with a drive letter"
	}
	for element := range strings.SplitSeq(p, "/") {
		switch {
		case problem != "":
		case element == "" || element == "." || element == "..":
			problem = "it has an empty, . or .. element"
		case len(element) > MaxName:
			problem = fmt.Sprintf("an element is longer than %d bytes", MaxName)
		}
	}
	if problem != "" {
		return "", Hostile(name, problem)
	}
	return p, nil
}

// Hostile returns the error for an entry that no backup program writes.
func Hostile(name, problem string) error {
	if len(name) > 200 {
		name = name[:200] + "…"
	}
	return &core.Error{
		Code: core.CodeDamage, Op: "read archive", Message: fmt.Sprintf("the entry %q is refused: %s", name, problem),
		Hint: "the archive was not written by the application's backup as it is; nothing of it was used",
	}
}
