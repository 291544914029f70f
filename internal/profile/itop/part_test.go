package itop

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
		"a table":             {profile.Part{Database: true, Tables: []string{"priv_user"}}, []string{"their other halves"}},
		"the database":        {profile.Part{Database: true}, []string{"the modules and customizations that it was made for stay"}},
		"files":               {profile.Part{Files: true}, []string{"the database stays as it is"}},
		"modules":             {profile.Part{Files: true, Paths: []string{"data/production-modules/x"}}, []string{"the database stays as it is"}},
		"some other file":     {profile.Part{Files: true, Paths: []string{"images/x"}}, nil},
		"the configuration":   {profile.Part{Config: true, Paths: []string{"conf/production/config-itop.php"}}, []string{"key of encrypted fields"}},
		"everything but code": {profile.Part{Database: true, Files: true, Config: true}, nil},
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
