package config

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/bmatcuk/doublestar/v4"
	"github.com/goccy/go-yaml/ast"
)

func glob(s string) (wrong, hint string) {
	switch {
	case s == "":
		return strict.NotEmpty(s)
	case strings.HasPrefix(s, "/"):
		return fmt.Sprintf("must be relative, not %q", strict.Shown(s)), "write it relative to the folder that it is for, without the / in front"
	case slices.Contains(strings.Split(s, "/"), ".."):
		return fmt.Sprintf("must not hold .., as %q does", strict.Shown(s)), "an exclusion lies below the folder that it is for"
	case !doublestar.ValidatePattern(s):
		return fmt.Sprintf("is not a pattern: %q", strict.Shown(s)), `* is anything in a name, ** crosses folders; a bracket itself is written \[`
	}
	return "", ""
}

// secretFields are the three ways to give a secret: key itself, key_file and
// key_env. Whichever is given replaces one inherited from `defaults`. what is
// said of the secret itself; check, which may be nil, is not to show it.
func secretFields(into *SecretSource, key, what string, check func(string) (wrong, hint string)) []strict.Field {
	var inline, file, env string
	if check == nil {
		check = strict.NotEmpty
	}
	own := strict.TextField(key, &inline, check)
	read := own.Read
	own.Read = func(r *strict.Reader, at strict.Position, n ast.Node) {
		read(r, at, n)
		if inline == "" {
			return
		}
		*into = SecretSource{Password: core.NewSecret(inline)}
		if r.InlineSecret == nil {
			r.InlineSecret = &at
		}
	}
	inFile := strict.TextField(key+"_file", &file, func(s string) (string, string) {
		if wrong, _ := strict.Absolute(s); wrong != "" {
			return "must be an absolute path", "give the path of the file that holds " + what + ", beginning with /"
		}
		return "", ""
	})
	inFile.Schema["pattern"] = "^/"
	readFile := inFile.Read
	inFile.Read = func(r *strict.Reader, at strict.Position, n ast.Node) {
		if readFile(r, at, n); file != "" {
			*into = SecretSource{PasswordFile: path.Clean(file)}
		}
	}
	inEnv := strict.TextField(key+"_env", &env, func(s string) (string, string) {
		if !envName.MatchString(s) {
			// What stands there may be the secret itself: it is not shown.
			return "must be the name of an environment variable", "give the name, such as BACKSTAY_PASSWORD, not " + what
		}
		return "", ""
	})
	inEnv.Schema["pattern"] = envName.String()
	readEnv := inEnv.Read
	inEnv.Read = func(r *strict.Reader, at strict.Position, n ast.Node) {
		if readEnv(r, at, n); env != "" {
			*into = SecretSource{PasswordEnv: env}
		}
	}
	return []strict.Field{
		own.Describe(what + " itself; the configuration must then be readable by its owner only"),
		inFile.Describe("a file that holds " + what + " and that only its owner can read"),
		inEnv.Describe("the environment variable that holds " + what),
	}
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// oneSecret reports a second way to give the same secret, and with a hint that
// is not empty, that there is none.
func oneSecret(r *strict.Reader, own strict.Position, at map[string]strict.Position, key, what, missing string) {
	var given []string
	for _, k := range []string{key, key + "_file", key + "_env"} {
		if _, ok := at[k]; ok {
			given = append(given, k)
		}
	}
	slices.SortFunc(given, func(a, b string) int {
		if at[a].Line != at[b].Line {
			return at[a].Line - at[b].Line
		}
		return at[a].Column - at[b].Column
	})
	if len(given) > 1 {
		r.Problem(at[given[1]], "keep one of the two", "%s is given twice, by %q and by %q", what, given[0], given[1])
	}
	if len(given) == 0 && missing != "" {
		r.Problem(own, missing, "%s is missing", what)
	}
}

func repositoryFields(repo *Repository) []strict.Field {
	address := strict.TextField("url", &repo.URL, checkURL)
	address.Schema["pattern"] = "^(" + strings.Join(Schemes(), "|") + ")://"
	return append([]strict.Field{
		address.Describe("where the backups live: file:///absolute/folder, or an address with another scheme"),
	}, secretFields(&repo.SecretSource, "password", "the password", nil)...)
}

func checkURL(s string) (wrong, hint string) {
	if wrong, hint := strict.NotEmpty(s); wrong != "" {
		return wrong, hint
	}
	if strings.HasPrefix(s, "/") {
		return fmt.Sprintf("must be an address, not %q", strict.Shown(s)), fmt.Sprintf("did you mean %q?", "file://"+s)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return "must be an address with a scheme", "such as file:///var/lib/backstay/repository"
	}
	if !slices.Contains(Schemes(), scheme) {
		return fmt.Sprintf("has the unknown scheme %q", strict.Shown(scheme)), strict.NearestHint(scheme, Schemes(), "schemes")
	}
	u, err := url.Parse(s)
	if err != nil {
		return "is not an address", "write a space as %20 and a percent sign as %25"
	}
	if _, has := u.User.Password(); has {
		return "holds a password", "take it out of the address: addresses are shown in messages and logs"
	}
	if scheme != "file" {
		return "", ""
	}
	switch {
	case u.Host != "":
		return fmt.Sprintf("must have three slashes for a folder, not %q", strict.Shown(s)), fmt.Sprintf("did you mean %q?", "file:///"+rest)
	case u.RawQuery != "" || u.Fragment != "":
		return "holds ? or #", "write them as %3F and %23 in the name of a folder"
	}
	wrong, hint = strict.Absolute(u.Path)
	return wrong, hint
}

// webAddress is where an application answers.
func webAddress(s string) (wrong, hint string) {
	if s == "" {
		return "", ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return fmt.Sprintf("must be a web address, not %q", strict.Shown(s)), "such as https://desk.example.org/"
	case u.User != nil:
		return "holds a name or password", "take it out of the address: addresses are shown in messages and logs"
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Sprintf("must not hold ? or #, as %q does", strict.Shown(s)), "give the address of the application's first page"
	}
	return "", ""
}

func restoreFields(restore *Restore) []strict.Field {
	return []strict.Field{
		strict.DurationField("keep", &restore.Keep).Describe("how long what a restore replaced is kept for backstay undo: 7d, 36h, 1w2d; 0: not at all; 7d when not given"),
		strict.BoolField("safety_backup", &restore.SafetyBackup).Describe("back the app up before a restore replaces its data; true when not given"),
	}
}

func databaseFields(db *Database) []strict.Field {
	fields := []strict.Field{
		strict.TextField("host", &db.Host, nil).Describe("the server's name or address"),
		strict.NumberField("port", &db.Port, 1, 65535).Describe("the server's port; 3306 when not given"),
		strict.PathField("socket", &db.Socket, true).Describe("the server's socket, in place of host and port"),
		strict.TextField("user", &db.User, strict.NotEmpty).Describe("the account to read and restore with"),
	}
	fields = append(fields, secretFields(&db.SecretSource, "password", "the password", nil)...)
	return append(fields,
		strict.TextField("name", &db.Name, strict.NotEmpty).Describe("the database"),
		strict.TextField("prefix", &db.Prefix, nil).Describe("only tables whose name begins so belong to the app"),
		strict.SectionField("tls", []strict.Field{
			strict.OneOf("mode", &db.TLS.Mode, "modes", "", "preferred", "required", "verify-ca", "verify-full").Describe("how the connection is protected"),
			strict.PathField("ca", &db.TLS.CA, true).Describe("PEM file with the authorities to trust; the system's when not given"),
		}, nil).Describe("encryption of the connection"),
		strict.NumberField("connections", &db.Connections, 1, 64).Describe("how many connections read at once"),
	)
}

func checkDatabase(db *Database) func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
	return func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
		oneSecret(r, own, at, "password", "the password", "")
		socketAt, given := at["socket"]
		if given && db.Socket != "" && db.Host != "" && db.Host != "localhost" {
			r.Problem(socketAt, "keep host and port, or socket", "%q and %q are both given", "host", "socket")
		}
	}
}

