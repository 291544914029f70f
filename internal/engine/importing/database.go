package importing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/scratch"
	"github.com/backstay/backstay/internal/mysql/sqlload"
	"github.com/backstay/backstay/internal/profile"
)

// captureConnections read the scratch database.
const captureConnections = 2

// storeDatabase loads the dump into a scratch database and captures it from
// there as any other.
func (i *importer) storeDatabase(ctx context.Context, w core.TreeWriter, m *core.Manifest) (_ core.Entry, err error) {
	db, err := i.scratch(ctx)
	if err != nil {
		return core.Entry{}, err
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	i.out.Server = db.Server.Vendor + " " + db.Server.Version
	loaded, err := i.load(ctx, db)
	if err != nil {
		return core.Entry{}, err
	}
	m.Warnings = append(append(m.Warnings, db.Notes...), loaded.Warnings...)
	snapshot, err := dump.Open(ctx, dump.Options{
		Config: mysql.ConfigOf(db.Source), Prefix: i.prefix(), Connections: captureConnections, Clock: i.e.Clock, Ownerless: loaded.IsOwnerless,
	})
	if err != nil {
		return core.Entry{}, err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	dumped, err := snapshot.Write(ctx, w, i.e.Progress)
	if err != nil {
		return core.Entry{}, err
	}
	if err := i.compareCounts(loaded, dumped, m); err != nil {
		return core.Entry{}, err
	}
	if err := i.askVersions(ctx, db, m); err != nil {
		return core.Entry{}, err
	}
	if err := i.knowsApplication(m); err != nil {
		return core.Entry{}, err
	}
	m.Database = &dumped.Database
	m.Database.Name, m.Database.Prefix = i.databaseName(), i.prefix()
	m.Warnings = append(append(m.Warnings, dumped.Warnings...), bringsCode(dumped.Index.Objects)...)
	return dumped.Entry, nil
}

// scratch makes the database that the dump is loaded into.
func (i *importer) scratch(ctx context.Context) (*scratch.Database, error) {
	opt := scratch.Options{Dir: i.scratchDir, Name: i.out.Dump.Database, Vendor: i.out.Dump.Vendor, Version: i.out.Dump.ServerVersion, Log: i.e.Log}
	db, err := scratch.Private(ctx, opt)
	if err != nil && core.CodeOf(err) != core.CodeUnsupported {
		return nil, err
	}
	// Each vendor knows collations and types that the other does not. A server
	// that somebody named for imports may be of the right one.
	if err == nil && (i.req.Server == nil || opt.Vendor == "" || db.Server.Vendor == opt.Vendor) {
		return db, nil
	}
	none := err
	if db != nil {
		none = fmt.Errorf("the dump is of %s, and %s is installed", opt.Vendor, db.Server.Vendor)
		if err := db.Close(ctx); err != nil {
			return nil, err
		}
	}
	server := i.server()
	if server == nil {
		return nil, &core.Error{
			Code: core.CodeUnsupported, Op: "find a server for the dump", Err: none,
			Hint: "install the server (mariadb-server or mysql-server; it need not run), or name one in backstay.yaml under scratch:",
		}
	}
	i.e.Log.Info("the dump is loaded on a configured server, because no private one fits", "why", none)
	return scratch.OnServer(ctx, *server, opt)
}

// server is the configured server for scratch schemas, or else the app's own;
// nil: none is known.
func (i *importer) server() *mysql.Config {
	if i.req.Server != nil || i.live == nil || i.live.Database == nil {
		return i.req.Server
	}
	config := mysql.ConfigOf(*i.live.Database)
	return &config
}

func (i *importer) load(ctx context.Context, db *scratch.Database) (_ *sqlload.Loaded, err error) {
	text, err := i.archive.OpenDump(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	i.e.Progress.Stage("load "+i.file.base()+" into a scratch database", i.out.Dump.Bytes)
	loaded, err := sqlload.Load(ctx, text, sqlload.Options{Config: db.Config, Database: i.out.Dump.Database, MakeDefiner: db.MakeDefiner, Dir: db.Dir, Progress: i.e.Progress})
	if err != nil {
		return nil, fmt.Errorf("load the dump in %s: %w", i.file.shown(), err)
	}
	if len(loaded.Flaws) > 0 {
		f := loaded.Flaws[0]
		return nil, &core.Error{
			Code: core.CodeDamage, Op: "load the dump in " + i.file.shown(), Message: fmt.Sprintf("%s (line %d): %s", f.Object, f.Line, f.Message),
			Hint: "no backup was made; backstay import " + i.out.App + " FILE --salvage DATABASE loads what there is into a database of its own",
		}
	}
	return loaded, nil
}

// compareCounts holds against one another what was read in the dump before,
// what was loaded, and what was captured.
func (i *importer) compareCounts(loaded *sqlload.Loaded, dumped *dump.Dumped, m *core.Manifest) error {
	rows := map[string]int64{}
	for _, t := range dumped.Index.Tables {
		rows[t.Name] = t.Rows
	}
	read := map[string]int64{}
	for _, t := range i.out.Dump.Tables {
		read[t.Name] = t.Rows
	}
	var strangers, kept []string
	for _, t := range loaded.Tables {
		if n := read[t.Name]; n != t.Read {
			return i.countsDiffer(t.Name, n, t.Read)
		}
		delete(read, t.Name)
		got, there := rows[t.Name]
		switch {
		case !there && mysql.Reserved(t.Name):
			kept = append(kept, t.Name)
		case !there && !strings.HasPrefix(t.Name, i.prefix()):
			strangers = append(strangers, t.Name)
		case !there:
			return &core.Error{Code: core.CodeFailed, Op: "import " + i.file.shown(), Message: "table " + t.Name + " was loaded and is not in the backup"}
		case got != t.Rows:
			return &core.Error{Code: core.CodeFailed, Op: "import " + i.file.shown(), Message: fmt.Sprintf("table %s has %d rows in the scratch database, and %d were loaded", t.Name, got, t.Rows)}
		}
		delete(rows, t.Name)
	}
	for name, n := range read {
		if n > 0 {
			return i.countsDiffer(name, n, 0)
		}
	}
	if len(rows) > 0 {
		return &core.Error{Code: core.CodeFailed, Op: "import " + i.file.shown(), Message: "tables are in the scratch database that were not loaded: " + core.Some(slices.Sorted(maps.Keys(rows)), 5)}
	}
	if len(strangers) > 0 {
		m.Warnings = append(m.Warnings, core.Warning{
			Code: "stranger", Object: core.Some(strangers, 5), Message: fmt.Sprintf("these tables are in the archive and not in the backup, because their names do not begin with the app's prefix %q", i.prefix()),
		})
	}
	if len(kept) > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("%d tables in the archive, %s, are what a restore by backstay had kept for its undo; they are not in the backup", len(kept), core.Some(kept, 1)))
	}
	if len(dumped.Index.Tables) == 0 {
		return &core.Error{
			Code: core.CodeDamage, Op: "import " + i.file.shown(), Message: fmt.Sprintf("no table in it has a name that begins with the app's prefix %q", i.prefix()),
			Hint: "it is of another app; name that one",
		}
	}
	return nil
}

// countsDiffer is for rows that stand in comments which only other servers read.
func (i *importer) countsDiffer(table string, read, loaded int64) error {
	return &core.Error{
		Code: core.CodeDamage, Op: "import " + i.file.shown(), Message: fmt.Sprintf("table %s has %d rows in the dump, and the scratch server (%s) was given %d: the rest is for another server", table, read, i.out.Server, loaded),
		Hint: "no backup was made; install a server of the kind that the dump was made of, or name one in backstay.yaml under scratch:",
	}
}

// askVersions asks the scratch database what only the database tells.
func (i *importer) askVersions(ctx context.Context, db *scratch.Database, m *core.Manifest) (err error) {
	c, err := mysql.Connect(ctx, mysql.ConfigOf(db.Source))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	found := profile.Found(i.profile, i.out.App, i.root(), db.Source.Name, profile.Configured{Settings: m.Settings, Prefix: i.prefix()})
	if err := i.profile.Versions(ctx, engine.Querier(c), found); err != nil {
		return err
	}
	maps.Copy(m.Versions, found.Versions)
	m.Modules, m.Settings = found.Modules, found.Settings
	m.Notes, m.Warnings = append(m.Notes, found.Notes...), append(m.Warnings, found.Warnings...)
	return nil
}
