package files

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/core"
)

// MaxWarnings bounds the warnings of one code: more are only counted. A
// manifest with a million lines helps nobody.
const MaxWarnings = 1000

// Warnings collects warnings about paths. The zero value is ready; its methods
// are safe for concurrent use.
type Warnings struct {
	mu   sync.Mutex
	list []core.Warning
	seen map[string]int // by code
}

// Add adds a warning about an absolute path.
func (w *Warnings) Add(code, path, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = map[string]int{}
	}
	w.seen[code]++
	if w.seen[code] <= MaxWarnings {
		w.list = append(w.list, core.Warning{Code: code, Object: Quote(path), Message: message})
	}
}

// All returns the warnings by path and then, for each code with too many, how
// many more there were; where says of what, and where they are to be found.
func (w *Warnings) All(where string) []core.Warning {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Clone(w.list)
	slices.SortStableFunc(all, func(a, b core.Warning) int { return strings.Compare(a.Object, b.Object) })
	for _, code := range slices.Sorted(maps.Keys(w.seen)) {
		if more := w.seen[code] - MaxWarnings; more > 0 {
			all = append(all, core.Warning{Code: code, Message: fmt.Sprintf("%d more paths%s", more, where)})
		}
	}
	return all
}
