package itop

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

// Keys of core.Application.Versions.
const (
	VersionApplication = "application" // ITOP_VERSION: "3.2.1-1"
	VersionRevision    = "revision"    // ITOP_REVISION: a build number, "svn" in the sources
	VersionCore        = "core"        // ITOP_CORE_VERSION
	VersionSchema      = "schema"      // what the setup wrote into the database: ITOP_VERSION_FULL of that time
)

// codeVersions reads the versions of the code; what cannot be read is a
// warning, for a backup without it is a backup all the same.
func codeVersions(root string) (map[string]string, []core.Warning) {
	versions := map[string]string{}
	var warnings []core.Warning
	read := func(file string, constants map[string]string) {
		f, err := phpconf.ReadFile(filepath.Join(root, file))
		if err != nil {
			warnings = append(warnings, core.Warning{Code: "version", Object: file, Message: fmt.Sprintf("iTop's version could not be read: %v", err)})
			return
		}
		for constant, key := range constants {
			if v, ok := f.Constant(constant); ok && v.IsLiteral() && profile.ValidVersion(v.Text()) {
				versions[key] = v.Text()
			}
		}
	}
	read("core/config.class.inc.php", map[string]string{"ITOP_VERSION": VersionApplication, "ITOP_REVISION": VersionRevision})
	read("approot.inc.php", map[string]string{"ITOP_CORE_VERSION": VersionCore})
	if versions[VersionApplication] == "" && len(warnings) == 0 {
		warnings = append(warnings, core.Warning{
			Code: "version", Object: "core/config.class.inc.php", Message: "iTop's version could not be read: the constant ITOP_VERSION is not set there in plain text",
		})
	}
	return versions, warnings
}

// Versions reads what the last run of the setup wrote down: iTop's version, and
// the modules and extensions. Each run appends a full set
// (RunTimeEnvironment::RecordInstallation). An extension's Source is
// "extension:" and where it came from: datamodels, extensions or remote.
func (Profile) Versions(ctx context.Context, q profile.Querier, found *core.Application) error {
	if q == nil || found.Database == nil {
		return nil
	}
	if found.Versions == nil {
		found.Versions = map[string]string{}
	}
	install := profile.QuoteName(found.Database.Prefix + "priv_module_install")
	rows, err := ask(ctx, q, found, "SELECT id, version FROM "+install+" WHERE name = 'iTop' AND parent_id = 0 ORDER BY id DESC LIMIT 1")
	if err != nil || rows == nil {
		return err
	}
	id := int64(0)
	if len(rows) > 0 {
		id, err = strconv.ParseInt(profile.Text(rows[0], 0), 10, 64)
	}
	if len(rows) == 0 || err != nil {
		profile.Warn(found, "version", found.Database.Prefix+"priv_module_install", "the database does not say which version of iTop it belongs to: iTop's setup never ended there")
		return nil
	}
	if v := profile.Text(rows[0], 1); profile.ValidVersion(v) {
		found.Versions[VersionSchema] = v
	}
	noteMismatch(found)
	if rows, err = ask(ctx, q, found, "SELECT name, version FROM "+install+" WHERE parent_id = "+strconv.FormatInt(id, 10)+" ORDER BY name"); err != nil {
		return err
	}
	for _, r := range rows {
		addModule(found, profile.Text(r, 0), profile.Text(r, 1), "")
	}
	extensions := profile.QuoteName(found.Database.Prefix + "priv_extension_install")
	rows, err = ask(ctx, q, found, "SELECT code, version, source FROM "+extensions+" WHERE installed = (SELECT MAX(installed) FROM "+extensions+") ORDER BY code")
	if err != nil {
		return err
	}
	for _, r := range rows {
		addModule(found, profile.Text(r, 0), profile.Text(r, 1), "extension:"+profile.Text(r, 2))
	}
	return nil
}

// mostModules is how many modules go into a manifest; an iTop has some hundred.
const mostModules = 10_000

// addModule leaves out what no module is called: the database may have come in
// an archive.
func addModule(found *core.Application, name, version, source string) {
	if !profile.ValidVersion(name) || len(found.Modules) >= mostModules {
		return
	}
	if !profile.ValidVersion(version) {
		version = ""
	}
	if source != "" && !profile.ValidVersion(source) {
		source = "extension:"
	}
	found.Modules = append(found.Modules, core.Module{Name: name, Version: version, Source: source})
}

// ask queries; a refusal becomes a warning and nil rows, unless the work itself
// was cancelled.
func ask(ctx context.Context, q profile.Querier, found *core.Application, statement string) ([][]*string, error) {
	rows, err := q.Query(ctx, statement)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask iTop's database for its version: %w", errors.Join(ctx.Err(), err))
		}
		profile.Warn(found, "version", found.Database.Name, "the version or the modules could not be read from the database: %v", err)
		return nil, nil
	}
	if rows == nil {
		rows = [][]*string{}
	}
	return rows, nil
}

// noteMismatch notes that code and database do not belong together, as between
// the exchange of the code and the run of the setup.
func noteMismatch(found *core.Application) {
	code := found.Versions[VersionApplication]
	if code == "" || found.Versions[VersionRevision] == "" {
		return
	}
	if code += "-" + found.Versions[VersionRevision]; code != found.Versions[VersionSchema] {
		profile.Note(found, "the code is iTop %s and the database was set up by iTop %s: iTop's setup has not been run since the code was replaced", code, found.Versions[VersionSchema])
	}
}
