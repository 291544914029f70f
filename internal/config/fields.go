package config

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/bmatcuk/doublestar/v4"
	"github.com/goccy/go-yaml/ast"
)

// field is one key of a mapping: how its value is read and what the JSON
// schema says of it.
type field struct {
	key    string
	doc    string
	schema map[string]any
	read   func(r *reader, at position, n ast.Node)
}

func (f field) describe(doc string) field {
	f.doc = doc
	return f
}

// section reads a mapping into fields. It returns where each of its own keys
// stands, and whether it was a mapping.
func (r *reader) section(n ast.Node, what string, fields []field) (map[string]position, bool) {
	entries, ok := r.entries(n, what)
	at := make(map[string]position, len(entries))
	for _, e := range entries {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == e.key })
		if i < 0 {
			keys := make([]string, len(fields))
			for j := range fields {
				keys[j] = fields[j].key
			}
			r.problem(e.at, nearestHint(e.key, keys, "keys here"), "%s has no key %q", sectionName(what), shown(e.key))
			continue
		}
		at[e.key] = e.at
		fields[i].read(r, e.at, e.value)
	}
	return at, ok
}

func sectionName(what string) string {
	if what == "" {
		return "the configuration"
	}
	return fmt.Sprintf("%q", what)
}

// textField is any text, checked by check, which returns what is wrong with it
// and a hint. An empty text is right where check allows it.
func textField(key string, into *string, check func(string) (wrong, hint string)) field {
	return field{
		key: key, schema: map[string]any{"type": "string"},
		read: func(r *reader, _ position, n ast.Node) {
			s, ok := r.text(n, key)
			if !ok {
				return
			}
			if check != nil {
				if wrong, hint := check(s); wrong != "" {
					r.problem(positionOf(n.GetToken()), hint, "%q %s", key, wrong)
					return
				}
			}
			*into = s
		},
	}
}

func notEmpty(s string) (wrong, hint string) {
	if strings.TrimSpace(s) == "" {
		return "is empty", "give it a value, or remove the key"
	}
	return "", ""
}

func absolute(s string) (wrong, hint string) {
	switch {
	case s == "":
		return notEmpty(s)
	case strings.HasPrefix(s, "~"):
		return fmt.Sprintf("must be an absolute path, not %q", shown(s)), "write the home folder out; ~ is not expanded here"
	case !path.IsAbs(s):
		return fmt.Sprintf("must be an absolute path, not %q", shown(s)), "begin it with /"
	case strings.ContainsRune(s, 0):
		return "holds a zero byte", ""
	case slices.Contains(strings.Split(s, "/"), ".."):
		return fmt.Sprintf("must not hold .., as %q does", shown(s)), fmt.Sprintf("did you mean %q?", path.Clean(s))
	}
	return "", ""
}

// pathField is an absolute path. It is stored without trailing and doubled
// slashes.
func pathField(key string, into *string, emptyAllowed bool) field {
	f := textField(key, into, func(s string) (string, string) {
		if s == "" && emptyAllowed {
			return "", ""
		}
		return absolute(s)
	})
	read := f.read
	f.read = func(r *reader, at position, n ast.Node) {
		read(r, at, n)
		if *into != "" {
			*into = path.Clean(*into)
		}
	}
	f.schema = map[string]any{"type": "string", "pattern": "^/"}
	if emptyAllowed {
		f.schema["pattern"] = "^(/|$)"
	}
	return f
}

func oneOf(key string, into *string, what string, values ...string) field {
	f := textField(key, into, func(s string) (string, string) {
		if slices.Contains(values, s) {
			return "", ""
		}
		shownValues := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
		return fmt.Sprintf("cannot be %q", shown(s)), nearestHint(s, shownValues, what)
	})
	f.schema = map[string]any{"enum": values}
	return f
}

func numberField(key string, into *int, low, high int) field {
	return field{
		key: key, schema: map[string]any{"type": "integer", "minimum": low, "maximum": high},
		read: func(r *reader, _ position, n ast.Node) {
			if v, ok := r.number(n, key, low, high); ok {
				*into = v
			}
		},
	}
}

