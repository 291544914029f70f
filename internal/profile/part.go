package profile

import "github.com/backstay/backstay/internal/core"

// Part is a restore of some of an application into what is live.
type Part struct {
	Database bool     // something of the database comes back
	Tables   []string // only these tables; empty: all, when Database
	Files    bool     // something of what users put in comes back
	Config   bool     // something of the configuration comes back
	Code     bool     // something of the code comes back
	Paths    []string // only these, relative to the application's root, with all below; empty: all
	Prefix   string   // of the tables' names
}

// HasTable says whether the table, named without its prefix, comes back.
func (p Part) HasTable(name string) bool {
	if !p.Database || len(p.Tables) == 0 {
		return p.Database
	}
	for _, t := range p.Tables {
		if t == p.Prefix+name {
			return true
		}
	}
	return false
}

// HasPath says whether the path, or something below or above it, comes back.
func (p Part) HasPath(path string) bool {
	if len(p.Paths) == 0 {
		return true
	}
	for _, q := range p.Paths {
		if q == "" || q == "." || q == path || liesBelow(q, path) || liesBelow(path, q) {
			return true
		}
	}
	return false
}

func liesBelow(path, folder string) bool {
	return len(path) > len(folder) && path[:len(folder)] == folder && path[len(folder)] == '/'
}

// Depends is a note about what a part depends on that does not come back with it.
func Depends(object, message, hint string) core.Finding {
	return core.Finding{Kind: core.FindingFine, Name: FindingDepends, Object: object, Message: message, Hint: hint}
}

// FindingDepends says that a part of an application needs, or is needed by,
// what does not come back with it.
const FindingDepends = "depends"
