package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/altered"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/profile"
)

// Copy asks for the whole app as a copy of its own, beside the live one:
// Request.ToDir is its folder and Request.ToDatabase its database, both empty
// or missing. Its configuration leads to it, and what reaches out to the world
// is switched off in it.
type Copy struct {
	Name string // what the copy is to be called
	URL  string // where it will answer; "": not known
	// Database says how the copy reaches its database. What is not given is as
	// the live app has it, or, where there is none, as the backup had it.
	Database profile.Database
}

// Copied is a copy that was made.
type Copied struct {
	Name        string           `json:"name"`
	Root        string           `json:"root"`
	Database    string           `json:"database,omitempty"`
	Address     string           `json:"address,omitempty"` // of its database server
	URL         string           `json:"url,omitempty"`
	SwitchedOff []string         `json:"switched_off"` // what would reach out to the world
	Settings    []profile.Change `json:"settings"`     // that its configuration file got
	// Entry is what to put below apps: in backstay.yaml, should the copy be
	// backed up too. The command fills it in.
	Entry string `json:"entry"`
}

// Names of findings about copies.
const (
	FindingCopyFolder          = "copy-folder"          // where the copy's files are to go
	FindingCopyDatabase        = "copy-database"        // where its tables are to go
	FindingIncompleteCopy      = "incomplete-copy"      // the backup has not all that an app needs
	FindingOutsideFiles        = "outside-files"        // files that do not lie in the app's folder
	FindingNamesDatabase       = "names-database"       // views and code that name the live database
	FindingNotConfigured       = "not-configured"       // nobody knows how to point the copy at itself
	FindingOtherConfigurations = "other-configurations" // of environments besides the one that was backed up
	FindingLinks               = "links-to-original"    // the copy's own address is not known
)

// aimCopy points the restore at the copy's database, before anything is
// planned.
func (r *Restore) aimCopy(ctx context.Context) error {
	c := r.req.Copy
	if r.req.ToDir == "" || r.req.partial() || len(r.req.Only) > 0 {
		return &core.Error{Code: core.CodeUsage, Op: "plan copy", Message: "a copy is of the whole app, in a folder of its own", Hint: "give --as NAME --root DIR --to-database DB; for parts: --to-dir, --to-database"}
	}
	switch has := r.open.Manifest.Database != nil; {
	case has && r.req.ToDatabase == "":
		return &core.Error{Code: core.CodeUsage, Op: "plan copy", Message: "the copy needs a database of its own", Hint: "give --to-database DB, which must be empty or missing"}
	case !has && r.req.ToDatabase != "":
		return &core.Error{Code: core.CodeUsage, Op: "plan copy", Message: "the backup has no database", Hint: "leave out --to-database"}
	case !has:
		return nil
	}
	r.original = r.target
	if r.target != nil {
		aimed := override(*r.target, c.Database)
		r.target = &aimed
	} else if c.Database.User != "" {
		aimed := override(core.DatabaseSource{}, c.Database)
		r.target = &aimed
	}
	if r.target != nil && (r.original == nil || !profile.SameServer(*r.original, *r.target)) {
		r.target.Name = "" // what the live database is called elsewhere is free here
	}
	return nil
}

// override puts what was given in the place of what was found.
func override(s core.DatabaseSource, given profile.Database) core.DatabaseSource {
	if given.Host != "" || given.Socket != "" || given.Port != 0 {
		if given.Host == "" && given.Socket == "" {
			given.Host = s.Host
		}
		s.Host, s.Port, s.Socket = given.Host, given.Port, given.Socket
		if given.Host == "" && given.Socket != "" {
			s.TLS = core.DatabaseTLS{}
		}
	}
	if given.User != "" {
		s.User, s.Password = given.User, given.Password
	} else if !given.Password.Empty() {
		s.Password = given.Password
	}
	return s
}

// refuseLive finds that the database to fill is the live one, under whatever
// spelling: a server that folds names to lower case knows it by several.
func (r *Restore) refuseLive(ctx context.Context, server mysql.Server) error {
	live := r.target
	if r.original != nil {
		live = r.original
	}
	if r.req.ToDatabase == "" || live == nil || live.Name == "" {
		return nil
	}
	same := live.Name == r.req.ToDatabase || server.LowerCaseTableNames != 0 && strings.EqualFold(live.Name, r.req.ToDatabase)
	if same && r.original != nil && !profile.SameServer(*r.original, *r.target) {
		same = r.onServer(ctx, *live, server)
	}
	if !same {
		return nil
	}
	return &core.Error{
		Code: core.CodeUsage, Op: "plan restore", Message: fmt.Sprintf("database %q is the live one", r.req.ToDatabase),
		Hint: "give another name for a copy, or leave out --to-database to restore the live app",
	}
}

