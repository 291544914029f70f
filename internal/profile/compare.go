package profile

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// CompareVersions compares versions such as "3.2.1-1", "3.3.0-dev" and "2.6.10"
// by their parts: numbers by value, a word below any number, and what is
// missing below a number and above a word. Two words are equal: nobody knows
// their order.
func CompareVersions(a, b string) int {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == '.' || r == '-' || r == '_' || r == '+' })
	}
	as, bs := split(a), split(b)
	rank := func(parts []string, i int) (int, bool) {
		if i >= len(parts) {
			return -1, true
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return -2, true
		}
		return n, false
	}
	for i := range max(len(as), len(bs)) {
		x, _ := rank(as, i)
		y, _ := rank(bs, i)
		if x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return 0
}

// ModulesOf returns the names of the modules, without extensions, sorted.
func ModulesOf(modules []core.Module) []string {
	var names []string
	for _, m := range modules {
		if m.Source == "" {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Without returns those of names that are not in others.
func Without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(others, n) })
}

// PHP is what the command line's PHP can do. The web server's may differ.
type PHP struct {
	Version    string
	Extensions []string // lower case
}

// phpTimeout is how long PHP may take to say what it can do.
const phpTimeout = 10 * time.Second

// AskPHP asks the program php ("": from PATH) for its version and extensions;
// false when there is none, or none that answers.
func AskPHP(ctx context.Context, php string) (PHP, bool) {
	if php == "" {
		php = "php"
	}
	ctx, cancel := context.WithTimeout(ctx, phpTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, php, "-r", `echo PHP_VERSION, "\n", strtolower(implode("\n", get_loaded_extensions()));`)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	lines := strings.Fields(string(out))
	if err != nil || len(lines) == 0 {
		return PHP{}, false
	}
	return PHP{Version: lines[0], Extensions: lines[1:]}, true
}

// Has says whether PHP has one of the extensions.
func (p PHP) Has(any ...string) bool {
	return slices.ContainsFunc(any, func(e string) bool { return slices.Contains(p.Extensions, e) })
}

// ComparePHP finds which of the extensions that an application needs are not
// there. Where the application runs already the web server's PHP must have
// them, whatever the command line's has.
func ComparePHP(p PHP, there bool, live bool, needed []string) core.Finding {
	f := core.Finding{Kind: core.FindingFine, Name: FindingPHP}
	if !there {
		f.Message = "there is no PHP on the command line here, so its extensions were not looked at, and commands that need it are left to you"
		return f
	}
	var missing []string
	for _, e := range needed {
		if !p.Has(e) {
			missing = append(missing, e)
		}
	}
	if len(missing) == 0 {
		f.Message = "PHP " + p.Version + " has the extensions that the application needs"
		return f
	}
	f.Message = fmt.Sprintf("the command line's PHP %s lacks %s, which the application needs", p.Version, strings.Join(missing, ", "))
	f.Hint = "install them for the web server's PHP and the command line's"
	if !live {
		f.Kind = core.FindingDecision
	}
	return f
}

// CompareMaintenance says that users are not kept out of a live application
// that has no maintenance mode and no hooks that make one.
func CompareMaintenance(c Comparison) []core.Finding {
	if c.Live == nil || len(c.App.Hooks.MaintenanceOn) > 0 {
		return nil
	}
	return []core.Finding{{
		Kind: core.FindingFine, Name: FindingMaintenance, Object: c.App.Name,
		Message: "the application has no maintenance mode, so users are not kept out while data are exchanged, and what they do in that moment may be lost",
		Hint:    "hooks: {maintenance_on: […], maintenance_off: […]} in backstay.yaml can keep them out",
	}}
}

// CheckSchema compares the version that a restored database says with the
// backup's. err is what asking for it gave.
func CheckSchema(now *core.Application, then string, err error, key string) core.Finding {
	version := now.Versions[key]
	f := core.Finding{Kind: core.FindingDecision, Name: FindingSchemaVersion}
	switch {
	case err != nil:
		f.Message = err.Error()
	case version == "" && then == "" && len(now.Warnings) == 0:
		f.Kind, f.Message = core.FindingFine, "neither backup nor database say a version"
	case version == "":
		f.Message = "the database does not say its version"
		if len(now.Warnings) > 0 {
			f.Message = now.Warnings[0].Message
		}
	case then != "" && version != then:
		f.Message = fmt.Sprintf("the database is of version %s and the backup of %s", version, then)
	default:
		f.Kind, f.Message = core.FindingFine, "the database is of version "+version
	}
	return f
}

// CheckSome asks for a number that must not be 0. what says what is counted.
func CheckSome(ctx context.Context, q Querier, name, what, statement string) core.Finding {
	f := core.Finding{Kind: core.FindingDecision, Name: name}
	rows, err := q.Query(ctx, statement)
	n := int64(0)
	if err == nil {
		if len(rows) != 1 {
			err = fmt.Errorf("the server gave %d rows", len(rows))
		} else {
			n, err = strconv.ParseInt(Text(rows[0], 0), 10, 64)
		}
	}
	switch {
	case err != nil:
		f.Message = fmt.Sprintf("the database could not be asked for %s: %v", what, err)
	case n == 0:
		f.Message = "there are no " + what
	default:
		f.Kind, f.Message = core.FindingFine, fmt.Sprintf("%s: %d", what, n)
	}
	return f
}
