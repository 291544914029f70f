package edit

import "testing"

func TestSetKeys(t *testing.T) {
	for _, c := range []struct {
		text string
		set  []Setting
		want string
	}{
		{"", []Setting{{"time", "23:30"}, {"week_days", "monday, friday"}, {"cron", ""}}, "time: 23:30\nweek_days: \"monday, friday\""},
		{"{time: 23:30, pause: [{from: \"08:00\", to: \"18:00\"}], jitter: 5m} # night", []Setting{{"time", ""}, {"cron", "*/5 * * * *"}}, "# night\npause: [{from: \"08:00\", to: \"18:00\"}]\njitter: 5m\ncron: \"*/5 * * * *\""},
		{"# a\ndaily: 7  # week\n# b\nweekly: 4\n", []Setting{{"daily", "8"}, {"weekly", "4"}}, "# a\ndaily: 8  # week\n# b\nweekly: 4"},
		{"time: \"02:00\"  # every night", []Setting{{"time", "03:30"}}, "time: 03:30  # every night"},
		{"time: '02:00' # it's #1", []Setting{{"time", "03:30"}}, "time: 03:30  # it's #1"},
		{"time: \"a # b\"", []Setting{{"time", "03:30"}}, "time: 03:30"},
		{"{daily: 7}", []Setting{{"daily", "7"}}, "{daily: 7}"},
		{"{daily: 7}", []Setting{{"daily", ""}}, ""},
		{"ignore_tables:\n  - a\n  - b\nmax_age: 1d", []Setting{{"max_age", ""}, {"ignore_tables", "a, b"}}, "ignore_tables:\n  - a\n  - b"},
	} {
		got, err := SetKeys(c.text, c.set)
		if err != nil || got != c.want {
			t.Errorf("%q: %v\n%s", c.text, err, got)
		}
	}
	for _, text := range []string{"- a", "{a: 1,\n b: 2}", "a", "{a"} {
		if got, err := SetKeys(text, []Setting{{"c", "1"}}); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
	if _, err := SetKeys("", []Setting{{"a", "1\nb: 2"}}); err == nil {
		t.Error("a value of two lines was taken")
	}
}
