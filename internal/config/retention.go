package config

import (
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/retention"
	"github.com/goccy/go-yaml/ast"
)

func retentionFields(p *retention.Policy) []strict.Field {
	const most = 10_000
	return []strict.Field{
		componentsField("components", &p.Components).Describe("only backups that hold just these; all that no other entry is for when not given"),
		strict.NumberField("count", &p.Count, 0, most).Describe("the newest so many"),
		strict.NumberField("days", &p.Days, 0, 36_600).Describe("all of the last so many days that have one"),
		strict.NumberField("hourly", &p.Hourly, 0, most).Describe("the newest of each of the last so many hours that have one"),
		strict.NumberField("daily", &p.Daily, 0, most).Describe("the newest of each of the last so many days that have one"),
		strict.NumberField("weekly", &p.Weekly, 0, most).Describe("the newest of each of the last so many weeks that have one"),
		strict.NumberField("monthly", &p.Monthly, 0, most).Describe("the newest of each of the last so many months that have one"),
		strict.NumberField("yearly", &p.Yearly, 0, most).Describe("the newest of each of the last so many years that have one"),
		strict.BoolField("from_app", &p.FromApp).Describe("also those that the application's own settings keep"),
		strict.BoolField("hold", &p.Hold).Describe("remove nothing"),
	}
}

// retentionField reads one policy or a list of them. One alone changes what
// `defaults` say field by field where they have one policy; a list replaces
// them.
func retentionField(into *[]retention.Policy) strict.Field {
	return strict.Field{
		Key: "retention", Nested: func() map[string]any {
			return strict.OneOrManySchema(strict.ObjectSchema(retentionFields(&retention.Policy{})))
		},
		Read: func(r *strict.Reader, own strict.Position, n ast.Node) {
			first := map[string]strict.Position{}
			var list []retention.Policy
			for _, item := range r.OneOrMany(n, "retention") {
				var p retention.Policy
				start := own
				if item.Listed {
					start = r.StartOf(item.Value)
				} else if len(*into) == 1 {
					p = (*into)[0]
				}
				before := r.Problems()
				at, ok := r.Section(item.Value, "retention", retentionFields(&p))
				if !ok || r.Problems() > before {
					continue
				}
				if !p.Hold && !p.FromApp && p.Count+p.Days+p.Hourly+p.Daily+p.Weekly+p.Monthly+p.Yearly == 0 {
					r.Problem(start, "add a rule, such as daily: 7; or hold: true to keep everything", "%q has no rule", "retention")
					continue
				}
				set := componentsText(p.Components)
				if given, ok := at["components"]; ok {
					start = given
				}
				if earlier, twice := first[set]; twice {
					r.Problem(start, "keep one of the two", "there are two policies for %s, the first on line %d", setName(set), earlier.Line)
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
