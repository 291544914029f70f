package restore

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/exchange"
	treerestore "github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/profile"
)

// maxMarker is how large a file may be by which a profile knows its application.
const maxMarker = 1 << 20

// restoreMarkers puts the files that lie directly in the app's folder into
// dir: profiles look for some of them before they read a configuration.
func (r *Restore) restoreMarkers(ctx context.Context, dir string) error {
	top, err := r.open.Lookup(ctx, path.Join(string(core.ComponentCode), "app"))
	if core.CodeOf(err) == core.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := r.open.ReadDir(ctx, top)
	if err != nil {
		return err
	}
	var paths []string
	for _, e := range entries {
		if e.Type == core.TypeFile && e.Object.Size <= maxMarker {
			paths = append(paths, path.Join("app", e.Name))
		}
	}
	if len(paths) == 0 {
		return nil
	}
	src, err := r.source(ctx, core.ComponentCode)
	if err != nil {
		return err
	}
	_, err = treerestore.Files(ctx, r.e.Store, src.entry, src.extra, treerestore.Options{
		Targets: map[string]string{"app": dir}, Paths: paths, Owners: r.open.Manifest.Owners, Trees: src.trees, KeepRoots: true,
	})
	return err
}

// FindingAccount says that the application's own account does not work here.
const FindingAccount = "account"

// findAccount says, once, that the application's own account cannot log in and
// which one its configuration will name.
func (r *Restore) findAccount(own, named string) {
	if slices.ContainsFunc(r.Plan.Findings, func(f core.Finding) bool { return f.Name == FindingAccount }) {
		return
	}
	then := "the restored configuration names " + named + ", the account of this restore, instead"
	if named == own {
		then = "make it before anyone opens the application, with the password that the configuration has"
	}
	r.note(FindingAccount, "account %s of the backup's configuration cannot log in to the database server here: %s", own, then)
}

// FindingWritesConfig says that a configuration will be written.
const FindingWritesConfig = "writes-configuration"

// FindingUnknownOwner says that an owner of files is not known by name here.
const FindingUnknownOwner = "unknown-owner"

// findOwners says which owners of files this machine does not know by name:
// their files come back with the number that the name had on the other one.
func (r *Restore) findOwners() {
	for _, o := range files.UnknownOwners(r.open.Manifest.Owners) {
		r.note(FindingUnknownOwner, "%s", o)
	}
}

// targetFolders are the folders that files are restored into.
func (r *Restore) targetFolders() []string {
	var dirs []string
	for _, p := range r.trees {
		for _, dir := range p.targets {
			if !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	slices.Sort(dirs)
	return dirs
}

// finishElsewhere says whose files the restored ones are not yet.
func (r *Restore) finishElsewhere(out *Restored) error {
	commands, err := exchange.OwnerCommands(r.targetFolders(), r.denied)
	if err != nil {
		return err
	}
	out.Warnings = append(out.Warnings, ownerWarnings(commands)...)
	out.Next = append(append(out.Next, asRoot(commands)...), r.ownerSteps()...)
	return nil
}

// ownerWarnings says that owners or modes could not be set; commands set them.
func ownerWarnings(commands []string) []core.Warning {
	if len(commands) == 0 {
		return nil
	}
	return []core.Warning{{Code: "owner", Message: "not all files have the owner and mode of the backup, because only root may set them: run the commands that are listed as next, as root"}}
}

func asRoot(commands []string) []string {
	out := make([]string, len(commands))
	for i, c := range commands {
		out[i] = "as root: " + c
	}
	return out
}

// ownerSteps says how files get the owners that are not known here yet. Who is
// not root could give files to nobody, and has been told so.
func (r *Restore) ownerSteps() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	dirs := slices.DeleteFunc(r.targetFolders(), func(dir string) bool { return dir == "/" })
	var out []string
	for _, o := range files.UnknownOwners(r.open.Manifest.Owners) {
		if command := o.Command(dirs); command != "" {
			out = append(out, fmt.Sprintf("when there is a %s %s here, give it its files: %s", o.Kind, o.Name, command))
		}
	}
	return out
}

// Profile is the name of the app's profile.
func (r *Restore) Profile() string { return r.profile.Name() }

// OriginalRoot is the app's folder when it was backed up; "": it had none.
func (r *Restore) OriginalRoot() string { return r.open.Manifest.Root }

// Trees are what the backup took from which folders.
func (r *Restore) Trees() []core.Tree { return r.open.Manifest.Trees }

// Prefix is what the names of the app's tables begin with.
func (r *Restore) Prefix() string {
	if r.open.Manifest.Database == nil {
		return ""
	}
	return r.open.Manifest.Database.Prefix
}

// FindsDatabase says, after Run, whether the app's profile finds the restored
// database by the app's own configuration, or needs none.
func (r *Restore) FindsDatabase(ctx context.Context) bool {
	if r.open.Manifest.Database == nil || r.db == nil {
		return true
	}
	app := r.req.Target.App
	app.Database = profile.Database{}
	found, err := r.profile.Discover(ctx, app)
	if err != nil || found.Database == nil {
		return false
	}
	named, filled := mysql.ConfigOf(*found.Database), r.targetConfig()
	if named.Database != filled.Database {
		return false
	}
	if named.Address() == filled.Address() {
		return true // whether the account is there yet is said elsewhere
	}
	c, err := mysql.Connect(ctx, named)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
