package profile

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
)

// SameServer says whether the two are the same place of a server, as far as
// their names tell.
func SameServer(a, b core.DatabaseSource) bool {
	if SocketOf(a) != "" || SocketOf(b) != "" {
		return SocketOf(a) == SocketOf(b)
	}
	return hostOf(a) == hostOf(b) && portOf(a) == portOf(b)
}

// SocketOf is the socket by which a is reached, "" when it is over TCP.
func SocketOf(a core.DatabaseSource) string {
	if a.Host == "" || strings.EqualFold(a.Host, "localhost") {
		return a.Socket
	}
	return ""
}

func hostOf(a core.DatabaseSource) string {
	host := strings.ToLower(a.Host)
	if host == "" || host == "localhost" || host == "::1" {
		return "127.0.0.1"
	}
	return host
}

func portOf(a core.DatabaseSource) int {
	if a.Port == 0 {
		return 3306
	}
	return a.Port
}

// LeadsTo returns whether a host setting of a PHP application means to's place;
// hostText is how HostText writes it. sockets are as for Resolve.
func LeadsTo(to core.DatabaseSource, hostText string, sockets []string) func(text string, ok bool) bool {
	return func(text string, ok bool) bool {
		a, err := ParseAddress(text)
		if !ok || err != nil {
			return false
		}
		var is core.DatabaseSource
		Resolve(&core.Application{}, &is, a, Database{}, sockets)
		return SameServer(is, to) || text == hostText
	}
}

// HostText is how a PHP application says where to is: "host", "host:port" or,
// for the socket, "localhost"; persistent, as "p:host", when current is so. An
// IPv6 address is an error: mysqli would take it apart at its colons.
func HostText(to core.DatabaseSource, current string) (string, error) {
	text := "localhost"
	if SocketOf(to) == "" {
		text = to.Host
		if text == "" || strings.EqualFold(text, "localhost") {
			text = "127.0.0.1"
		}
		if strings.Contains(text, ":") {
			return "", &core.Error{
				Code: core.CodeApplication, Op: "write the database's address", Message: "the application cannot be given the IPv6 address " + text,
				Hint: "give the server a name, in DNS or /etc/hosts, and use that",
			}
		}
		if portOf(to) != 3306 {
			text += ":" + strconv.Itoa(to.Port)
		}
	}
	if current = strings.TrimSpace(current); len(current) >= 2 && strings.EqualFold(current[:2], "p:") {
		text = current[:2] + text
	}
	return text, nil
}

// Where is the place of a server, for messages.
func Where(a core.DatabaseSource) string {
	if s := SocketOf(a); s != "" {
		return s
	}
	return hostOf(a) + ":" + strconv.Itoa(portOf(a))
}

// CheckURL says what is wrong with text as the address of an application.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return &core.Error{
			Code: core.CodeUsage, Op: "read the application's address", Message: fmt.Sprintf("%q is not one", text), Hint: "give it as https://host/path",
		}
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return &core.Error{
			Code: core.CodeUsage, Op: "read the application's address", Message: "it holds more than host and path", Hint: "give it as https://host/path",
		}
	}
	return nil
}

// Masked stands for a secret in a Change.
const Masked = "*****"

// Setting is one setting of a configuration file that is to have a value.
type Setting struct {
	Assignment phpconf.Assignment
	Name       string // for messages and Change
	YAML       string // the key of database: in backstay.yaml that it belongs to; "": none
	Secret     bool
	// Reads returns what the application makes of the setting, by the file that
	// Change was given; ok is false when it is not set.
	Reads func(ctx context.Context, content []byte) (text string, ok bool, err error)
	// Is says whether text means what the setting is to mean.
	Is func(text string, ok bool) bool
	// Otherwise is set when the value cannot be written so that the application
	// reads it back: why.
	Otherwise string
	// Stays is set when it is in the same words in the live file: where these are
	// not plain text, only the web server knows what they mean.
	Stays bool
}

// AsLive marks those settings that content and the live file have in the same
// words. live may be nil.
func AsLive(content, live []byte, settings []Setting) []Setting {
	if live == nil {
		return settings
	}
	a, err := phpconf.Parse(content)
	if err != nil {
		return settings
	}
	b, err := phpconf.Parse(live)
	if err != nil {
		return settings
	}
	for i, s := range settings {
		settings[i].Stays = a.Same(b, s.Assignment)
	}
	return settings
}

// ChangeSettings makes settings say what they are to say, in place. A setting
// that is not literal stays when it comes out right, and is an error when not:
// somebody meant it to come from elsewhere. path and op are for messages.
func ChangeSettings(ctx context.Context, content []byte, path string, settings []Setting) ([]byte, []Change, error) {
	parsed, err := phpconf.Parse(content)
	if err != nil {
		return nil, nil, at(path, err)
	}
	var changes []Change
	var assignments []phpconf.Assignment
	var looked []Setting
	for _, s := range settings {
		text, ok, err := s.Reads(ctx, content)
		literal, line, why := isLiteral(parsed, s.Assignment)
		if s.Stays && (!literal || err != nil) {
			continue
		}
		looked = append(looked, s)
		if err == nil && s.Is(text, ok) {
			continue
		}
		if !literal {
			return nil, nil, &core.Error{
				Code: core.CodeApplication, Op: "change " + path, Err: unless(ok, err), Hint: fmt.Sprintf("make what it reads say so, or write %s as a plain value in the file; then repeat", s.Name),
				Message: fmt.Sprintf("the setting %s (line %d) is not plain text (%s) and gives another value than it has to have here", s.Name, line, why),
			}
		}
		if err != nil {
			return nil, nil, err
		}
		change := Change{Setting: s.Name, From: text, To: s.Assignment.Value.Text()}
		if s.Assignment.Value.Kind() == phpconf.Bool {
			change.From, change.To = truth(text), truth(change.To)
		}
		if s.Secret {
			change.From, change.To = mask(change.From), mask(change.To)
		}
		changes = append(changes, change)
		assignments = append(assignments, s.Assignment)
	}
	if len(changes) == 0 {
		return content, nil, nil
	}
	out, err := phpconf.Edit(content, assignments)
	if err != nil {
		return nil, nil, at(path, err)
	}
	for _, s := range looked {
		text, ok, err := s.Reads(ctx, out)
		if err != nil {
			return nil, nil, err
		}
		if !s.Is(text, ok) {
			return nil, nil, &core.Error{
				Code: core.CodeApplication, Op: "change " + path, Message: fmt.Sprintf("the application would not read the setting %s as it has to be: %s", s.Name, s.Otherwise),
				Hint: "choose another value for it",
			}
		}
	}
	return out, changes, nil
}

func unless(ok bool, err error) error {
	if ok && err == nil {
		return nil
	}
	return err
}

func mask(text string) string {
	if text == "" {
		return ""
	}
	return Masked
}

func truth(text string) string {
	if text == "" || text == "0" {
		return "false"
	}
	return "true"
}

// at puts the file's path where phpconf only knows that there is a file.
func at(path string, err error) error {
	var e *core.Error
	if errors.As(err, &e) {
		e.Op = "change " + path
	}
	return err
}

// isLiteral says whether the setting is plain text in the file, or not in it.
func isLiteral(f *phpconf.File, a phpconf.Assignment) (literal bool, line int, why string) {
	v, ok := f.Variable(a.Variable)
	for _, k := range a.Keys {
		if !ok || !v.IsLiteral() {
			break
		}
		v, ok = v.Get(k)
	}
	if ok && !v.IsLiteral() {
		return false, v.Line(), v.Why()
	}
	return true, 0, ""
}
