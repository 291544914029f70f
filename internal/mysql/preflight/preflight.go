// Package preflight asks a database server everything that decides whether a
// backup's database can be restored there, before anything of it is touched.
// It is for the engine. It promises that Ask changes nothing that was there:
// where looking cannot tell, it makes objects of its own, whose names begin
// with ProbePrefix, and removes them on every way out.
package preflight

import (
	"context"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/portable"
)

// ProbePrefix begins the names of all that Ask makes on a server and removes
// again. What is found under such a name may be dropped.
const ProbePrefix = "backstay_probe_"

// Input is what is to be restored.
type Input struct {
	Database core.Database // of the manifest; its Server is the origin
	Index    core.DatabaseIndex
	Tables   []string // only these, with their triggers; empty: everything
	// Read gives the bytes of a file of the backup; nil: what is in definitions
	// is not asked for. It is called by several goroutines at once.
	Read func(ctx context.Context, path string) ([]byte, error)
	// Plan is portable's for the same server; nil: definitions go as they are.
	// Its rewrites, refusals and notices are for the caller to report; what
	// they name is not reported again. Unless DryRun it is rehearsed.
	Plan *portable.Plan
	// Target is what portable.Ask found out; nil: it is asked again.
	Target *portable.Target
	// Connections is how many load rows at once; 0: as many as package load
	// opens when nobody says.
	Connections int
	// Clean says that what the backup does not have is taken away too.
	Clean bool
	// Keep says that what is taken away is kept for undo.
	Keep bool
	// Warnings are the backup's: what it may lack although it was there.
	Warnings []core.Warning
	// Copy says that the database is restored beside the live one, with its
	// events disabled.
	Copy bool
	// Imported says that the backup was made of an archive, which somebody else
	// may have written.
	Imported bool
	// DryRun makes no probe objects. What was therefore not proven is a finding.
	DryRun bool
}

// Report is what the server answered.
type Report struct {
	Findings []core.Finding // in the order of what is asked; never nil
	Server   mysql.Server
	Exists   bool        // the database is there
	Live     []LiveTable // the base tables that it has now, by name
	Extra    []Object    // what the app has in it now and the backup does not, by kind and name; of a partial restore: nil
	// MakesDatabases says whether the account may make a database of a name of
	// backstay's, fill it, and rename tables out of it. As far as DryRun: by
	// the word of its grants.
	MakesDatabases bool
	FreeBytes      int64 // where the server keeps its data; -1: not known
	NeedsBytes     int64 // estimate of what the restored database takes there, while the present one is there too
	OtherSessions  int   // other sessions in the database; -1: not known
}

// LiveTable is a base table that the database has now.
type LiveTable struct {
	Name       string
	Engine     string
	Rows       int64 // an estimate unless Exact
	Exact      bool
	Bytes      int64  // rows and keys, as the server estimates
	InBackup   bool   // the restore replaces it
	BackupName string // its name in the backup, which may differ in case; "" when it is not in it
}

// Object is something in a database.
type Object struct {
	Kind string // "table", "view", "sequence", "trigger", "procedure", "function", "package", "package body", "event"
	Name string
}
