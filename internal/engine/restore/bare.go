package restore

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
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

// FindingWritesConfig says that a configuration will be written.
const FindingWritesConfig = "writes-configuration"

// FindingUnknownOwner says that an owner of files is not known by name here.
const FindingUnknownOwner = "unknown-owner"

// findOwners says which owners of files this machine does not know by name:
// their files come back with the number that the name had on the other one.
func (r *Restore) findOwners() {
	for _, o := range r.unknownOwners() {
		r.note(FindingUnknownOwner, "%s", o.message)
	}
}

// unknownOwner is a user or group that this machine does not have.
type unknownOwner struct {
	message string
	command string // gives its files to whom the name will mean
}

// unknownOwners lists them, users first. The superuser is the same everywhere.
func (r *Restore) unknownOwners() []unknownOwner {
	var out []unknownOwner
	look := func(kind, test, change string, names map[string]string, byName func(string) bool, byID func(string) string) {
		ids := make([]string, 0, len(names))
		for id := range names {
			ids = append(ids, id)
		}
		sort.Slice(ids, func(i, j int) bool { a, _ := strconv.Atoi(ids[i]); b, _ := strconv.Atoi(ids[j]); return a < b })
		for _, id := range ids {
			name := names[id]
			if id == "0" || name == "" || byName(name) {
				continue
			}
			o := unknownOwner{message: fmt.Sprintf("there is no %s %s here: what belonged to it gets the number %s", kind, name, id)}
			if other := byID(id); other != "" {
				o.message += ", which is " + other + " here"
			}
			o.message += fmt.Sprintf("; make the %s first, or change it afterwards", kind)
			dirs := r.targetFolders()
			if len(dirs) > 0 {
				o.command = fmt.Sprintf("find %s -xdev %s %s -exec %s %s {} +", strings.Join(dirs, " "), test, id, change, files.ShellQuote(name))
			}
			out = append(out, o)
		}
	}
	owners := r.open.Manifest.Owners
	look("user", "-uid", "chown -h", owners.Users, func(name string) bool { _, err := user.Lookup(name); return err == nil }, func(id string) string {
		if u, err := user.LookupId(id); err == nil {
			return "user " + u.Username
		}
		return ""
	})
	look("group", "-gid", "chgrp -h", owners.Groups, func(name string) bool { _, err := user.LookupGroup(name); return err == nil }, func(id string) string {
		if g, err := user.LookupGroupId(id); err == nil {
			return "group " + g.Name
		}
		return ""
	})
	return out
}

// targetFolders are the folders that files are restored into, quoted for a
// shell; the whole machine is not among them.
func (r *Restore) targetFolders() []string {
	var dirs []string
	for _, c := range core.Components() {
		if p := r.trees[c]; p != nil {
			for _, dir := range p.targets {
				if q := files.ShellQuote(dir); dir != "/" && !slices.Contains(dirs, q) {
					dirs = append(dirs, q)
				}
			}
		}
	}
	slices.Sort(dirs)
	return dirs
}

// ownerSteps says how files get the owners that are not known here yet. Who is
// not root could give files to nobody, and has been told so.
func (r *Restore) ownerSteps() []string {
	if os.Geteuid() != 0 || len(r.trees) == 0 {
		return nil
	}
	var out []string
	for _, o := range r.unknownOwners() {
		if o.command != "" {
			out = append(out, o.message[:strings.Index(o.message, ":")]+"; when there is: "+o.command)
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
	c, err := mysql.Connect(ctx, named)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
