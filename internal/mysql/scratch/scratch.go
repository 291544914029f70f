// Package scratch makes a database into which a dump is loaded and from which
// it is captured, and takes it away again. It is for the engine's imports and
// drills. It promises to drop no database that it did not make, and that two of
// them never use the same one.
//
// A private server is best: what a dump holds runs there as an account that may
// do nothing outside the scratch database, on a server that ends with the
// import. On a configured server it runs as the configured account.
package scratch

import (
	"context"
	"log/slog"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// Options say what kind of database to make.
type Options struct {
	Dir  string // existing folder for a private server's files; "": the system's temporary folder
	Name string // of the database on a private server, as a backup of it will say; "": "import"
	// Vendor and Version are those of the server that the dump was made of, as
	// the dump tells; "" where it does not.
	Vendor  string
	Version string
	// Collations are those that the dump is known to need of a private server;
	// nil: not known.
	Collations []string
	Binary     string // of a private server: this program; "": the installed one that fits best
	// For says what the database is for, and names the server's folder; "":
	// "import".
	For    string
	Memory int64    // that a private server buffers pages in, in bytes; 0: 256 MiB
	Args   []string // further options of a private server, which win
	Log    *slog.Logger
}

// Database is a database to load into. It is used by one goroutine.
type Database struct {
	Config  mysql.Config        // who loads
	Source  core.DatabaseSource // who captures: the same database, perhaps by another account
	Server  mysql.Server
	Private bool           // on a server that Close ends
	Dir     string         // where that server keeps its files; "" on others
	Notes   []core.Warning // what the choice of the server means for the import

	close    func(ctx context.Context) error
	definers int // that were made
}

// Close takes the database away, but for one of Named, which stays. It is done
// even where ctx has ended. A second Close does nothing.
func (d *Database) Close(ctx context.Context) error {
	if d == nil || d.close == nil {
		return nil
	}
	done := d.close
	d.close = nil
	return done(ctx)
}