// boolField is true or false.
func boolField(key string, into *bool) field {
	return field{
		key: key, schema: map[string]any{"type": "boolean"},
		read: func(r *reader, _ position, n ast.Node) {
			if v, ok := r.truth(n, key); ok {
				*into = v
			}
		},
	}
}

// notField is true where into is false.
func notField(key string, into *bool) field {
	f := boolField(key, into)
	f.read = func(r *reader, _ position, n ast.Node) {
		if v, ok := r.truth(n, key); ok {
			*into = !v
		}
	}
	return f
}

// maxDuration is ten years.
const maxDuration = 10 * 366 * 24 * time.Hour

var duration = regexp.MustCompile(`^(?:0|(?:[0-9]{1,6}[wdhm])+)$`)

var durationPart = regexp.MustCompile(`([0-9]+)([wdhm])`)

// parseDuration reads weeks, days, hours and minutes: "7d", "1w2d12h"; a day has
// 24 hours.
func parseDuration(s string) (d time.Duration, wrong, hint string) {
	if !duration.MatchString(s) {
		return 0, fmt.Sprintf("cannot be %q", shown(s)), "write a number with w, d, h or m: 7d, 36h, 1w2d; or 0"
	}
	units := map[string]time.Duration{"w": 7 * 24 * time.Hour, "d": 24 * time.Hour, "h": time.Hour, "m": time.Minute}
	for _, part := range durationPart.FindAllStringSubmatch(s, -1) {
		n, err := strconv.Atoi(part[1])
		if err != nil || n > int(maxDuration/time.Minute) || time.Duration(n) > (maxDuration-d)/units[part[2]] {
			return 0, fmt.Sprintf("cannot be %q", shown(s)), "ten years are the most"
		}
		d += time.Duration(n) * units[part[2]]
	}
	return d, "", ""
}

// durationField is a length of time as parseDuration reads it; the number 0 is
// none.
func durationField(key string, into *time.Duration) field {
	f := scalarField(key, func(s string) (wrong, hint string) {
		d, wrong, hint := parseDuration(s) // which refuses a number without a unit, but for 0
		if wrong == "" {
			*into = d
		}
		return wrong, hint
	})
	f.schema = map[string]any{"type": []string{"string", "integer"}, "pattern": duration.String(), "minimum": 0, "maximum": 0}
	return f
}

// scalarField is a text or a number, which parse is given as it is written and
// keeps where nothing is wrong with it.
func scalarField(key string, parse func(string) (wrong, hint string)) field {
	return field{
		key: key, schema: map[string]any{"type": []string{"string", "number"}},
		read: func(r *reader, _ position, n ast.Node) {
			v := r.resolve(n)
			if v == nil {
				return
			}
			s := ""
			switch v.(type) {
			case *ast.IntegerNode, *ast.FloatNode:
				s = strings.ReplaceAll(v.GetToken().Value, "_", "")
			default:
				text, ok := r.text(v, key)
				if !ok {
					return
				}
				s = text
			}
			if wrong, hint := parse(s); wrong != "" {
				r.problem(positionOf(n.GetToken()), hint, "%q %s", key, wrong)
			}
		},
	}
}

// listField is a list of texts, each checked by check. What `defaults` put
// into the list stays in front where add is true and goes where it is false.
func listField(key string, into *[]string, add bool, check func(string) (wrong, hint string)) field {
	return field{
		key: key, schema: map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
		read: func(r *reader, _ position, n ast.Node) {
			var list []string
			if add {
				list = slices.Clone(*into)
			}
			for _, item := range r.items(n, key) {
				s, ok := r.text(item, key)
				if !ok {
					continue
				}
				if wrong, hint := check(s); wrong != "" {
					r.problem(positionOf(item.GetToken()), hint, "an entry of %q %s", key, wrong)
					continue
				}
				if !add || !slices.Contains(list, s) {
					list = append(list, s)
				}
			}
			*into = list
		},
	}
}

func sectionField(key string, fields []field, check func(r *reader, own position, at map[string]position)) field {
	return field{
		key: key, schema: objectSchema(fields),
		read: func(r *reader, own position, n ast.Node) {
			if at, ok := r.section(n, key, fields); ok && check != nil {
				check(r, own, at)
			}
		},
	}
}

