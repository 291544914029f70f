package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/phpserver"
	"github.com/backstay/backstay/internal/profile"
)

// runSteps runs the application's own steps in the copy.
func (d *drill) runSteps(ctx context.Context) (err error) {
	m := d.open.Manifest
	_, real, err := d.profile()
	if err != nil {
		return err
	}
	restored := profile.Restored{
		App: d.copyApp(), Root: d.place.root(), Code: d.has(core.ComponentCode), Files: d.out.Sampled == nil && d.has(core.ComponentFiles), Database: m.Database != nil,
		Versions: m.Versions, Settings: m.Settings,
	}
	if m.Database != nil {
		restored.Prefix = m.Database.Prefix
	}
	steps := real.PostSteps(restored)
	if len(steps) == 0 || !restored.Code {
		return nil
	}
	if d.req.PHP == "off" {
		for _, s := range steps {
			d.prove(core.Proof{Name: ProofStep, Outcome: core.ProofSkipped, Object: s.Name, Message: "it was not run: drill.php is off"})
		}
		return nil
	}
	settings, err := d.phpSettings()
	if err != nil {
		return err
	}
	q, leave, err := d.query(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	for _, s := range steps {
		if why := s.CannotRun(); why != "" {
			d.prove(core.Proof{Name: ProofStep, Outcome: core.ProofSkipped, Object: s.Name, Message: "it was not run: " + why})
			continue
		}
		s.Env = append(slices.Clone(s.Env), settings)
		end := d.watch.begin(s.Name, true)
		_, err := profile.RunPostStep(ctx, s, q, io.Discard)
		end()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			d.prove(core.Proof{Name: ProofStep, Outcome: core.ProofFailed, Object: s.Name, Message: err.Error()})
		default:
			d.prove(core.Proof{Name: ProofStep, Outcome: core.ProofOK, Object: s.Name, Message: "it ran: " + s.Why})
		}
	}
	return nil
}

// phpSettings writes settings for the application's own PHP steps, which take
// them from the environment: where the database is, and that no mail is sent.
func (d *drill) phpSettings() (string, error) {
	dir := filepath.Join(d.place.dir, "php")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	text := "sendmail_path=/bin/false\nallow_url_fopen=0\n"
	if db := d.place.database; db != nil && db.Config.Socket != "" {
		text += fmt.Sprintf("mysqli.default_socket=%q\npdo_mysql.default_socket=%q\n", db.Config.Socket, db.Config.Socket)
	}
	// An empty first element stands for the folders that PHP looks in anyway.
	return "PHP_INI_SCAN_DIR=" + string(filepath.ListSeparator) + dir, os.WriteFile(filepath.Join(dir, "drill.ini"), []byte(text), 0o644)
}

func (d *drill) has(c core.Component) bool {
	return slices.Contains(d.open.Manifest.Components, c)
}

// copyApp is the copy as an app of its own.
func (d *drill) copyApp() profile.App {
	app := d.app()
	app.Root = d.place.root()
	if db := d.place.database; db != nil {
		app.Database.Name = db.Config.Database
	}
	return app
}

// query opens a connection to the copy's database; q is nil when it has none.
func (d *drill) query(ctx context.Context) (q profile.Querier, leave func() error, err error) {
	db := d.place.database
	if db == nil {
		return nil, func() error { return nil }, nil
	}
	c, err := mysql.Connect(ctx, db.Config)
	if err != nil {
		return nil, nil, err
	}
	return engine.Querier(c), c.Close, nil
}

