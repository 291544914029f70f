package restore

import (
	"slices"
	"sync"

	"github.com/backstay/backstay/internal/core"
)

// Damaged collects what a damaged backup did not give back. The zero value is
// ready; its fields are to be read when no restore uses it.
type Damaged struct {
	Paths []string // files, links and folders, as in the backup
	Files int64    // how many files and links that are, those in damaged folders too

	mu sync.Mutex
}

// Add notes the path in the backup of a file or folder with n files. It is safe for
// concurrent use.
func (d *Damaged) Add(path string, n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, there := slices.BinarySearch(d.Paths, path)
	if !there {
		d.Paths = slices.Insert(d.Paths, at, path)
		d.Files += n
	}
}

// leaveOut says whether err is damage that the restore goes on past, and if so
// notes the path, with n files, as left out.
func (o *restore) leaveOut(err error, path string, n int64) bool {
	if o.opt.Damaged == nil || core.CodeOf(err) != core.CodeDamage {
		return false
	}
	o.opt.Damaged.Add(path, n)
	return true
}
