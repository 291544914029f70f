package itop

import (
	"path"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// Partly says what of iTop belongs together. Documents are in the database, so
// no row names a file; but classes are spread over several tables.
func (Profile) Partly(p profile.Part) []core.Finding {
	var out []core.Finding
	if p.Database && len(p.Tables) > 0 {
		out = append(out, profile.Depends("", "iTop keeps an object in one table for each of its class's ancestors, and its links and history in others, without foreign keys: rows of these tables may miss their other halves in those that stay",
			"restore the whole database (--only database), or all tables of the class; iTop's DB tools page (Database integrity) finds what does not fit"))
	}
	model := p.Files && (p.HasPath("data") || p.HasPath("extensions"))
	switch {
	case model && !p.Database:
		out = append(out, profile.Depends("", "modules and customizations of the data model come back, and the database stays as it is: where they differ, iTop's setup has to bring it up to them", "restore the database too: --only database,files"))
	case p.Database && len(p.Tables) == 0 && !p.Files:
		out = append(out, profile.Depends("", "the database comes back, and the modules and customizations that it was made for stay as they are now", "restore files too: --only database,files"))
	}
	if p.Config && !p.Database && len(p.Paths) > 0 {
		for _, q := range p.Paths {
			if strings.HasPrefix(path.Clean(q), "conf") {
				out = append(out, profile.Depends(q, "the configuration holds the key of encrypted fields: fields that were encrypted since under another key cannot be read with it", ""))
				break
			}
		}
	}
	return out
}