// askProfile has the profile look at the copy, and at the running application.
func (d *drill) askProfile(ctx context.Context) (err error) {
	own, real, err := d.profile()
	if err != nil {
		return err
	}
	q, leave, err := d.query(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	c := profile.RestoredCopy{
		App: d.copyApp(), Manifest: &d.open.Manifest, Query: q, Root: d.place.root(), Partly: d.out.Sampled != nil, Account: d.req.Account,
	}
	if found, err := own.Discover(ctx, c.App); err == nil {
		c.Found = found
	} else if ctx.Err() != nil {
		return ctx.Err()
	} else if d.open.Manifest.Settings["config"] != "" && d.has(core.ComponentConfig) {
		d.prove(core.Proof{Name: "configuration", Outcome: core.ProofFailed, Object: d.open.Manifest.Settings["config"], Message: "the restored configuration cannot be read: " + err.Error(), Hint: core.HintOf(err)})
	}
	if p, ok := real.(profile.Prover); ok {
		end := d.watch.begin("look at the copy", false)
		proofs, err := p.Prove(ctx, c)
		end()
		if err != nil {
			return err
		}
		d.prove(proofs...)
	} else {
		d.prove(core.Proof{Name: "application", Outcome: core.ProofSkipped, Message: "backstay does not know what this application needs to work: only its data was compared"})
	}
	v, ok := real.(profile.Visitor)
	if !ok {
		return nil
	}
	return d.visit(ctx, v, c)
}

// visit starts the application and asks it for its pages.
func (d *drill) visit(ctx context.Context, v profile.Visitor, c profile.RestoredCopy) error {
	skip := func(format string, args ...any) error {
		d.prove(core.Proof{Name: ProofPHP, Outcome: core.ProofSkipped, Message: "the application was not started: " + fmt.Sprintf(format, args...)})
		return nil
	}
	switch {
	case d.req.PHP == "off":
		return skip("drill.php is off")
	case !d.has(core.ComponentCode):
		return skip("the backup has no code")
	case d.place.database != nil && d.place.database.Config.Socket == "":
		return skip("its database is on a server that is reached over the network, from which it is kept")
	}
	site := v.Site(c)
	if site.DocumentRoot == "" {
		site.DocumentRoot = c.Root
	}
	temporary := filepath.Join(d.place.dir, "php-tmp") // the private server has a "tmp"
	if err := os.Mkdir(temporary, 0o700); err != nil {
		return err
	}
	o := phpserver.Options{
		PHP: d.req.PHP, DocumentRoot: site.DocumentRoot, Within: []string{c.Root}, Temporary: temporary, Settings: maps.Clone(site.Settings), Nice: d.req.Nice, Log: d.e.Log,
	}
	if db := d.place.database; db != nil {
		o.Socket = db.Config.Socket
	}
	if err := d.giveTo(&o, site); err != nil {
		return err
	}
	end := d.watch.begin("start the application", true)
	server, err := phpserver.Start(ctx, o)
	end()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case core.CodeOf(err) == core.CodeUnsupported:
		d.prove(core.Proof{Name: ProofPHP, Outcome: core.ProofSkipped, Message: "the application was not started: " + err.Error(), Hint: core.HintOf(err)})
		return nil
	case err != nil:
		d.prove(core.Proof{Name: ProofPHP, Outcome: core.ProofFailed, Message: err.Error(), Hint: core.HintOf(err)})
		return nil
	}
	d.out.Place.PHP, d.out.Place.Isolation = server.Version, server.Isolation
	d.prove(core.Proof{Name: ProofPHP, Outcome: core.ProofOK, Message: "the application runs on PHP " + server.Version + ", kept off the world by: " + strings.Join(server.Isolation, "; ")})
	end = d.watch.begin("visit the application", false)
	proofs, err := v.Visit(ctx, server.Client(), server.Base, c)
	end()
	d.prove(proofs...)
	if slices.ContainsFunc(proofs, func(p core.Proof) bool { return p.Outcome == core.ProofFailed }) {
		d.noteFatal(server.Log())
	}
	return errors.Join(err, server.Close())
}

// noteFatal tells of PHP's own fatal errors, which say why a page is wrong.
func (d *drill) noteFatal(log string) {
	seen := map[string]bool{}
	for line := range strings.Lines(log) {
		at := strings.Index(line, "PHP Fatal error")
		if at < 0 || len(seen) == 3 {
			continue
		}
		text := strings.TrimSpace(line[at:])
		text = text[:min(len(text), 400)]
		if !seen[text] {
			seen[text] = true
			d.prove(core.Proof{Name: ProofPHP, Outcome: core.ProofNote, Message: strings.ToValidUTF8(text, "?")})
		}
	}
}

const nobody = 65534

// giveTo chooses who runs the application: whoever owns what it writes, but not
// root, whose rights no restored code is to have.
func (d *drill) giveTo(o *phpserver.Options, site profile.Site) error {
	if os.Geteuid() != 0 {
		return nil
	}
	candidates := slices.Concat(site.Writable, []string{filepath.Join(d.place.root(), d.open.Manifest.Settings["config"]), d.place.root()})
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil {
			if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 {
				o.UID, o.GID = st.Uid, st.Gid
				break
			}
		}
	}
	give := []string{o.Temporary}
	if o.UID == 0 { // all is root's: what the application writes, and its configuration, are nobody's in the copy
		o.UID, o.GID = nobody, nobody
		give = append(give, site.Writable...)
		if config := d.open.Manifest.Settings["config"]; config != "" {
			give = append(give, filepath.Join(d.place.root(), config))
		}
	}
	for _, path := range give {
		if err := chown(path, int(o.UID), int(o.GID)); err != nil {
			return fmt.Errorf("give %s to the copy's user: %w", path, err)
		}
	}
	return nil
}

// chown gives a file or a folder with all below to a user, and follows no link.
func chown(path string, uid, gid int) error {
	return filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.Lchown(p, uid, gid)
	})
}

// measure notes how much of the disk the copy takes.
func (d *drill) measure() { d.out.Place.UsedBytes = d.place.used() }