// filesField reads `files`: entries of `defaults` stay in front.
func filesField(into *[]Files) strict.Field {
	one := func(f *Files) []strict.Field {
		return []strict.Field{
			strict.PathField("path", &f.Path, false).Describe("a folder or file, absolute"),
			strict.ListField("exclude", &f.Exclude, false, glob).Describe("globs relative to path"),
		}
	}
	return strict.Field{
		Key: "files",
		Nested: func() map[string]any {
			s := strict.ObjectSchema(one(&Files{}))
			s["required"] = []string{"path"}
			return map[string]any{"type": "array", "items": s}
		},
		Read: func(r *strict.Reader, _ strict.Position, n ast.Node) {
			list := slices.Clone(*into)
			for _, item := range r.Items(n, "files") {
				var f Files
				at, ok := r.Section(item, "files", one(&f))
				itemAt := r.StartOf(item)
				if _, given := at["path"]; ok && !given {
					r.Problem(itemAt, "add path: with an absolute path", "an entry of %q has no %q", "files", "path")
				}
				if f.Path == "" {
					continue
				}
				if slices.ContainsFunc(list, func(g Files) bool { return g.Path == f.Path }) {
					r.Problem(at["path"], "keep one of the two", "the path %q is listed twice", strict.Shown(f.Path))
					continue
				}
				list = append(list, f)
			}
			*into = list
		},
	}
}
