package profiletest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// runRestorer runs the tests of profile.Restorer.
func runRestorer(t *testing.T, s Subject) {
	t.Run("maintenance", s.maintenance)
	t.Run("maintenance of others", s.maintenanceOfOthers)
	t.Run("maintenance hooks", s.maintenanceHooks)
	t.Run("configure", s.configure)
	t.Run("configure nothing", s.configureNothing)
	t.Run("configure hostile files", s.configureHostile)
	t.Run("quiet", s.quiet)
	t.Run("post-steps", s.postSteps)
	t.Run("compare", s.compare)
	t.Run("check", s.check)
	t.Run("url", s.url)
}

// maintenance: what was done is undone, by leave, by a second leave, and by
// LiftMaintenance when nobody called leave.
func (s Subject) maintenance(t *testing.T) {
	for name, ended := range map[string]bool{"in time": false, "cancelled": true} {
		t.Run(name, func(t *testing.T) {
			root, app := s.install(t, PlainAccount())
			found := s.discover(t, app)
			before := tree(t, root)
			ctx, cancel := context.WithCancel(t.Context())
			leave, err := s.Profile.Maintenance(ctx, nil, app, found, profile.MaintenanceOptions{})
			if leave == nil {
				t.Fatal("there is no way out")
			}
			if err != nil {
				refused(t, err, app.Name)
			}
			if ended {
				cancel()
			}
			for range 2 {
				if err := leave(); err != nil {
					t.Errorf("leave: %v", err)
				}
			}
			cancel()
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("killed", func(t *testing.T) {
		root, app := s.install(t, PlainAccount())
		before := tree(t, root)
		if _, err := s.Profile.Maintenance(t.Context(), nil, app, s.discover(t, app), profile.MaintenanceOptions{}); err != nil {
			t.Fatal(err)
		}
		changed := cmp.Diff(before, tree(t, root)) != ""
		if lifted, err := s.Profile.LiftMaintenance(t.Context(), app); err != nil || lifted != changed {
			t.Errorf("lifted %v, %v; the maintenance left something: %v", lifted, err, changed)
		}
		if diff := cmp.Diff(before, tree(t, root)); diff != "" {
			t.Error(diff)
		}
		if lifted, err := s.Profile.LiftMaintenance(t.Context(), app); err != nil || lifted {
			t.Errorf("a second time: %v, %v", lifted, err)
		}
	})
	t.Run("taken over", func(t *testing.T) {
		root, app := s.install(t, PlainAccount())
		before := tree(t, root)
		if _, err := s.Profile.Maintenance(t.Context(), nil, app, s.discover(t, app), profile.MaintenanceOptions{}); err != nil {
			t.Fatal(err)
		}
		leave, err := s.Profile.Maintenance(t.Context(), nil, app, s.discover(t, app), profile.MaintenanceOptions{})
		if err = errors.Join(err, leave()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, tree(t, root)); diff != "" {
			t.Error(diff)
		}
	})
}

// maintenanceOfOthers: what somebody else did stays.
func (s Subject) maintenanceOfOthers(t *testing.T) {
	if len(s.Modes) == 0 {
		t.Skip("the application has no files that put it into a mode")
	}
	root, app := s.install(t, PlainAccount())
	for _, mode := range s.Modes {
		Write(t, root, map[string]string{mode: "by hand"})
	}
	before := tree(t, root)
	found := s.discover(t, app)
	leave, err := s.Profile.Maintenance(t.Context(), nil, app, found, profile.MaintenanceOptions{})
	if err = errors.Join(err, leave()); err != nil {
		t.Fatal(err)
	}
	if lifted, err := s.Profile.LiftMaintenance(t.Context(), app); lifted || err != nil {
		t.Errorf("lifted %v, %v", lifted, err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Error(diff)
	}
	if len(found.Notes) == 0 {
		t.Error("there is no note of it")
	}
}

// maintenanceHooks: they run in every profile.
func (s Subject) maintenanceHooks(t *testing.T) {
	_, app := s.install(t, PlainAccount())
	log := filepath.Join(t.TempDir(), "log")
	app.Hooks.MaintenanceOn, app.Hooks.MaintenanceOff = []string{"echo on >>" + log}, []string{"echo off >>" + log}
	want := func(lines string) {
		t.Helper()
		got, err := os.ReadFile(log)
		if diff := cmp.Diff(lines, string(got)); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	leave, err := s.Profile.Maintenance(ctx, nil, app, s.discover(t, app), profile.MaintenanceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want("on\n")
	cancel()
	if err := errors.Join(leave(), leave()); err != nil {
		t.Error(err)
	}
	want("on\noff\n")
	if lifted, err := s.Profile.LiftMaintenance(t.Context(), app); err != nil || !lifted {
		t.Errorf("lifted %v, %v", lifted, err)
	}
	want("on\noff\noff\n")
	app.Hooks.MaintenanceOn = []string{"exit 3"}
	leave, err = s.Profile.Maintenance(t.Context(), nil, app, s.discover(t, app), profile.MaintenanceOptions{})
	refused(t, err, "maintenance_on", app.Name)
	if err := leave(); err != nil {
		t.Error(err)
	}
	want("on\noff\noff\noff\n")
}

// target is a connection unlike PlainAccount's.
func target() core.DatabaseSource {
	return core.DatabaseSource{Host: "new.example.org", Port: 3399, User: "new", Password: core.NewSecret("new-secret"), Name: "newdb"}
}

// configure: a connection that was written is what Discover reads back, whatever
// is in it, and the secrets are in no change and no error.
func (s Subject) configure(t *testing.T) {
	if s.Config == "" {
		t.Skip("the profile reads no configuration")
	}
	for _, password := range append(passwords(), "new-secret", "';\nphpinfo();//", `\\\'`, strings.Repeat(`'\`, 500)) {
		root, app := s.install(t, PlainAccount())
		path := filepath.Join(root, s.Config)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		to := target()
		to.Password = core.NewSecret(password)
		if s.Prefix {
			to.Prefix = "new_"
		}
		out, changes, err := s.Profile.Configure(t.Context(), content, profile.Configuration{App: app.Name, Root: root, Path: path, Database: &to})
		if err != nil {
			t.Errorf("%q: %v", password, err)
			continue
		}
		for _, c := range changes {
			if password != "" && len(password) > 2 && (strings.Contains(c.From, PlainAccount().Password) || strings.Contains(c.To, password)) {
				t.Errorf("a secret is in %+v", c)
			}
		}
		if len(changes) < 4 {
			t.Errorf("changes %+v", changes)
		}
		if err := os.WriteFile(path, out, 0o644); err != nil {
			t.Fatal(err)
		}
		got := s.discover(t, app).Database
		to.Locks = got.Locks
		if diff := cmp.Diff(&to, got, cmp.AllowUnexported(core.Secret{})); diff != "" {
			t.Errorf("%q: %s", password, diff)
		}
		// Back again: but for quoting, the file is what it was.
		old := PlainAccount()
		back := core.DatabaseSource{Host: "db.example.org", Port: 3307, User: old.User, Password: core.NewSecret(old.Password), Name: old.Name, Prefix: old.Prefix}
		again, _, err := s.Profile.Configure(t.Context(), out, profile.Configuration{App: app.Name, Root: root, Path: path, Database: &back})
		if diff := cmp.Diff(string(content), string(again)); err != nil || diff != "" {
			t.Errorf("%q, back again: %v %s", password, err, diff)
		}
	}
}

// configureNothing: what is right already stays byte for byte.
func (s Subject) configureNothing(t *testing.T) {
	root, app := s.install(t, PlainAccount())
	content := []byte("anything")
	c := profile.Configuration{App: app.Name, Root: root, Path: filepath.Join(root, "x")}
	if s.Config != "" {
		var err error
		if content, err = os.ReadFile(filepath.Join(root, s.Config)); err != nil {
			t.Fatal(err)
		}
		c.Database = s.discover(t, app).Database
	}
	out, changes, err := s.Profile.Configure(t.Context(), content, c)
	if err != nil || len(changes) > 0 || string(out) != string(content) {
		t.Errorf("%v %+v\n%s", err, changes, out)
	}
}

func (s Subject) configureHostile(t *testing.T) {
	if s.Config == "" {
		t.Skip("the profile reads no configuration")
	}
	secret := PlainAccount().Password
	for name, content := range map[string]string{
		"empty": "", "no PHP": "text " + secret, "broken": "<?php $x = '" + secret, "sets nothing": "<?php echo '" + secret + "';", "binary": "\x00\xff<?php",
	} {
		to := target()
		out, _, err := s.Profile.Configure(t.Context(), []byte(content), profile.Configuration{App: "subject", Root: "/srv/x", Path: "/srv/x/" + s.Config, Database: &to})
		if out != nil {
			t.Errorf("%s: %q", name, out)
		}
		refused(t, err, s.Config)
	}
}

func (s Subject) quiet(t *testing.T) {
	for _, q := range s.Profile.Quiet("p`_") {
		if q.SQL == "" || q.Does == "" || q.Table == "" || len(q.Columns) == 0 || !strings.HasPrefix(q.Table, "p`_") {
			t.Errorf("%+v", q)
		}
		if !strings.Contains(q.SQL, profile.QuoteName(q.Table)) || strings.ContainsAny(q.SQL, ";\n") {
			t.Errorf("statement %q for table %s", q.SQL, q.Table)
		}
	}
}

// postSteps: they are whole, also when nothing is known and nothing is there.
func (s Subject) postSteps(t *testing.T) {
	root, app := s.install(t, PlainAccount())
	known := s.discover(t, app)
	app.Hooks.AfterRestore = []string{"true"}
	for _, r := range []profile.Restored{
		{App: app}, {App: app, Root: filepath.Join(root, "missing"), Code: true, Database: true, Files: true},
		{App: app, Root: root, Files: true, Database: true, Versions: known.Versions, Settings: known.Settings},
		{App: app, Root: root, Code: true, Versions: known.Versions, Settings: known.Settings},
	} {
		steps := s.Profile.PostSteps(r)
		if len(steps) == 0 || steps[len(steps)-1].Name != "hooks.after_restore[0]" {
			t.Errorf("%+v: the hook is not the last of %+v", r, steps)
		}
		for _, step := range steps {
			if step.Name == "" || step.Why == "" || len(step.Argv) == 0 || strings.ContainsAny(step.ByHand(), "\n\x00") {
				t.Errorf("step %+v", step)
			}
		}
	}
}

func (s Subject) compare(t *testing.T) {
	root, app := s.install(t, PlainAccount())
	known := s.discover(t, app)
	var content []byte
	if s.Config != "" {
		content, _ = os.ReadFile(filepath.Join(root, s.Config))
	}
	before := tree(t, root)
	odd := map[string]string{}
	for k := range known.Versions {
		odd[k] = "?\x00"
	}
	for name, c := range map[string]profile.Comparison{
		"nothing known": {Manifest: &core.Manifest{}},
		"bare machine":  {Manifest: &core.Manifest{Versions: known.Versions, Settings: known.Settings}, Root: filepath.Join(root, "missing"), Target: known.Database, Code: true, Files: true, Settings: true, Config: content},
		"live":          {Manifest: &core.Manifest{Versions: known.Versions, Settings: known.Settings}, Root: root, Live: known, Target: known.Database, Files: true, Settings: true, Config: content, LiveConfig: content},
		"odd": {Manifest: &core.Manifest{Versions: odd, Settings: odd, Modules: []core.Module{{}}}, Root: root, Target: known.Database, Settings: true, Config: []byte("x"), LiveConfig: []byte("y"),
			List: func(context.Context, string) ([]string, error) { return nil, errors.New("the repository went away") }},
	} {
		c.App = app
		for _, f := range s.Profile.Compare(t.Context(), c) {
			if f.Name == "" || f.Message == "" || f.Name != strings.ToLower(f.Name) || strings.ContainsAny(f.Name, " _") {
				t.Errorf("%s: %+v", name, f)
			}
			if (f.Kind == core.FindingDecision || f.Kind == core.FindingImpossible) && (name == "live" || f.Hint == "") {
				t.Errorf("%s: %+v", name, f)
			}
			if strings.Contains(f.Message+f.Hint+f.Object, PlainAccount().Password) {
				t.Errorf("%s: the password is in %+v", name, f)
			}
		}
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Error(diff)
	}
}

// check: a database that does not answer as it should is something to look at.
func (s Subject) check(t *testing.T) {
	odd := "\xff\n" + strings.Repeat("9", 10_000)
	for name, answer := range map[string]queryFunc{
		"refuses":  func() ([][]*string, error) { return nil, errors.New("table is not there") },
		"nothing":  func() ([][]*string, error) { return nil, nil },
		"nulls":    func() ([][]*string, error) { return [][]*string{{nil, nil, nil}}, nil },
		"odd text": func() ([][]*string, error) { return [][]*string{{&odd, &odd, &odd}}, nil },
	} {
		root, app := s.install(t, PlainAccount())
		found := s.discover(t, app)
		for _, f := range s.Profile.Check(t.Context(), answer, found, profile.Restored{App: app, Root: root, Versions: map[string]string{"schema": "1"}}) {
			if f.Kind != core.FindingDecision || f.Name == "" || f.Message == "" {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}

func (s Subject) url(t *testing.T) {
	_, app := s.install(t, PlainAccount())
	found := s.discover(t, app)
	if got := s.Profile.URL(app, nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	if got := s.Profile.URL(app, found); got != "" && profile.CheckURL(got) != nil {
		t.Errorf("found %q", got)
	}
	app.URL = "https://given.example.org/"
	if got := s.Profile.URL(app, found); got != app.URL {
		t.Errorf("got %q", got)
	}
}
