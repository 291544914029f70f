package itflow

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

// Keys of core.Application.Versions.
const (
	VersionApplication = "application" // APP_VERSION: "26.08.2"; not before the end of 2024
	VersionCodeSchema  = "code_schema" // the newest database version that the code knows
	VersionSchema      = "schema"      // the database's own
	VersionCommit      = "git_commit"  // HEAD
	VersionBranch      = "git_branch"
)

// codeVersions reads the versions of the code. What is not there is left out:
// older ITFlow has less.
func codeVersions(root string, found *core.Application) {
	set := func(key, version string) {
		if profile.ValidVersion(version) {
			found.Versions[key] = version
		}
	}
	set(VersionApplication, appVersion(root))
	set(VersionCodeSchema, codeSchema(root))
	commit, branch, err := gitHead(root)
	if err != nil {
		profile.Warn(found, "version", ".git", "the commit could not be read: %v", err)
	}
	set(VersionCommit, commit)
	set(VersionBranch, branch)
}

func appVersion(root string) string {
	version := constant(root, "APP_VERSION", "includes/app_version.php", "app_version.php")
	if !profile.ValidVersion(version) {
		return ""
	}
	return version
}

// constant returns what the first of the files that is there defines, or "".
func constant(root, name string, files ...string) string {
	for _, file := range files {
		f, err := phpconf.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue
		}
		if v, ok := f.Constant(name); ok && v.IsLiteral() {
			return v.Text()
		}
	}
	return ""
}

// migration is the name of a file in admin/database_updates.
var migration = regexp.MustCompile(`^(\d{1,6}(?:\.\d{1,6})*)\.php$`)

// codeSchema returns the highest migration, or what older ITFlow says itself.
func codeSchema(root string) string {
	entries, err := os.ReadDir(filepath.Join(root, "admin/database_updates"))
	highest := ""
	for _, e := range entries {
		if m := migration.FindStringSubmatch(e.Name()); m != nil && (highest == "" || compareVersions(m[1], highest) > 0) {
			highest = m[1]
		}
	}
	if err == nil && highest != "" {
		return highest
	}
	return constant(root, "LATEST_DATABASE_VERSION", "includes/database_version.php", "database_version.php")
}

// compareVersions compares dotted numbers; what is missing counts as before 0.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		x, y := -1, -1
		if i < len(as) {
			x, _ = strconv.Atoi(as[i])
		}
		if i < len(bs) {
			y, _ = strconv.Atoi(bs[i])
		}
		if x != y {
			return x - y
		}
	}
	return 0
}

// Limits on what is read of .git.
const (
	maxRef    = 4 << 10
	maxPacked = 16 << 20
)

var commitID = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// gitHead reads HEAD of the checkout in root, without git: the commit, and the
// branch when HEAD is one. A root without .git gives nothing.
func gitHead(root string) (commit, branch string, err error) {
	dir := filepath.Join(root, ".git")
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.IsDir()) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	head, err := line(filepath.Join(dir, "HEAD"))
	if err != nil {
		return "", "", err
	}
	ref, isRef := strings.CutPrefix(head, "ref: ")
	if !isRef {
		return hash(head)
	}
	if clean, err := profile.Relative(ref); err != nil || clean != ref || !strings.HasPrefix(ref, "refs/") {
		return "", "", fmt.Errorf("HEAD names %q, which is no reference", ref)
	}
	branch, _ = strings.CutPrefix(ref, "refs/heads/")
	loose, err := line(filepath.Join(dir, filepath.FromSlash(ref)))
	if errors.Is(err, fs.ErrNotExist) {
		commit, err = packedRef(filepath.Join(dir, "packed-refs"), ref)
		return commit, branch, err
	}
	if err != nil {
		return "", branch, err
	}
	commit, _, err = hash(loose)
	return commit, branch, err
}

func hash(text string) (commit, branch string, err error) {
	if !commitID.MatchString(text) {
		return "", "", errors.New("it holds something that is no commit")
	}
	return text, "", nil
}

// line reads a short file, without the end of its line.
func line(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxRef))
	return strings.TrimSpace(string(text)), errors.Join(err, f.Close())
}

func packedRef(path, ref string) (commit string, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // a branch without a commit
	}
	if err != nil {
		return "", err
	}
	lines := bufio.NewScanner(io.LimitReader(f, maxPacked))
	for lines.Scan() {
		if id, name, ok := strings.Cut(lines.Text(), " "); ok && name == ref && commitID.MatchString(id) {
			commit = id
			break
		}
	}
	return commit, errors.Join(lines.Err(), f.Close())
}

// Versions reads the database's version.
func (Profile) Versions(ctx context.Context, q profile.Querier, found *core.Application) error {
	if q == nil || found.Database == nil {
		return nil
	}
	if found.Versions == nil {
		found.Versions = map[string]string{}
	}
	rows, err := q.Query(ctx, "SELECT config_current_database_version FROM "+profile.QuoteName(found.Database.Prefix+"settings")+" WHERE company_id = 1")
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("ask ITFlow's database for its version: %w", errors.Join(ctx.Err(), err))
		}
		profile.Warn(found, "version", found.Database.Name, "the database's version could not be read: %v", err)
		return nil
	}
	if len(rows) == 0 || !profile.ValidVersion(profile.Text(rows[0], 0)) {
		profile.Warn(found, "version", found.Database.Name, "the database does not say its version: ITFlow's setup never ended there")
		return nil
	}
	schema := profile.Text(rows[0], 0)
	found.Versions[VersionSchema] = schema
	if code := found.Versions[VersionCodeSchema]; code != "" && code != schema {
		profile.Note(found, "the database is at version %s and the code at %s: ITFlow's database update has not been run", schema, code)
	}
	return nil
}
