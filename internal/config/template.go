package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
)

// Install is an application that was found on this machine.
type Install struct {
	Profile string // one of Profiles
	Root    string // absolute
	Name    string // what to call the app; "" or an invalid name: made from Root
	// Environment is iTop's; "": the profile's default.
	Environment string
	// Schedules and Retention are what the application's own settings say; none:
	// they are not written.
	Schedules []schedule.Spec
	Retention []retention.Policy
}

// Operations writes the schedules and the retention.
func (i Install) Operations() (string, error) {
	w := &entryWriter{}
	w.schedules(i.Schedules)
	w.retention(i.Retention)
	return strings.TrimRight(w.b.String(), "\n"), w.err
}

// TemplateInput is what a new configuration begins with.
type TemplateInput struct {
	RepositoryURL string
	KeyFile       string // absolute
	StateDir      string // absolute; "" for the default of the user who runs this
	Installs      []Install
}

// Template returns a commented configuration, which Parse accepts. The apps
// get names that are valid and differ. It is an error when a path cannot be
// written in a configuration, which holds only UTF-8.
func Template(in TemplateInput) ([]byte, error) {
	if in.StateDir == "" {
		in.StateDir = DefaultStateDir()
	}
	for _, text := range append([]string{in.RepositoryURL, in.KeyFile, in.StateDir}, roots(in.Installs)...) {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return nil, &core.Error{
				Code: core.CodeConfig, Op: "write the configuration",
				Message: "the path " + strconv.QuoteToASCII(text) + " is not UTF-8 text",
				Hint:    "rename the folder, or leave it out with: backstay init --detect and other folders",
			}
		}
	}
	in.Installs = named(in.Installs)
	var out bytes.Buffer
	if err := configTemplate.Execute(&out, in); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return out.Bytes(), nil
}

func roots(installs []Install) []string {
	all := make([]string, len(installs))
	for i := range installs {
		all[i] = installs[i].Root
	}
	return all
}

// named returns the installs with names that are valid and unique.
func named(installs []Install) []Install {
	taken := map[string]bool{}
	out := make([]Install, len(installs))
	for i, install := range installs {
		name := appNameOf(install.Name)
		if name == "" {
			name = appNameOf(path.Base(install.Root))
		}
		if name == "" {
			name = install.Profile
		}
		unique := name
		for n := 2; taken[unique]; n++ {
			suffix := "-" + strconv.Itoa(n)
			unique = name[:min(len(name), 63-len(suffix))] + suffix
		}
		taken[unique] = true
		install.Name = unique
		out[i] = install
	}
	return out
}

// appNameOf makes a valid app name that resembles s, or "" when there is
// nothing to make one from.
func appNameOf(s string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(s) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-") && !unicode.IsMark(c):
			b.WriteByte('-')
		}
		if b.Len() == 63 {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}

// yamlText writes s as a scalar: plain where that cannot be misread, else in
// double quotes, for which JSON's form is valid YAML.
func yamlText(s string) (string, error) {
	plain := s != "" && (s[0] == '/' || s[0] >= 'a' && s[0] <= 'z')
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("/._-:", c)) {
			plain = false
		}
	}
	// A word by itself can be true, null or a number; a path or address cannot.
	if plain && strings.Contains(s, "/") && !strings.HasSuffix(s, ":") {
		return s, nil
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

var configTemplate = template.Must(template.New("backstay.yaml").Funcs(template.FuncMap{"yaml": yamlText}).Parse(
	`# backstay: what is backed up, and where to. Check it with: backstay doctor

repository:
  # Where the backups live. Another disk or machine than the application's is
  # better: a backup beside it is lost with it.
  url: {{yaml .RepositoryURL}}
  # The key that the backups are encrypted with. Without it nobody can read
  # them, you neither: keep a copy in another place.
  password_file: {{yaml .KeyFile}}

# Locks, caches and the history of runs.
state_dir: {{yaml .StateDir}}

# What holds for every app that does not say otherwise.
#defaults:
#  exclude: ["**/*.tmp"]

{{if .Installs -}}
apps:
{{- range .Installs}}
  - name: {{printf "%q" .Name}}
    profile: {{.Profile}}
    root: {{yaml .Root}}
{{- if .Environment}}
    environment: {{printf "%q" .Environment}}
{{- end}}
{{- with .Operations}}
    # As the application's own settings had it; write schedule: {from_app: true}
    # and retention: {from_app: true} to go on following them.
{{.}}
{{- end}}
    # The database is found in the application's own configuration. A field
    # given here wins, such as an account with more privileges:
    #database: {user: backup, password_file: /etc/backstay/{{.Name}}.password}
    # readonly makes the application read-only during the backup.
    #consistency: online
{{- end}}
{{- else -}}
# Find installs of iTop and ITFlow with: backstay detect
apps: []
#  - name: helpdesk
#    profile: itop                # or itflow
#    root: /var/www/itop
#  - name: wiki
#    profile: generic             # any application on MySQL or MariaDB
#    database: {host: 127.0.0.1, user: wiki, password_file: /etc/backstay/wiki.password, name: wiki}
#    files:
#      - {path: /var/www/wiki/images, exclude: ["thumb/**"]}
#    config: [/var/www/wiki/LocalSettings.php]
{{- end}}
`))
