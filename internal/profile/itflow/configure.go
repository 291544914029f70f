package itflow

import (
	"context"
	"net"
	"net/url"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

// Configure edits the variables of config.php. For a copy the file can say
// nothing that Quiet does not.
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
	if c.URL != "" {
		if err := profile.CheckURL(c.URL); err != nil {
			return nil, nil, err
		}
		scheme, rest, _ := strings.Cut(c.URL, "://")
		list = append(list, e.text("config_base_url", "", strings.TrimRight(rest, "/")))
		if scheme == "http" { // ITFlow lets nobody log in without https unless told
			list = append(list, e.truth("config_https_only", false))
		}
	}
	return profile.ChangeSettings(ctx, content, c.Path, list)
}

type editor struct {
	profile Profile
	c       profile.Configuration
}

func (e editor) read(ctx context.Context, content []byte, name, yaml string) (string, bool, error) {
	parsed, err := phpconf.Parse(content)
	if err != nil {
		return "", false, err
	}
	s := &settings{profile: e.profile, app: profile.App{Name: e.c.App, Root: e.c.Root}, path: e.c.Path, parsed: parsed, source: content}
	text, err := s.text(ctx, name, yaml)
	_, ok := parsed.Variable(name)
	return text, ok, err
}

func (e editor) setting(name, yaml string, value phpconf.Value) profile.Setting {
	return profile.Setting{
		Assignment: phpconf.Assignment{Variable: name, Value: value}, Name: "$" + name, YAML: yaml,
		Reads: func(ctx context.Context, content []byte) (string, bool, error) {
			return e.read(ctx, content, name, yaml)
		},
		Otherwise: "it came out differently",
	}
}

func (e editor) text(name, yaml, value string) profile.Setting {
	s := e.setting(name, yaml, phpconf.Text(value))
	s.Is = func(text string, ok bool) bool { return ok && text == value }
	return s
}

func (e editor) truth(name string, value bool) profile.Setting {
	s := e.setting(name, "", phpconf.Truth(value))
	s.Is = func(text string, ok bool) bool { return ok && (text != "" && text != "0") == value }
	return s
}

func (e editor) database(ctx context.Context, content []byte) ([]profile.Setting, error) {
	to := *e.c.Database
	current, _, err := e.read(ctx, content, "dbhost", "host")
	if err != nil {
		current = ""
	}
	hostText, err := profile.HostText(to, current)
	if err != nil {
		return nil, err
	}
	host := e.text("dbhost", "host", hostText)
	host.Is = profile.LeadsTo(to, hostText, e.profile.Sockets)
	password := e.text("dbpassword", "password_file", to.Password.Reveal())
	password.Secret = true
	return []profile.Setting{host, e.text("dbusername", "user", to.User), password, e.text("database", "name", to.Name)}, nil
}

// URL is $config_base_url, which has no scheme: https, unless ITFlow lets people
// log in without.
func (Profile) URL(app profile.App, found *core.Application) string {
	if app.URL != "" {
		return app.URL
	}
	if found == nil || found.Settings[SettingURL] == "" {
		return ""
	}
	scheme := "https"
	if found.Settings[SettingHTTPS] == "0" {
		scheme = "http"
	}
	address := scheme + "://" + strings.TrimRight(found.Settings[SettingURL], "/") + "/"
	if u, err := url.Parse(address); err != nil || u.Hostname() == "" || net.ParseIP(u.Hostname()).IsUnspecified() || profile.CheckURL(address) != nil {
		return ""
	}
	return address
}

// Quiet switches off what ITFlow does by itself: its cron, mail in and out,
// invoices, card payments and reports to its makers. It has no table prefix.
func (Profile) Quiet(prefix string) []profile.Statement {
	settings := prefix + "settings"
	off := func(column, does string) profile.Statement { return profile.Set(settings, does, column, "0") }
	held := profile.Set(prefix+"email_queue", "hold the mail that waits to be sent, as failed", "email_status", "2", "email_attempts", "99")
	// What was sent stays so (3): only what is queued, being sent or to be tried again.
	held.SQL = "UPDATE " + profile.QuoteName(held.Table) + " SET `email_status` = 2, `email_attempts` = 99 WHERE `email_status` < 3 AND NOT (`email_status` = 2 AND `email_attempts` = 99)"
	return []profile.Statement{
		off("config_enable_cron", "switch off ITFlow's cron"),
		profile.Set(prefix+"cron_jobs", "switch off its jobs one by one", "cron_job_enabled", "0", "cron_job_run_now", "0"),
		held,
		profile.Set(settings, "forget the mail server for sending", "config_smtp_host", "NULL"),
		profile.Set(settings, "forget which mail service sends", "config_smtp_provider", "NULL"),
		off("config_ticket_email_parse", "stop reading the support mailbox"),
		profile.Set(settings, "forget the mailbox's server", "config_imap_host", "NULL"),
		profile.Set(settings, "forget which mail service is read", "config_imap_provider", "NULL"),
		off("config_recurring_auto_send_invoice", "stop sending recurring invoices"),
		off("config_send_invoice_reminders", "stop sending reminders of invoices"),
		profile.Set(prefix+"recurring_invoices", "switch off recurring invoices", "recurring_invoice_status", "0"),
		profile.Set(prefix+"payment_providers", "switch off card payments", "payment_provider_active", "0"),
		off("config_stripe_enable", "switch off card payments"),
		off("config_telemetry", "stop reports to ITFlow's makers"),
	}
}