func glob(s string) (wrong, hint string) {
	switch {
	case s == "":
		return notEmpty(s)
	case strings.HasPrefix(s, "/"):
		return fmt.Sprintf("must be relative, not %q", shown(s)), "write it relative to the folder that it is for, without the / in front"
	case slices.Contains(strings.Split(s, "/"), ".."):
		return fmt.Sprintf("must not hold .., as %q does", shown(s)), "an exclusion lies below the folder that it is for"
	case !doublestar.ValidatePattern(s):
		return fmt.Sprintf("is not a pattern: %q", shown(s)), `* is anything in a name, ** crosses folders; a bracket itself is written \[`
	}
	return "", ""
}

// secretFields are the three ways to give a secret: key itself, key_file and
// key_env. Whichever is given replaces one inherited from `defaults`. what is
// said of the secret itself; check, which may be nil, is not to show it.
func secretFields(into *SecretSource, key, what string, check func(string) (wrong, hint string)) []field {
	var inline, file, env string
	if check == nil {
		check = notEmpty
	}
	own := textField(key, &inline, check)
	read := own.read
	own.read = func(r *reader, at position, n ast.Node) {
		read(r, at, n)
		if inline == "" {
			return
		}
		*into = SecretSource{Password: core.NewSecret(inline)}
		if r.inlineSecret == nil {
			r.inlineSecret = &at
		}
	}
	inFile := textField(key+"_file", &file, func(s string) (string, string) {
		if wrong, _ := absolute(s); wrong != "" {
			return "must be an absolute path", "give the path of the file that holds " + what + ", beginning with /"
		}
		return "", ""
	})
	inFile.schema["pattern"] = "^/"
	readFile := inFile.read
	inFile.read = func(r *reader, at position, n ast.Node) {
		if readFile(r, at, n); file != "" {
			*into = SecretSource{PasswordFile: path.Clean(file)}
		}
	}
	inEnv := textField(key+"_env", &env, func(s string) (string, string) {
		if !envName.MatchString(s) {
			// What stands there may be the secret itself: it is not shown.
			return "must be the name of an environment variable", "give the name, such as BACKSTAY_PASSWORD, not " + what
		}
		return "", ""
	})
	inEnv.schema["pattern"] = envName.String()
	readEnv := inEnv.read
	inEnv.read = func(r *reader, at position, n ast.Node) {
		if readEnv(r, at, n); env != "" {
			*into = SecretSource{PasswordEnv: env}
		}
	}
	return []field{
		own.describe(what + " itself; the configuration must then be readable by its owner only"),
		inFile.describe("a file that holds " + what + " and that only its owner can read"),
		inEnv.describe("the environment variable that holds " + what),
	}
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// oneSecret reports a second way to give the same secret, and with a hint that
// is not empty, that there is none.
func oneSecret(r *reader, own position, at map[string]position, key, what, missing string) {
	var given []string
	for _, k := range []string{key, key + "_file", key + "_env"} {
		if _, ok := at[k]; ok {
			given = append(given, k)
		}
	}
	slices.SortFunc(given, func(a, b string) int {
		if at[a].line != at[b].line {
			return at[a].line - at[b].line
		}
		return at[a].column - at[b].column
	})
	if len(given) > 1 {
		r.problem(at[given[1]], "keep one of the two", "%s is given twice, by %q and by %q", what, given[0], given[1])
	}
	if len(given) == 0 && missing != "" {
		r.problem(own, missing, "%s is missing", what)
	}
}

func repositoryFields(repo *Repository) []field {
	address := textField("url", &repo.URL, checkURL)
	address.schema["pattern"] = "^(" + strings.Join(Schemes(), "|") + ")://"
	return append([]field{
		address.describe("where the backups live: file:///absolute/folder, or an address with another scheme"),
	}, secretFields(&repo.SecretSource, "password", "the password", nil)...)
}

func checkURL(s string) (wrong, hint string) {
	if wrong, hint := notEmpty(s); wrong != "" {
		return wrong, hint
	}
	if strings.HasPrefix(s, "/") {
		return fmt.Sprintf("must be an address, not %q", shown(s)), fmt.Sprintf("did you mean %q?", "file://"+s)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return "must be an address with a scheme", "such as file:///var/lib/backstay/repository"
	}
	if !slices.Contains(Schemes(), scheme) {
		return fmt.Sprintf("has the unknown scheme %q", shown(scheme)), nearestHint(scheme, Schemes(), "schemes")
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
		return fmt.Sprintf("must have three slashes for a folder, not %q", shown(s)), fmt.Sprintf("did you mean %q?", "file:///"+rest)
	case u.RawQuery != "" || u.Fragment != "":
		return "holds ? or #", "write them as %3F and %23 in the name of a folder"
	}
	wrong, hint = absolute(u.Path)
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
		return fmt.Sprintf("must be a web address, not %q", shown(s)), "such as https://desk.example.org/"
	case u.User != nil:
		return "holds a name or password", "take it out of the address: addresses are shown in messages and logs"
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Sprintf("must not hold ? or #, as %q does", shown(s)), "give the address of the application's first page"
	}
	return "", ""
}

