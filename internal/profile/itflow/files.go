package itflow

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// linkDepth is how deep below uploads/ links to folders are looked for: its
// content is at most three levels down (uploads/clients/7/).
const linkDepth = 3

// customFolders hold what the owner of an installation adds to the code; git
// ignores them, so that no download brings them back. Names by era.
func customFolders() []string {
	return []string{
		"admin/custom", "agent/custom", "client/custom", "guest/custom", "cron/custom", "scripts/custom", "setup/custom", "api/v1/custom",
		"functions/custom", "custom", "xcustom",
	}
}

// fileSets divides the installation:
//
//   - config is config.php.
//   - files is uploads/, without what passes (uploads/tmp) and ITFlow's own
//     backups, and custom code.
//   - code is the rest, with .git, which the updater of ITFlow needs.
func fileSets(ctx context.Context, app profile.App, s *settings, found *core.Application) ([]core.FileSet, error) {
	l := profile.NewLayout(app.Root)
	l.Take(core.ComponentConfig, core.Path{Path: configFile, Follow: true})
	l.Take(core.ComponentFiles, core.Path{Path: "uploads"})
	for _, dir := range customFolders() {
		l.Take(core.ComponentFiles, core.Path{Path: dir, Optional: true})
	}
	l.Take(core.ComponentCode, core.Path{Path: "."})
	l.Exclude(core.ComponentFiles, "uploads/tmp/**", "uploads/backups/**")
	l.Exclude(core.ComponentCode, "backups/*.{zip,sql,gz}") // where ITFlow of 2022 put its own
	// What keeps the web server out of these folders must be there after a restore.
	for _, dir := range []string{"uploads/tmp", "uploads/backups"} {
		for _, guard := range []string{".htaccess", "index.php"} {
			l.TakeNamed(core.ComponentFiles, core.Path{Path: dir + "/" + guard, Optional: true})
		}
	}
	var followed []profile.Link
	for _, dir := range append([]string{"uploads"}, customFolders()...) {
		depth := 1
		if dir == "uploads" {
			depth = linkDepth
		}
		links, err := profile.FollowLinks(app.Root, dir, depth)
		if err != nil {
			profile.Warn(found, "unreadable", dir, "%v", err)
			continue
		}
		followed = append(followed, links.Followed...)
		for _, p := range links.Report(app, found) {
			l.Take(core.ComponentFiles, p)
		}
	}
	if path := s.optional(ctx, found, "config_backup_path"); path != "" {
		excludeBackups(l, app.Root, path, followed, found)
	}
	if err := l.Add(app); err != nil {
		return nil, err
	}
	return l.FileSets(), nil
}

// excludeBackups leaves out the folder of $config_backup_path, where it lies in
// what is taken (backupStorageDir).
func excludeBackups(l *profile.Layout, root, path string, followed []profile.Link, found *core.Application) {
	rel, inside := relativeTo(root, path)
	for _, link := range followed {
		if below, ok := relativeTo(link.Target, path); ok {
			rel, inside = filepath.Join(link.Path, below), true
		}
	}
	if !inside {
		return // nothing takes it
	}
	for _, taken := range append(customFolders(), "uploads", ".", configFile) {
		if rel == taken || rel == "." || strings.HasPrefix(taken, rel+"/") {
			profile.Warn(found, "setting", configFile,
				"$config_backup_path is a folder with other content; only files named itflow_*.zip are left out of it")
			archives := "itflow_*.zip"
			if rel != "." {
				archives = profile.EscapeGlob(rel) + "/" + archives
			}
			l.Exclude("", archives)
			return
		}
	}
	l.Exclude("", profile.EscapeGlob(rel)+"/**")
}

// relativeTo returns where path lies below dir; false when it does not. A
// relative path depends on the folder that PHP runs in and lies nowhere.
func relativeTo(dir, path string) (string, bool) {
	if !filepath.IsAbs(path) {
		return "", false
	}
	for _, base := range []string{dir, resolved(dir)} {
		for _, p := range []string{filepath.Clean(path), resolved(path)} {
			if rel, err := filepath.Rel(base, p); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
				return rel, true
			}
		}
	}
	return "", false
}

// resolved returns path without links where that can be found out.
func resolved(path string) string {
	if out, err := filepath.EvalSymlinks(path); err == nil {
		return out
	}
	return filepath.Clean(path)
}
