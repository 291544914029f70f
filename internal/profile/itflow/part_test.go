package itflow

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

func TestPartly(t *testing.T) {
	for name, c := range map[string]struct {
		part profile.Part
		want []string // one part of each finding, in this order
	}{
		"a table with its folder":        {profile.Part{Database: true, Tables: []string{"files"}, Files: true, Paths: []string{"uploads/clients/7"}}, nil},
		"a table that names files":       {profile.Part{Database: true, Tables: []string{"files", "tags"}}, []string{"name files below uploads/clients, which stay"}},
		"two tables, two folders":        {profile.Part{Database: true, Tables: []string{"files", "expenses"}}, []string{"below uploads/clients, uploads/expenses"}},
		"a table that names none":        {profile.Part{Database: true, Tables: []string{"invoices"}}, nil},
		"the database":                   {profile.Part{Database: true}, []string{"--only database,files"}},
		"files":                          {profile.Part{Files: true}, []string{"and the rows stay as they are"}},
		"one folder":                     {profile.Part{Files: true, Paths: []string{"uploads/clients/7/x"}}, []string{"and the rows stay as they are"}},
		"a file that no row names":       {profile.Part{Files: true, Paths: []string{"agent/custom/x.php"}}, nil},
		"everything but code":            {profile.Part{Database: true, Files: true, Config: true}, nil},
		"credentials without their keys": {profile.Part{Database: true, Tables: []string{"credentials"}}, []string{"--table credentials --table users"}},
		"credentials with their keys":    {profile.Part{Database: true, Tables: []string{"credentials", "users"}, Files: true, Paths: []string{"uploads/users"}}, nil},
		"a prefix is no table":           {profile.Part{Database: true, Tables: []string{"file"}}, nil},
	} {
		got := Profile{}.Partly(c.part)
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
			continue
		}
		for i, f := range got {
			if f.Kind != core.FindingFine || f.Name != profile.FindingDepends || !strings.Contains(f.Message+f.Hint, c.want[i]) {
				t.Errorf("%s: %+v, want %q", name, f, c.want[i])
			}
		}
	}
}
