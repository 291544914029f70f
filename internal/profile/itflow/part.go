package itflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// namedFiles are the tables whose rows name files, and below which folders
// those lie.
func namedFiles() map[string]string {
	return map[string]string{
		"files": "uploads/clients", "ticket_attachments": "uploads/tickets", "contacts": "uploads/clients", "assets": "uploads/clients",
		"locations": "uploads/clients", "racks": "uploads/clients", "users": "uploads/users", "companies": "uploads/settings",
		"expenses": "uploads/expenses", "documents": "uploads/documents", "document_versions": "uploads/documents",
		"document_templates": "uploads/document_templates", "email_queue": "uploads/tickets",
	}
}

// Partly says which rows will name files that do not come back with them, and
// the other way round; and that credentials need the users' keys.
func (Profile) Partly(p profile.Part) []core.Finding {
	var out []core.Finding
	var rows, named, alone, both []string // tables, the folders that they name, folders without their tables, folders with one
	for table, folder := range namedFiles() {
		table, has := p.Prefix+table, p.HasTable(table)
		switch files := p.Files && p.HasPath(folder); {
		case has && !files:
			rows = append(rows, table)
			named = append(named, folder)
		case has:
			both = append(both, folder)
		case files:
			alone = append(alone, folder)
		}
	}
	slices.Sort(rows)
	slices.Sort(named)
	slices.Sort(alone)
	alone = profile.Without(alone, both)
	named, alone = slices.Compact(named), slices.Compact(alone)
	switch {
	case len(rows) > 0 && len(p.Tables) > 0:
		out = append(out, profile.Depends(core.Some(rows, 5), fmt.Sprintf("their rows name files below %s, which stay as they are: files that were deleted or replaced since the backup will be missing or newer", strings.Join(named, ", ")),
			"--path brings such files back too"))
	case len(rows) > 0:
		out = append(out, profile.Depends("", "rows of the database name files below uploads/, which stay as they are: files that were deleted or replaced since the backup will be missing or newer", "restore files too: --only database,files"))
	case len(alone) > 0:
		out = append(out, profile.Depends(strings.Join(alone, ", "), "files come back that rows of the database name, and the rows stay as they are: files of what was deleted since will have no row, and what was added since keeps its files", "restore the database too: --only database,files"))
	}
	if p.Database && len(p.Tables) > 0 && p.HasTable("credentials") != p.HasTable("users") {
		out = append(out, profile.Depends(p.Prefix+"credentials, "+p.Prefix+"users", "credentials are encrypted with a key that the users' rows hold: when it was changed since the backup, one of the two cannot read the other", "restore both: --table credentials --table users"))
	}
	return out
}
