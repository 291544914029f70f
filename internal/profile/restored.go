package profile

import (
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// Restored is what a profile is told of a restore that has ended, or one that
// is being planned.
type Restored struct {
	App      App               // as backstay.yaml has it
	Root     string            // the app's folder, as it is now
	Code     bool              // the code was restored
	Files    bool              // what users put in was restored
	Database bool              // the database was restored
	Prefix   string            // of its tables
	Versions map[string]string // of the backup
	Settings map[string]string // of the backup
}

// AsOwner returns command as it must be typed in a shell by the user of this
// process, so that it runs as whoever owns path: what an application's own
// scripts write belongs to the web server's user. When the owner cannot be
// found out, it is command alone.
func AsOwner(path, command string) string {
	info, err := os.Stat(path)
	if err != nil {
		return command
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return command
	}
	id := strconv.Itoa(int(owner.Uid))
	found, err := user.LookupId(id)
	switch {
	case err != nil:
		return "sudo -u " + ShellQuote("#"+id) + " " + command
	case os.Geteuid() == 0:
		return "runuser -u " + ShellQuote(found.Username) + " -- " + command
	default:
		return "sudo -u " + ShellQuote(found.Username) + " " + command
	}
}

// ShellQuote returns text as one word of a shell command line.
func ShellQuote(text string) string {
	plain := text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@,") == ""
	if plain {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