// onServer says whether source, spelled otherwise, leads to this server.
func (r *Restore) onServer(ctx context.Context, source core.DatabaseSource, server mysql.Server) bool {
	cfg := mysql.ConfigOf(source)
	cfg.Database = ""
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return false // the live server is not there; a database with tables is refused all the same
	}
	there, err := c.Server(ctx)
	if cerr := c.Close(); err != nil || cerr != nil {
		r.e.Log.Debug("ask the live server who it is", "err", errors.Join(err, cerr))
	}
	return there.ID == server.ID
}

// planCopy looks at what is particular to a copy, when everything else is
// planned.
func (r *Restore) planCopy(ctx context.Context) error {
	if err := r.findCopyFolder(); err != nil {
		return err
	}
	r.findIncomplete()
	if r.db != nil {
		if err := r.findCopyDatabase(ctx); err != nil {
			return err
		}
		if err := r.findNamed(ctx); err != nil {
			return err
		}
	}
	if err := r.configureCopy(ctx); err != nil {
		return err
	}
	if off := r.willSwitchOff(); len(off) > 0 {
		r.add(core.Finding{Kind: core.FindingRewrite, Name: profile.FindingQuiet, Message: "in the copy this is done, so that it does nothing by itself: " + strings.Join(off, "; ")})
	}
	if hooks := r.req.Target.App.Hooks; len(hooks.AfterRestore) > 0 {
		r.note("hooks", "hooks.after_restore of app %s is not run: it is made for the live app", r.Plan.App)
	}
	return nil
}

