package itflow

import (
	"fmt"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// notCarried is the code of warnings of what the archive does not hold.
const notCarried = "not-carried"

// notUploads is why a file is not carried that every ITFlow has: its own code
// has some in the folders for custom code.
const notUploads = "it is not below uploads/, and ITFlow's archive carries nothing else"

// lost counts what an archive cannot carry: one warning for each reason, with
// the number and the first example.
type lost struct {
	reasons []string        // in the order in which they came up
	never   map[string]bool // whether the format carries that of no backup
	count   map[string]int64
	example map[string]string
}

func newLost() *lost {
	return &lost{never: map[string]bool{notUploads: true}, count: map[string]int64{}, example: map[string]string{}}
}

func (l *lost) add(why string, item archive.Item) {
	if l.count[why] == 0 {
		l.reasons = append(l.reasons, why)
		l.example[why] = string(item.Component) + "/" + item.Extra.Path
	}
	l.count[why]++
}

// all notes what the format carries of nothing in a folder.
func (l *lost) all(why, dir string) {
	l.reasons = append(l.reasons, why)
	l.count[why], l.example[why], l.never[why] = 1, dir, true
}

// attributes counts what is lost of an entry that is carried.
func (l *lost) attributes(item archive.Item) {
	if len(item.Extra.Xattrs) > 0 {
		l.add("extended attributes are not carried", item)
	}
	if item.Extra.Link != "" {
		l.add("hard links are carried as files of their own", item)
	}
}

func (l *lost) warnings() []core.Warning {
	var out []core.Warning
	for _, why := range l.reasons {
		message := why
		if n := l.count[why]; n > 1 {
			message = fmt.Sprintf("%s (and %d more)", why, n-1)
		}
		code := notCarried
		if l.never[why] {
			code = archive.NeverCarried
		}
		out = append(out, core.Warning{Code: code, Object: l.example[why], Message: message})
	}
	return out
}
