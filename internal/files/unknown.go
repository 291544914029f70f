package files

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// UnknownOwner is a user or group of a backup that this machine does not have
// by name. What belonged to it gets the number that it had on the other one.
type UnknownOwner struct {
	Kind string // "user" or "group"
	Name string
	ID   int    // on the machine of origin
	Here string // whose number that is on this machine, "" for nobody's
}

// UnknownOwners lists those of a manifest, users first, by number. The
// superuser is the same everywhere.
func UnknownOwners(names core.Owners) []UnknownOwner {
	var out []UnknownOwner
	look := func(kind string, names map[string]string, known func(name string) bool, named func(id string) string) {
		first := len(out)
		for id, name := range names {
			n, err := strconv.Atoi(id)
			if err == nil && n != 0 && name != "" && !known(name) {
				out = append(out, UnknownOwner{Kind: kind, Name: name, ID: n, Here: named(id)})
			}
		}
		slices.SortFunc(out[first:], func(a, b UnknownOwner) int { return a.ID - b.ID })
	}
	look("user", names.Users, func(name string) bool { _, err := user.Lookup(name); return err == nil }, func(id string) string {
		if u, err := user.LookupId(id); err == nil {
			return u.Username
		}
		return ""
	})
	look("group", names.Groups, func(name string) bool { _, err := user.LookupGroup(name); return err == nil }, func(id string) string {
		if g, err := user.LookupGroupId(id); err == nil {
			return g.Name
		}
		return ""
	})
	return out
}

// String says what is so and what it means, in a sentence without a full stop.
func (o UnknownOwner) String() string {
	text := fmt.Sprintf("there is no %s %s here: what belonged to it gets the number %d", o.Kind, o.Name, o.ID)
	if o.Here != "" {
		text += fmt.Sprintf(", which is %s %s here", o.Kind, o.Here)
	}
	return text + "; make the " + o.Kind + " first, or change it afterwards"
}

// Command is the line, for root, that gives what lies in the folders with its
// number to its name, once this machine has that. "" without folders.
func (o UnknownOwner) Command(dirs []string) string {
	if len(dirs) == 0 {
		return ""
	}
	quoted := make([]string, len(dirs))
	for i, d := range dirs {
		quoted[i] = ShellQuote(d)
	}
	test, change := "-uid", "chown -h"
	if o.Kind == "group" {
		test, change = "-gid", "chgrp -h"
	}
	return fmt.Sprintf("find %s -xdev %s %d -exec %s %s {} +", strings.Join(quoted, " "), test, o.ID, change, ShellQuote(o.Name))
}
