package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Entry returns the app as an entry of `apps:`, indented as such, which Parse
// reads back. Passwords are never in it: one that is written in the
// configuration itself is left out, with a remark. Hooks, checks, destinations
// and the settings of restores and exports are left out too.
func (a App) Entry() (string, error) {
	w := &entryWriter{}
	w.line("  - name: " + strconv.Quote(a.Name))
	w.line("    profile: " + a.Profile)
	w.text("    root: ", a.Root)
	w.text("    environment: ", a.Environment)
	w.text("    url: ", a.URL)
	w.database(a.Database)
	if len(a.Files) > 0 {
		w.line("    files:")
	}
	for _, f := range a.Files {
		w.text("      - path: ", f.Path)
		w.list("        exclude: ", f.Exclude)
	}
	w.list("    config: ", a.Config)
	w.list("    exclude: ", a.Exclude)
	if a.Consistency == Readonly {
		w.line("    consistency: readonly")
	}
	w.schedules(a.Schedules)
	w.retention(a.Retention)
	return w.b.String(), w.err
}

// Standalone returns a configuration of its own, with its repository, state
// folder and apps, which Parse accepts.
func (c Config) Standalone() ([]byte, error) {
	w := &entryWriter{}
	w.line("# backstay: what is backed up, and where to. Check it with: backstay doctor")
	w.line("")
	w.line("repository:")
	w.text("  url: ", c.Repository.URL)
	w.secret("  ", c.Repository.SecretSource)
	w.text("state_dir: ", c.StateDir)
	w.line("")
	w.line("apps:")
	for _, a := range c.Apps {
		entry, err := a.Entry()
		if err != nil {
			return nil, err
		}
		w.b.WriteString(entry)
	}
	return []byte(w.b.String()), w.err
}

type entryWriter struct {
	b   strings.Builder
	err error
}

func (w *entryWriter) line(s string) { w.b.WriteString(s + "\n") }

// text writes a value unless it is empty.
func (w *entryWriter) text(key, value string) {
	if value == "" {
		return
	}
	text, err := yamlText(value)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("write the configuration: %w", err)
	}
	w.line(key + text)
}

func (w *entryWriter) list(key string, values []string) {
	if len(values) == 0 {
		return
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		text, err := yamlText(v)
		if err != nil && w.err == nil {
			w.err = fmt.Errorf("write the configuration: %w", err)
		}
		if strings.ContainsAny(text, ",[]{}") && !strings.HasPrefix(text, `"`) {
			text = strconv.Quote(v)
		}
		quoted[i] = text
	}
	w.line(key + "[" + strings.Join(quoted, ", ") + "]")
}

func (w *entryWriter) secret(indent string, s SecretSource) {
	switch {
	case s.PasswordFile != "":
		w.text(indent+"password_file: ", s.PasswordFile)
	case s.PasswordEnv != "":
		w.line(indent + "password_env: " + s.PasswordEnv)
	case !s.Password.Empty():
		w.line(indent + "# password_file: a file that holds the password and that only its owner can read")
	}
}

func (w *entryWriter) database(d Database) {
	if !d.Given() {
		return
	}
	w.line("    database:")
	w.text("      host: ", d.Host)
	if d.Port != 0 {
		w.line("      port: " + strconv.Itoa(d.Port))
	}
	w.text("      socket: ", d.Socket)
	w.text("      user: ", d.User)
	w.secret("      ", d.SecretSource)
	w.text("      name: ", d.Name)
	w.text("      prefix: ", d.Prefix)
	if d.TLS.Mode != "" || d.TLS.CA != "" {
		w.line("      tls:")
		w.text("        mode: ", d.TLS.Mode)
		w.text("        ca: ", d.TLS.CA)
	}
	if d.Connections != 0 {
		w.line("      connections: " + strconv.Itoa(d.Connections))
	}
}