// findCopyFolder looks whether the copy's folder can be filled.
func (r *Restore) findCopyFolder() error {
	dir := r.req.ToDir
	impossible := func(hint, format string, args ...any) {
		r.add(core.Finding{Kind: core.FindingImpossible, Name: FindingCopyFolder, Object: dir, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	if !emptyDir(dir) {
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			impossible("give a folder that is empty or missing", "it is not a folder")
		} else {
			impossible("give a folder that is empty or missing, or empty this one", "it is not empty, and a copy is made into an empty folder only")
		}
		return nil
	}
	there, err := existing(dir)
	if err != nil {
		return err
	}
	if r.app != nil && r.root() != "" {
		root, err := filepath.EvalSymlinks(r.root())
		if err == nil && (there == root || strings.HasPrefix(there, root+string(filepath.Separator))) {
			impossible("give a folder beside it", "it lies in the folder of app %s, whose backups would hold the copy too", r.Plan.App)
		}
	}
	var need int64
	for _, t := range r.open.Manifest.Trees {
		if t.Place == "app" {
			need += t.Bytes
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(there, &st); err != nil {
		return fmt.Errorf("measure the disk of %s: %w", there, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		r.add(core.Finding{
			Kind: core.FindingImpossible, Name: FindingDiskSpace, Object: dir, Message: fmt.Sprintf("%d bytes are needed, and %d are free", need, free),
			Hint: "make room on that file system, or give another folder",
		})
	}
	return nil
}

// existing is the real path of the deepest folder of dir that is there.
func existing(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		if err == nil || !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at) {
			return real, err
		}
	}
}

// findIncomplete says what the copy will lack.
func (r *Restore) findIncomplete() {
	var names []string
	for _, c := range []core.Component{core.ComponentCode, core.ComponentConfig, core.ComponentDatabase} {
		// Of other applications nobody knows what they consist of.
		if !slices.Contains(r.open.Manifest.Components, c) && r.open.Manifest.Settings["config"] != "" {
			names = append(names, string(c))
		}
	}
	if len(names) > 0 {
		r.decide(FindingIncompleteCopy, "the backup has no %s: the copy will not work without", strings.Join(names, ", no "))
	}
	var outside []string
	for _, t := range r.open.Manifest.Trees {
		if t.Place == "app" {
			continue
		}
		for _, p := range t.Include {
			outside = append(outside, "/"+p)
		}
	}
	if len(outside) > 0 {
		r.decide(FindingOutsideFiles, "what lies outside the app's folder is not part of the copy, which will use that of the live app where its configuration names it: %s", core.Some(outside, 5))
	}
}

// findCopyDatabase refuses a database that holds anything.
func (r *Restore) findCopyDatabase(ctx context.Context) error {
	what, err := r.holds(ctx)
	if err != nil || what == "" {
		return err
	}
	r.add(core.Finding{
		Kind: core.FindingImpossible, Name: FindingCopyDatabase, Object: r.req.ToDatabase, Hint: "give the name of a database that is empty or missing",
		Message: fmt.Sprintf("it is not empty (%s), and a copy is made into an empty database only", what),
	})
	return nil
}

// holds says what is in the copy's database, "" when nothing is or there is no
// such database.
func (r *Restore) holds(ctx context.Context) (_ string, err error) {
	cfg := r.targetConfig()
	cfg.Database = ""
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	name := mysql.QuoteText(r.req.ToDatabase)
	rows, err := c.Query(ctx, "SELECT LOWER(TABLE_TYPE), TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA="+name+
		" UNION ALL SELECT LOWER(ROUTINE_TYPE), ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA="+name+
		" UNION ALL SELECT 'event', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA="+name+" LIMIT 1")
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return strings.TrimPrefix(rows[0][0].Text, "base ") + " " + rows[0][1].Text, nil
}

// findNamed looks for views, triggers and other code that name the live
// database: in the copy they would go on working on that one.
func (r *Restore) findNamed(ctx context.Context) error {
	name := regexp.QuoteMeta(r.open.Manifest.Database.Name)
	quoted := regexp.QuoteMeta(mysql.QuoteName(r.open.Manifest.Database.Name))
	names := regexp.MustCompile(`(?i)(?:` + quoted + `|(?:^|[^\w$` + "`" + `])` + name + `)\s*\.`)
	read := r.reader()
	var found []string
	for _, o := range r.open.Index.Objects {
		if o.Kind == "sequence" {
			continue
		}
		text, err := read(ctx, o.File)
		if err != nil {
			return err
		}
		if names.Match(text) {
			found = append(found, o.Kind+" "+o.Name)
		}
	}
	if len(found) > 0 {
		r.decide(FindingNamesDatabase, "%s name database %s in their text, and in the copy they would go on using that one", core.Some(found, 5), r.open.Manifest.Database.Name)
	}
	return nil
}

// configureCopy plans how the copy's configuration comes to lead to the copy.
func (r *Restore) configureCopy(ctx context.Context) error {
	name := r.open.Manifest.Settings["config"]
	if name == "" {
		where := "the copy"
		if r.db != nil {
			where = fmt.Sprintf("the copy, which goes on using database %s until its configuration is changed", r.open.Manifest.Database.Name)
		}
		r.add(core.Finding{
			Kind: core.FindingDecision, Name: FindingNotConfigured, Hint: "keep the copy closed until its configuration leads to its own database, and its jobs and mail are off",
			Message: "backstay does not know the configuration of this application, and what it does by itself: nothing is changed and nothing switched off in " + where,
		})
		return nil
	}
	p := r.trees[core.ComponentConfig]
	content, err := r.configContent(ctx)
	if err != nil || content == nil || p == nil {
		return err // findIncomplete has said so
	}
	conf := profile.Configuration{
		App: r.req.Copy.Name, Root: r.req.ToDir, Path: filepath.Join(r.req.ToDir, name), URL: r.req.Copy.URL, Quiet: true,
	}
	if r.db != nil {
		if conf.Database, err = r.copySource(ctx); err != nil {
			return err
		}
	}
	if err := r.findOtherConfigurations(ctx, name); err != nil {
		return err
	}
	rewritten, changes, err := r.profile.Configure(ctx, content, conf)
	if err != nil {
		if ctx.Err() != nil || core.CodeOf(err) == core.CodeUsage {
			return err
		}
		r.add(core.Finding{
			Kind: core.FindingImpossible, Name: profile.FindingConnection, Object: name, Message: "it cannot be made to lead to the copy: " + err.Error(),
			Hint: strings.Join(slices.DeleteFunc([]string{core.HintOf(err), "--to-dir and --to-database restore the parts without a working copy"}, func(s string) bool { return s == "" }), "; "),
		})
		return nil
	}
	r.Plan.Settings = changes
	for _, ch := range changes {
		r.add(core.Finding{Kind: core.FindingRewrite, Name: profile.FindingConnection, Object: name, Message: fmt.Sprintf("%s: %q becomes %q in the copy", ch.Setting, ch.From, ch.To)})
	}
	stored := path.Join("app", name)
	p.transform = map[string]func([]byte) ([]byte, error){stored: func([]byte) ([]byte, error) { return rewritten, nil }}
	if was := r.originalURL(); was != "" && r.req.Copy.URL == "" && !slices.ContainsFunc(changes, func(ch profile.Change) bool { return ch.From != "" && strings.Contains(was, ch.From) }) {
		r.note(FindingLinks, "the copy's configuration keeps the address %s: links in it lead to the original; --url says where the copy is to answer", was)
	}
	return nil
}

// findOtherConfigurations names the configurations of the application's other
// environments: they go on leading to what they led to.
func (r *Restore) findOtherConfigurations(ctx context.Context, name string) error {
	top, err := r.open.Lookup(ctx, string(core.ComponentConfig)+"/app")
	if err != nil {
		return err
	}
	var others []string
	err = r.walkFiles(ctx, top, "", func(p string, _ core.Entry) error {
		if p != name && path.Base(p) == path.Base(name) {
			others = append(others, p)
		}
		return nil
	})
	if len(others) > 0 {
		r.decide(FindingOtherConfigurations, "%s are not changed: in the copy they lead to the databases of the live app's other environments", core.Some(others, 5))
	}
	return err
}

// originalURL is the address in the backup's configuration, "" when it has none.
func (r *Restore) originalURL() string {
	return r.profile.URL(profile.App{Name: r.Plan.App}, &core.Application{Settings: r.open.Manifest.Settings})
}

// copySource is how the copy is to reach its database: as the live app reaches
// its own by its own configuration, but for what was given.
func (r *Restore) copySource(ctx context.Context) (*core.DatabaseSource, error) {
	own := r.target
	app := r.req.Target.App
	// Where the server is, backstay.yaml may know better: PHP's own settings can
	// name its port. The account there may be one for backups alone.
	app.Database = profile.Database{Host: app.Database.Host, Port: app.Database.Port, Socket: app.Database.Socket}
	if found, err := r.profile.Discover(ctx, app); err == nil && r.app != nil && found.Database != nil {
		own = found.Database
	} else if found, err := r.discoverBackup(ctx, app.Database); err == nil && found.Database != nil {
		own = found.Database
	} else if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	given := r.req.Copy.Database
	if given.Password.Empty() && !own.Password.Empty() { // an account of this system's, which a web server cannot use
		given.User = ""
	}
	s := override(*own, given)
	s.Name = r.req.ToDatabase
	return &s, nil
}

// willSwitchOff says what is switched off in the copy's database and file.
func (r *Restore) willSwitchOff() []string {
	if r.db == nil {
		return nil
	}
	var does []string
	columns := map[string]bool{}
	for _, t := range r.open.Index.Tables {
		for _, c := range t.Columns {
			columns[t.Name+"\x00"+c.Name] = true
		}
	}
	for _, s := range r.profile.Quiet(r.open.Manifest.Database.Prefix) {
		if !slices.ContainsFunc(s.Columns, func(c string) bool { return !columns[s.Table+"\x00"+c] }) {
			does = append(does, s.Does)
		}
	}
	return does
}

// storeFor is the repository as the component is to come out of it.
func (r *Restore) storeFor(ctx context.Context, c core.Component) (core.TreeReader, error) {
	store := r.treeReader()
	if r.req.Copy == nil || r.trees[c] == nil {
		return store, nil
	}
	for stored, change := range r.trees[c].transform {
		entry, err := r.open.Lookup(ctx, path.Join(string(c), stored))
		if err != nil {
			return nil, err
		}
		content, err := change(nil)
		if err != nil {
			return nil, err
		}
		store = altered.Content(store, entry.Object.ID, content)
	}
	return store, nil
}

// lockName is the app that the restore works on.
func (r Request) lockName() string {
	if r.Copy != nil {
		return r.Copy.Name
	}
	return r.Target.App.Name
}
