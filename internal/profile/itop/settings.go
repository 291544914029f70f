package itop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

// settings gives the values of $MySettings and $MyModuleSettings the way iTop
// sees them (Config::Load and Config::Set): trimmed, and with placeholders
// replaced.
type settings struct {
	profile  Profile
	app      profile.App
	root     string
	path     string // of the configuration file
	parsed   *phpconf.File
	source   []byte        // what the file will hold; nil: what it holds
	asked    *phpconf.File // by PHP; nil: not asked yet
	askErr   error
	warnings []core.Warning
}

// value returns a setting; ok is false when it is not set or null.
func (s *settings) value(ctx context.Context, variable string, keys ...string) (v phpconf.Value, ok bool, err error) {
	v, ok = find(s.parsed, variable, keys)
	if ok && !v.IsLiteral() {
		asked, askErr := s.ask(ctx)
		if askErr != nil {
			return v, true, askErr
		}
		if v, ok = find(asked, variable, keys); ok && !v.IsLiteral() {
			return v, true, errors.New("PHP does not make it text or a number")
		}
	}
	return v, ok && v.Kind() != phpconf.Null, nil
}

// find goes down the keys; what is not literal on the way is the answer.
func find(f *phpconf.File, variable string, keys []string) (phpconf.Value, bool) {
	v, ok := f.Variable(variable)
	for _, k := range keys {
		if !ok || !v.IsLiteral() {
			break
		}
		v, ok = v.Get(k)
	}
	return v, ok
}

// ask has PHP evaluate the file, once.
func (s *settings) ask(ctx context.Context) (*phpconf.File, error) {
	if s.asked == nil && s.askErr == nil {
		s.asked, s.askErr = phpconf.AskPHP(ctx, phpconf.Question{
			File: s.path, Source: s.source, Variables: []string{"MySettings", "MyModuleSettings"}, PHP: s.profile.PHP, Env: s.profile.Env,
			// What iTop has defined when Config::Load evaluates the file, and
			// the folder of the class that does it.
			Constants: map[string]string{"APPROOT": s.root + "/", "APPCONF": s.root + "/conf/", "ITOP_APPLICATION": "iTop"},
			Dir:       filepath.Join(s.root, "core"),
		})
	}
	return s.asked, s.askErr
}

// text returns a setting as text. yaml is the key in backstay.yaml that can
// give it instead, "" for none.
func (s *settings) text(ctx context.Context, name, yaml string) (string, bool, error) {
	v, ok, err := s.value(ctx, "MySettings", name)
	if err != nil {
		return "", ok, s.unreadable(name, yaml, v, err)
	}
	if !ok {
		return "", false, nil
	}
	text := v.Text()
	if v.Kind() == phpconf.String {
		text = trim(text)
	}
	resolved, err := s.resolve(text)
	if err != nil {
		return "", true, s.unreadable(name, yaml, v, err)
	}
	return resolved, true, nil
}

// optional returns a setting that a backup can do without; a warning when it
// could not be read.
func (s *settings) optional(ctx context.Context, name, otherwise string) string {
	text, ok, err := s.text(ctx, name, "")
	if err != nil {
		s.warnings = append(s.warnings, core.Warning{Code: "setting", Object: s.path, Message: err.Error()})
		return otherwise
	}
	if !ok {
		return otherwise
	}
	return text
}

func (s *settings) unreadable(name, yaml string, v phpconf.Value, cause error) error {
	return profile.Unreadable(s.path, s.app.Name, name, yaml, v, cause)
}

// trim is PHP's trim().
func trim(s string) string { return strings.Trim(s, " \t\n\r\v\x00") }

// placeholder is the pattern of iTop's ConfigPlaceholdersResolver::Resolve:
// %env(X)%, %server(X)%, and with a value for when X is not set %env(X)?:v%.
var placeholder = regexp.MustCompile(`%(env|server)\((\w+)\)(?:\?:(\w*))?%`)

// resolve replaces placeholders. iTop does so only where its environment has
// ITOP_CONFIG_PLACEHOLDERS; backstay cannot see the web server's environment, so
// without that variable in its own a placeholder is an error, not text.
func (s *settings) resolve(text string) (string, error) {
	matches := placeholder.FindAllStringSubmatchIndex(text, -1)
	if matches == nil {
		return text, nil
	}
	if on := s.env("ITOP_CONFIG_PLACEHOLDERS"); on == nil || *on == "" || *on == "0" {
		return "", fmt.Errorf("it holds the placeholder %s, and ITOP_CONFIG_PLACEHOLDERS is not set in backstay's environment", text[matches[0][0]:matches[0][1]])
	}
	var out strings.Builder
	last := 0
	for _, m := range matches {
		out.WriteString(text[last:m[0]])
		last = m[1]
		switch name := text[m[4]:m[5]]; {
		case s.env(name) != nil:
			out.WriteString(*s.env(name))
		case m[6] >= 0:
			out.WriteString(text[m[6]:m[7]])
		default:
			return "", fmt.Errorf("it holds the placeholder %s, and %s is not set in backstay's environment", text[m[0]:m[1]], name)
		}
	}
	out.WriteString(text[last:])
	return out.String(), nil
}

// env returns an environment variable, nil when it is not set.
func (s *settings) env(name string) *string {
	if s.profile.Env == nil {
		if v, ok := os.LookupEnv(name); ok {
			return &v
		}
		return nil
	}
	for _, e := range s.profile.Env {
		if k, v, _ := strings.Cut(e, "="); k == name {
			return &v
		}
	}
	return nil
}
