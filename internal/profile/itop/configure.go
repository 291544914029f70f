package itop

import (
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

// Values that a copy has.
const (
	accessAdministrators = 2         // ACCESS_ADMIN_WRITE
	quietTransport       = "LogFile" // log/mail.log; "Null" is SMTP to this machine since iTop 3.1 (EmailLaminas)
)

// Configure edits $MySettings. A copy without an address of its own gets none:
// iTop then takes the one that it is asked under (utils::GetAbsoluteUrlAppRoot).
// A copy lets administrators write, writes its mail to log/mail.log, and gives
// cron no time to do anything (CronExec).
func (p Profile) Configure(ctx context.Context, content []byte, c profile.Configuration) ([]byte, []profile.Change, error) {
	e := editor{profile: p, c: c}
	var list []profile.Setting
	if c.Database != nil {
		more, err := e.database(ctx, content)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, profile.AsLive(content, c.Live, more)...)
	}
	switch {
	case c.URL != "":
		if err := profile.CheckURL(c.URL); err != nil {
			return nil, nil, err
		}
		list = append(list, e.text("app_root_url", "", strings.TrimRight(c.URL, "/")+"/"))
	case c.Quiet:
		list = append(list, e.text("app_root_url", "", ""))
	}
	if c.Quiet {
		list = append(list, e.number("access_mode", accessAdministrators), e.number("cron_max_execution_time", 0), e.text("email_transport", "", quietTransport))
	}
	return profile.ChangeSettings(ctx, content, c.Path, list)
}

type editor struct {
	profile Profile
	c       profile.Configuration
}

// read gives a setting as iTop would see it in the file with this content.
func (e editor) read(ctx context.Context, content []byte, name, yaml string) (string, bool, error) {
	parsed, err := phpconf.Parse(content)
	if err != nil {
		return "", false, err
	}
	s := &settings{
		profile: e.profile, app: profile.App{Name: e.c.App, Root: e.c.Root}, root: e.c.Root, path: e.c.Path, parsed: parsed, source: content,
	}
	return s.text(ctx, name, yaml)
}

func (e editor) setting(name, yaml string, value phpconf.Value) profile.Setting {
	return profile.Setting{
		Assignment: phpconf.Assignment{Variable: "MySettings", Keys: []string{name}, Value: value}, Name: name, YAML: yaml,
		Reads: func(ctx context.Context, content []byte) (string, bool, error) {
			return e.read(ctx, content, name, yaml)
		},
		Otherwise: "iTop cuts blanks off its ends, and takes %env(…)% and %server(…)% in it for placeholders",
	}
}

func (e editor) text(name, yaml, value string) profile.Setting {
	s := e.setting(name, yaml, phpconf.Text(value))
	s.Is = func(text string, ok bool) bool { return text == value && (ok || value == "") }
	return s
}

func (e editor) number(name string, value int64) profile.Setting {
	s := e.setting(name, "", phpconf.Number(value))
	s.Is = func(text string, ok bool) bool { return ok && text == fmt.Sprint(value) }
	return s
}

// truth is a boolean; what is not set is false.
func (e editor) truth(name, yaml string, value bool) profile.Setting {
	s := e.setting(name, yaml, phpconf.Truth(value))
	s.Is = func(text string, _ bool) bool { return (text != "" && text != "0") == value }
	return s
}

func (e editor) database(ctx context.Context, content []byte) ([]profile.Setting, error) {
	to := *e.c.Database
	// The form that is there decides whether the connection stays persistent.
	current, _, err := e.read(ctx, content, "db_host", "host")
	if err != nil {
		current = ""
	}
	hostText, err := profile.HostText(to, current)
	if err != nil {
		return nil, err
	}
	host := e.text("db_host", "host", hostText)
	host.Is = profile.LeadsTo(to, hostText, e.profile.Sockets)
	password := e.text("db_pwd", "password_file", to.Password.Reveal())
	password.Secret = true
	list := []profile.Setting{
		host, e.text("db_user", "user", to.User), password, e.text("db_name", "name", to.Name), e.text("db_subname", "prefix", to.Prefix),
	}
	if e.c.Live == nil && to.TLS.Mode == "" {
		return list, nil // nobody said how: it stays as it is, rather than in the clear
	}
	encrypted := to.TLS.Mode != "" && to.TLS.Mode != "off" && to.TLS.Mode != "preferred"
	list = append(list, e.truth("db_tls.enabled", "tls", encrypted))
	if encrypted {
		ca := ""
		if strings.HasPrefix(to.TLS.Mode, "verify") {
			ca = to.TLS.CA
		}
		list = append(list, e.text("db_tls.ca", "tls", ca))
	}
	return list, nil
}

// URL is app_root_url, unless the web server has to fill in its own name.
func (Profile) URL(app profile.App, found *core.Application) string {
	if app.URL != "" {
		return app.URL
	}
	if found == nil {
		return ""
	}
	url := found.Settings[SettingURL]
	if profile.CheckURL(url) != nil || strings.Contains(url, "$SERVER_NAME$") {
		return ""
	}
	return url
}

// Quiet switches off actions (mail, calls of other systems), background tasks
// and what waits to be sent.
func (Profile) Quiet(prefix string) []profile.Statement {
	tasks := profile.Set(prefix+"priv_backgroundtask", "pause iTop's background tasks (mailboxes, synchronization, escalation)", "status", "'paused'")
	return []profile.Statement{
		profile.Set(prefix+"priv_action", "disable the actions of triggers: notifications, mail, calls of other systems", "status", "'disabled'"),
		tasks,
		profile.Set(prefix+"priv_async_task", "hold what waits to be sent", "status", "'idle'"),
	}
}

func environmentOf(settings map[string]string) string {
	if e := settings[SettingEnvironment]; e != "" {
		return e
	}
	return defaultEnvironment
}
