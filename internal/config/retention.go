package config

import (
	"github.com/backstay/backstay/internal/retention"
	"github.com/goccy/go-yaml/ast"
)

func retentionFields(p *retention.Policy) []field {
	const most = 10_000
	return []field{
		componentsField("components", &p.Components).describe("only backups that hold just these; all that no other entry is for when not given"),
		numberField("count", &p.Count, 0, most).describe("the newest so many"),
		numberField("days", &p.Days, 0, 36_600).describe("those younger than so many days"),
		numberField("hourly", &p.Hourly, 0, most).describe("the newest of each of the last so many hours that have one"),
		numberField("daily", &p.Daily, 0, most).describe("the newest of each of the last so many days that have one"),
		numberField("weekly", &p.Weekly, 0, most).describe("the newest of each of the last so many weeks that have one"),
		numberField("monthly", &p.Monthly, 0, most).describe("the newest of each of the last so many months that have one"),
		numberField("yearly", &p.Yearly, 0, most).describe("the newest of each of the last so many years that have one"),
		boolField("from_app", &p.FromApp).describe("also those that the application's own settings keep"),
		boolField("hold", &p.Hold).describe("remove nothing"),
	}
}

// retentionField reads one policy or a list of them. One alone changes what
// `defaults` say field by field where they have one policy; a list replaces
// them.
func retentionField(into *[]retention.Policy) field {
	return field{
		key: "retention", schema: oneOrMany(objectSchema(retentionFields(&retention.Policy{}))),
		read: func(r *reader, own position, n ast.Node) {
			first := map[string]position{}
			var list []retention.Policy
			for _, item := range r.oneOrMany(n, "retention") {
				var p retention.Policy
				start := own
				if item.listed {
					start = r.startOf(item.value)
				} else if len(*into) == 1 {
					p = (*into)[0]
				}
				before := len(r.problems)
				at, ok := r.section(item.value, "retention", retentionFields(&p))
				if !ok || len(r.problems) > before {
					continue
				}
				if !p.Hold && !p.FromApp && p.Count+p.Days+p.Hourly+p.Daily+p.Weekly+p.Monthly+p.Yearly == 0 {
					r.problem(start, "add a rule, such as daily: 7; or hold: true to keep everything", "%q has no rule", "retention")
					continue
				}
				set := componentsText(p.Components)
				if given, ok := at["components"]; ok {
					start = given
				}
				if earlier, twice := first[set]; twice {
					r.problem(start, "keep one of the two", "there are two policies for %s, the first on line %d", setName(set), earlier.line)
					continue
				}
				first[set] = start
				list = append(list, p)
			}
			*into = list
		},
	}
}

func setName(set string) string {
	if set == "" {
		return "the backups that no other is for"
	}
	return set
}
