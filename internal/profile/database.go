package profile

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
)

// usualSockets are where servers put their socket; PHP's own default is one of
// them, by distribution.
func usualSockets() []string {
	return []string{
		"/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/run/mysql/mysql.sock", "/tmp/mysql.sock",
	}
}

// Address is where a PHP application says its database server is.
type Address struct {
	Host string // "" or "localhost" in any case: the socket, as for mysqli
	Port int    // 0: not given
	// Socket is a path that was given in place of the port; "": not given.
	Socket string
}

// ParseAddress takes apart the forms that PHP applications write: "host",
// "host:port", "p:host" (persistent), "p:host:port", "localhost:/socket",
// "[::1]:port" and a bare IPv6 address.
func ParseAddress(s string) (Address, error) {
	text := strings.TrimSpace(s)
	if len(text) >= 2 && strings.EqualFold(text[:2], "p:") {
		text = text[2:]
	}
	host, port := text, ""
	switch {
	case strings.HasPrefix(text, "["):
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return Address{}, fmt.Errorf("%q has no closing ]", s)
		}
		host, port = text[1:end], strings.TrimPrefix(text[end+1:], ":")
	case strings.HasPrefix(text, "/"):
		return Address{Socket: text}, nil
	case strings.Contains(text, ":/"):
		host, socket, _ := strings.Cut(text, ":")
		return Address{Host: host, Socket: socket}, nil
	case strings.Count(text, ":") == 1:
		host, port, _ = strings.Cut(text, ":")
	}
	a := Address{Host: host}
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return Address{}, fmt.Errorf("%q has no valid port", s)
		}
		a.Port = n
	}
	return a, nil
}

// IsLocal says whether PHP connects over the socket.
func (a Address) IsLocal() bool { return a.Host == "" || strings.EqualFold(a.Host, "localhost") }

// Resolve fills in the server's place in source: what backstay.yaml gives wins,
// then what the application says. sockets are the places to look for the
// default socket, nil for the usual ones. It notes its choice when there was
// none to follow.
func Resolve(found *core.Application, source *core.DatabaseSource, a Address, given Database, sockets []string) {
	switch {
	case given.Socket != "":
		source.Host, source.Port, source.Socket = "", 0, given.Socket
	case given.Host != "" && !strings.EqualFold(given.Host, "localhost"):
		source.Host, source.Port, source.Socket = given.Host, given.Port, ""
	default:
		if given.Host != "" {
			a = Address{Host: given.Host}
		}
		if given.Port != 0 {
			a.Port = given.Port
		}
		resolveAddress(found, source, a, sockets)
	}
	override(&source.User, given.User)
	override(&source.Name, given.Name)
	override(&source.Prefix, given.Prefix)
	override(&source.TLS.Mode, given.TLS.Mode)
	override(&source.TLS.CA, given.TLS.CA)
	if !given.Password.Empty() {
		source.Password = given.Password
	}
}

func override(field *string, given string) {
	if given != "" {
		*field = given
	}
}

func resolveAddress(found *core.Application, source *core.DatabaseSource, a Address, sockets []string) {
	source.Host, source.Port, source.Socket = a.Host, a.Port, ""
	if a.Socket != "" {
		source.Host, source.Port, source.Socket = "", 0, a.Socket
		return
	}
	if !a.IsLocal() {
		return
	}
	if sockets == nil {
		sockets = usualSockets()
	}
	for _, s := range sockets {
		if info, err := os.Stat(s); err == nil && info.Mode()&os.ModeSocket != 0 {
			source.Host, source.Port, source.Socket = "", 0, s
			return
		}
	}
	source.Host = "127.0.0.1"
	Note(found, "the database is on localhost and no socket was found in the usual places, so it is reached over TCP at 127.0.0.1; "+
		"database: {socket: /path} in backstay.yaml gives the socket")
}

// CheckDatabase says what is missing to log in.
func CheckDatabase(app App, source *core.DatabaseSource) error {
	missing := ""
	switch {
	case source.Name == "":
		missing = "name"
	case source.User == "":
		missing = "user"
	default:
		return nil
	}
	return &core.Error{
		Code: core.CodeConfig, Op: "find the database of app " + app.Name, Message: "the database's " + missing + " is not known",
		Hint: fmt.Sprintf("write database: {%s: …} for app %s in backstay.yaml", missing, app.Name),
	}
}

// Complete finishes source from what a configuration file says of the server,
// and checks it. host is in one of the forms of ParseAddress; path and setting
// say where it was read.
func Complete(found *core.Application, app App, source *core.DatabaseSource, host, path, setting string, sockets []string) error {
	address, err := ParseAddress(host)
	if err != nil {
		return &core.Error{
			Code: core.CodeApplication, Op: "read " + path, Message: fmt.Sprintf("the setting %s is not understood", setting), Err: err,
			Hint: fmt.Sprintf("write database: {host: …, port: …} for app %s in backstay.yaml", app.Name),
		}
	}
	Resolve(found, source, address, app.Database, sockets)
	if err := CheckDatabase(app, source); err != nil {
		var e *core.Error
		if errors.As(err, &e) {
			e.Op = "read " + path
		}
		return err
	}
	return nil
}

// Unreadable is the error for a setting that could not be read from a PHP file.
// yaml is the key below database: that gives it instead; "": there is none.
func Unreadable(path, app, setting, yaml string, v phpconf.Value, cause error) error {
	message := fmt.Sprintf("the setting %s could not be read", setting)
	if v.Line() > 0 {
		message += fmt.Sprintf(" (line %d", v.Line())
		if v.Why() != "" {
			message += ": " + v.Why()
		}
		message += ")"
	}
	hint := "write it as a plain string in " + path
	if yaml != "" {
		hint = fmt.Sprintf("write database: {%s: …} for app %s in backstay.yaml, or the setting as a plain string", yaml, app)
	}
	return &core.Error{Code: core.CodeApplication, Op: "read " + path, Message: message, Err: cause, Hint: hint}
}
