package settings

import (
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/config/edit"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/web/page"
)

// field is a key of a section in the form.
type field struct {
	Key, Value string
	Label      string // in the catalogue, below settings.field
	Kind       string // "text", "number", "time", "truth", "choice"
	Choices    []string
}

// the ways in which a schedule can say when.
const (
	whenUnset  = "unset"  // as the defaults say, or not at all
	whenNever  = "never"  // []
	whenWeekly = "weekly" // time and week_days
	whenCron   = "cron"
	whenEvery  = "every"
	whenApp    = "from_app"
)

// guided are the usual keys of a section.
func guided(section string) []field {
	of := func(kind string, keys ...string) []field {
		var list []field
		for _, key := range keys {
			list = append(list, field{Key: key, Kind: kind, Label: section + "." + key})
		}
		return list
	}
	switch section {
	case "schedule":
		return slices.Concat(of("time", "time"), of("text", "week_days", "cron", "every", "timezone", "jitter"))
	case "retention":
		return slices.Concat(of("number", "count", "days", "hourly", "daily", "weekly", "monthly", "yearly"), of("truth", "from_app", "hold"))
	case "check":
		return slices.Concat(of("truth", "enabled"), of("text", "max_age", "size_min", "size_reduction_max", "size_drop", "rows_drop", "verify_age", "drill_age", "free_min"))
	case "service":
		return slices.Concat(of("number", "parallel"), of("text", "upload_limit", "download_limit", "timeout"),
			[]field{{Key: "stop", Label: "service.stop", Kind: "choice", Choices: []string{"cancel", "finish"}}, {Key: "log", Label: "service.log", Kind: "choice", Choices: []string{"text", "json"}}})
	}
	return nil
}

// fieldsOf fills the form from a section's text. It is false where the text
// cannot be changed by it: a list, for one.
func fieldsOf(section, text string) (fields []field, when string, ok bool) {
	fields = guided(section)
	if fields == nil {
		return nil, "", false
	}
	if section == "schedule" && strings.TrimSpace(text) == "[]" {
		return fields, whenNever, true
	}
	values, ok := edit.Keys(text)
	if !ok {
		return nil, "", false
	}
	for i := range fields {
		fields[i].Value = values[fields[i].Key]
	}
	if section == "schedule" {
		when = whenUnset
		for key, means := range map[string]string{"time": whenWeekly, "cron": whenCron, "every": whenEvery} {
			if values[key] != "" {
				when = means
			}
		}
		if values["from_app"] == "true" {
			when = whenApp
		}
		if values["enabled"] == "false" {
			return nil, "", false
		}
	}
	return fields, when, true
}

// filled is the section's text with what the form says.
func filled(section, text string, q *page.Request) (string, error) {
	fields := guided(section)
	if fields == nil {
		return "", &core.Error{Code: core.CodeUsage, Message: "this section has no form", Hint: "change its text"}
	}
	when := q.Field("when")
	var relevant []string
	if section == "schedule" {
		switch when {
		case whenUnset:
			return "", nil
		case whenNever:
			return "[]", nil
		case whenWeekly:
			relevant = []string{"time", "week_days"}
		case whenCron, whenEvery:
			relevant = []string{when}
		case whenApp:
		default:
			return "", &core.Error{Code: core.CodeUsage, Message: "it is not said when backups are made", Hint: "choose one of the ways"}
		}
		if strings.TrimSpace(text) == "[]" {
			text = ""
		}
		relevant = append(relevant, "timezone", "jitter")
	}
	var settings []edit.Setting
	for _, f := range fields {
		value := q.Field(f.Key)
		if section == "schedule" && !slices.Contains(relevant, f.Key) {
			value = ""
		}
		settings = append(settings, edit.Setting{Key: f.Key, Value: value})
	}
	if section == "schedule" {
		value := ""
		if when == whenApp {
			value = "true"
		}
		settings = append(settings, edit.Setting{Key: "from_app", Value: value})
	}
	return edit.SetKeys(text, settings)
}

// withDestination adds an entry of a type to the text of notify, to be filled in.
func withDestination(text, kind string) (string, error) {
	sample := map[string]string{
		"itop":    "- type: itop\n  url: https://itop.example.org/\n  user: backstay\n  password:        # type it here\n  customer: Demo   # the organization of the ticket",
		"itflow":  "- type: itflow\n  url: https://itflow.example.org/\n  api_key:         # type it here\n  client_id: 1     # the client of the ticket\n  priority: High",
		"mail":    "- type: mail\n  host: mail.example.org\n  tls: starttls    # or implicit, none\n  user: backstay\n  password:        # type it here\n  from: backstay@example.org\n  to: [admin@example.org]",
		"webhook": "- type: webhook\n  url:             # https://…: type it here\n  #secret:         # signs what is sent",
		"chat":    "- type: chat\n  url:             # slack://…, teams://…, telegram://…: type it here",
		"ping":    "- type: ping\n  url:             # https://…: type it here",
	}[kind]
	text = strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n ")
	switch {
	case sample == "":
		return text, &core.Error{Code: core.CodeUsage, Message: "there is no such type of destination", Hint: "types are " + strings.Join(edit.DestinationTypes(), ", ")}
	case text == "" || text == "[]":
		return sample, nil
	case strings.HasPrefix(text, "["):
		return text, &core.Error{Code: core.CodeUnsupported, Message: "the list is written in brackets", Hint: "write each destination on lines of its own, with a dash before it"}
	}
	return text + "\n" + sample, nil
}