func restoreFields(restore *Restore) []field {
	return []field{
		durationField("keep", &restore.Keep).describe("how long what a restore replaced is kept for backstay undo: 7d, 36h, 1w2d; 0: not at all; 7d when not given"),
		boolField("safety_backup", &restore.SafetyBackup).describe("back the app up before a restore replaces its data; true when not given"),
	}
}

func databaseFields(db *Database) []field {
	fields := []field{
		textField("host", &db.Host, nil).describe("the server's name or address"),
		numberField("port", &db.Port, 1, 65535).describe("the server's port; 3306 when not given"),
		pathField("socket", &db.Socket, true).describe("the server's socket, in place of host and port"),
		textField("user", &db.User, notEmpty).describe("the account to read and restore with"),
	}
	fields = append(fields, secretFields(&db.SecretSource, "password", "the password", nil)...)
	return append(fields,
		textField("name", &db.Name, notEmpty).describe("the database"),
		textField("prefix", &db.Prefix, nil).describe("only tables whose name begins so belong to the app"),
		sectionField("tls", []field{
			oneOf("mode", &db.TLS.Mode, "modes", "", "preferred", "required", "verify-ca", "verify-full").describe("how the connection is protected"),
			pathField("ca", &db.TLS.CA, true).describe("PEM file with the authorities to trust; the system's when not given"),
		}, nil).describe("encryption of the connection"),
		numberField("connections", &db.Connections, 1, 64).describe("how many connections read at once"),
	)
}

func checkDatabase(db *Database) func(r *reader, own position, at map[string]position) {
	return func(r *reader, own position, at map[string]position) {
		oneSecret(r, own, at, "password", "the password", "")
		socketAt, given := at["socket"]
		if given && db.Socket != "" && db.Host != "" && db.Host != "localhost" {
			r.problem(socketAt, "keep host and port, or socket", "%q and %q are both given", "host", "socket")
		}
	}
}

// filesField reads `files`: entries of `defaults` stay in front.
func filesField(into *[]Files) field {
	one := func(f *Files) []field {
		return []field{
			pathField("path", &f.Path, false).describe("a folder or file, absolute"),
			listField("exclude", &f.Exclude, false, glob).describe("globs relative to path"),
		}
	}
	return field{
		key: "files",
		schema: map[string]any{"type": "array", "items": func() map[string]any {
			s := objectSchema(one(&Files{}))
			s["required"] = []string{"path"}
			return s
		}()},
		read: func(r *reader, _ position, n ast.Node) {
			list := slices.Clone(*into)
			for _, item := range r.items(n, "files") {
				var f Files
				at, ok := r.section(item, "files", one(&f))
				itemAt := r.startOf(item)
				if _, given := at["path"]; ok && !given {
					r.problem(itemAt, "add path: with an absolute path", "an entry of %q has no %q", "files", "path")
				}
				if f.Path == "" {
					continue
				}
				if slices.ContainsFunc(list, func(g Files) bool { return g.Path == f.Path }) {
					r.problem(at["path"], "keep one of the two", "the path %q is listed twice", shown(f.Path))
					continue
				}
				list = append(list, f)
			}
			*into = list
		},
	}
}

// startOf returns where a mapping begins: its first key.
func (r *reader) startOf(n ast.Node) position {
	switch v := n.(type) {
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return positionOf(v.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return positionOf(v.Key.GetToken())
	}
	return positionOf(n.GetToken())
}
