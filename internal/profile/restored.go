package profile

import "strings"

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

// ShellQuote returns text as one word of a shell command line.
func ShellQuote(text string) string {
	plain := text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@,") == ""
	if plain {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
