package itop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

// fileSets divides the installation:
//
//   - config is conf/ with all its environments: certificates and includes of
//     the configuration lie beside it, and one environment's file alone does not
//     make iTop run.
//   - files is what setup and users put in and no download brings back: data/
//     without what iTop makes anew, extensions/, and the extra files that iTop's
//     own backup takes.
//   - code is the rest, without logs. The compiled environments (env-production)
//     are in it though setup can make them anew: iTop answers with an error
//     until they are there, and a restore should end with a site that works.
func fileSets(ctx context.Context, app profile.App, environment string, s *settings, found *core.Application) ([]core.FileSet, error) {
	l := profile.NewLayout(app.Root)
	l.Take(core.ComponentConfig, core.Path{Path: "conf", Follow: true})
	// By its name too: it may be a link.
	l.Take(core.ComponentConfig, core.Path{Path: configPath(environment), Follow: true})
	l.Exclude(core.ComponentConfig, "conf/*-build") // the setup's work copies
	l.Take(core.ComponentFiles, core.Path{Path: "data"})
	l.Take(core.ComponentFiles, core.Path{Path: "extensions", Optional: true})
	l.Exclude(core.ComponentFiles, transientData()...)
	l.Take(core.ComponentCode, core.Path{Path: "."})
	l.Exclude(core.ComponentCode, transientCode()...)

	extra, err := extraFiles(ctx, app.Root, s, found)
	if err != nil {
		return nil, err
	}
	for _, p := range extra {
		l.TakeNamed(core.ComponentFiles, core.Path{Path: p, Optional: true})
	}
	for _, p := range linkedFolders(app, environment, found) {
		l.Take(core.ComponentFiles, p)
	}
	if info, err := os.Lstat(filepath.Join(app.Root, ".git")); err == nil && info.IsDir() {
		profile.Note(found, "the folder .git is not part of the backup: files: [{path: .git}] in backstay.yaml adds it")
	}
	if err := l.Add(app); err != nil {
		return nil, err
	}
	return l.FileSets(), nil
}

// transientData is what lies in data/ and means nothing tomorrow (uses of
// utils::GetDataPath): caches, sessions and tokens, temporary files, downloads
// of the updater, iTop's own backups, mode flags, and the compiler's output.
func transientData() []string {
	return []string{
		"data/cache-*", "data/transactions", "data/bulk_export", "data/tmp", "data/tmp-backup-*", "data/sessions", "data/setup",
		"data/hub/compile_authent", "data/restore.*.tok", "data/.setup", "data/keyscache.tmp", "data/queries.log", "data/*.lock",
		"data/downloaded-core", "data/core-update", "data/backups", "data/.maintenance", "data/.readonly",
		"data/datamodel-*.xml", "data/*-build.delta.xml", "data/*-build-modules",
	}
}

// transientCode is what of the root setup and cron make anew. log/ keeps its
// guards against the web (.htaccess, index.php, web.config).
func transientCode() []string {
	return []string{
		"env-*-build", ".git", ".maintenance", ".readonly",
		"log/*/**", "log/*.{log,txt,sql,csv,xml,html,json,zip,gz,bz2,xz,old,bak,tmp,lock}", "log/*.log[.-]*", "log/*.[0-9]*",
	}
}

// extraFiles returns the extra files of iTop's own backup, where they exist.
// As DBBackup does, it takes nothing from outside iTop's folder.
func extraFiles(ctx context.Context, root string, s *settings, found *core.Application) ([]string, error) {
	const setting = "$MyModuleSettings['itop-backup']['extra_files']"
	v, ok, err := s.value(ctx, "MyModuleSettings", "itop-backup", "extra_files")
	if err != nil {
		return nil, extraUnreadable(s, v, err)
	}
	if !ok {
		return nil, nil
	}
	if v.Kind() != phpconf.Array {
		profile.Warn(found, "setting", s.path, "%s is not a list of files; it is not followed", setting)
		return nil, nil
	}
	var paths []string
	for _, item := range v.Items() {
		value := item.Value
		if !value.IsLiteral() {
			asked, askErr := s.ask(ctx)
			if askErr != nil {
				return nil, extraUnreadable(s, value, askErr)
			}
			value, _ = find(asked, "MyModuleSettings", []string{"itop-backup", "extra_files", item.Key})
		}
		if value.Kind() != phpconf.String {
			profile.Warn(found, "setting", s.path, "%s: item %s is not a path", setting, item.Key)
			continue
		}
		p, problem := inside(root, value.Text())
		switch {
		case problem != nil && os.IsNotExist(problem):
			profile.Warn(found, "missing", value.Text(), "%s names it, and it is not there", setting)
		case problem != nil:
			profile.Warn(found, "refused", value.Text(), "%s names it, and it is not taken: %v; files: in backstay.yaml can name paths anywhere", setting, problem)
		default:
			paths = append(paths, p)
		}
	}
	return paths, nil
}

func extraUnreadable(s *settings, v phpconf.Value, cause error) error {
	return &core.Error{
		Code: core.CodeApplication, Op: "read " + s.path, Err: cause,
		Message: fmt.Sprintf("the setting $MyModuleSettings['itop-backup']['extra_files'] could not be read (line %d: %s)", v.Line(), v.Why()),
		Hint:    "write its paths as plain strings there",
	}
}

// inside returns the path of an existing file below root by its real name, so
// that no link on the way leads out.
func inside(root, given string) (string, error) {
	rel, err := profile.Relative(strings.TrimSuffix(given, "/"))
	if err != nil {
		return "", err
	}
	if rel == "." {
		return "", fmt.Errorf("it is the whole of iTop")
	}
	if _, err := os.Lstat(filepath.Join(root, rel)); err != nil {
		return "", err
	}
	realRoot, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", err
	}
	realDir, err := filepath.EvalSymlinks(filepath.Join(root, filepath.Dir(rel)))
	if err != nil {
		return "", err
	}
	out, err := filepath.Rel(realRoot, filepath.Join(realDir, filepath.Base(rel)))
	if err != nil || out == ".." || strings.HasPrefix(out, "../") {
		return "", fmt.Errorf("a link on the way leads out of iTop's folder")
	}
	return out, nil
}

// linkedFolders finds data/ and extensions/, and the modules in them, where
// they are links to folders: without what they point to, iTop cannot be
// compiled.
func linkedFolders(app profile.App, environment string, found *core.Application) []core.Path {
	var paths []core.Path
	for _, look := range []struct {
		dir   string
		depth int
	}{{"data", 0}, {"data/" + environment + "-modules", 1}, {"extensions", 1}} {
		links, err := profile.FollowLinks(app.Root, look.dir, look.depth)
		if err != nil {
			profile.Warn(found, "unreadable", look.dir, "%v", err)
			continue
		}
		paths = append(paths, links.Report(app, found)...)
	}
	return paths
}
