package notify_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/notifytest"
)

func alarm(problems ...core.Problem) core.Alarm {
	opened := time.Date(2026, 11, 20, 22, 30, 0, 0, time.UTC)
	return core.Alarm{ID: 12, App: "helpdesk", Topic: core.TopicBackup, Opened: opened, Updated: opened, Problems: problems}
}

func setting() notify.Setting {
	return notify.Setting{
		Host: "srv1", Now: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC), Location: time.FixedZone("CET", 3600), Safe: "backup b1 of 2026-11-19 23:30, verified 2026-11-20 04:00",
	}
}

func TestCompose(t *testing.T) {
	a := alarm(
		core.Problem{App: "helpdesk", Name: "failed", Message: "the database refused the account", Hint: "backstay doctor helpdesk", Level: core.LevelAlarm},
		core.Problem{App: "helpdesk", Name: "missing", Object: "database", Message: "it is <not> there", Level: core.LevelAlarm},
	)
	m := notify.Compose(core.AlarmOpened, a, setting())
	if want := "backstay: helpdesk: backups fail, found 2026-11-20 23:30 (2 problems)"; m.Subject != want {
		t.Errorf("subject %q, want %q", m.Subject, want)
	}
	wantText := `app helpdesk on machine srv1: backups fail, found 2026-11-20 23:30 CET.

What is wrong:
- the database refused the account
  -> backstay doctor helpdesk
- database: it is <not> there

What is still safe:
- backup b1 of 2026-11-19 23:30, verified 2026-11-20 04:00

backstay on srv1, alarm 12, ` + m.Marker + "\n"
	if diff := cmp.Diff(wantText, m.Text); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	wantHTML := `<p>app helpdesk on machine srv1: backups fail, found 2026-11-20 23:30 CET.</p>
<p><b>What is wrong:</b></p><ul><li>the database refused the account<br>→ <code>backstay doctor helpdesk</code></li><li>database: it is &lt;not&gt; there</li></ul>
<p><b>What is still safe:</b></p><ul><li>backup b1 of 2026-11-19 23:30, verified 2026-11-20 04:00</li></ul>
<p>backstay on srv1, alarm 12, ` + m.Marker + "</p>\n"
	if diff := cmp.Diff(wantHTML, m.HTML); diff != "" {
		t.Errorf("HTML (-want +got):\n%s", diff)
	}

	a.Updated = a.Opened.Add(time.Hour)
	m = notify.Compose(core.AlarmUpdated, a, setting())
	if !strings.HasSuffix(m.Subject, "(2 problems, changed)") || !strings.Contains(m.Text, "changed 2026-11-21 00:30 CET") {
		t.Errorf("%s\n%s", m.Subject, m.Text)
	}
	closed := a.Opened.Add(2 * time.Hour)
	a.Closed = &closed
	m = notify.Compose(core.AlarmClosed, a, setting())
	if m.Subject != "backstay: helpdesk: over: backups fail (2026-11-20 23:30 to 2026-11-21 01:30)" || !strings.Contains(m.Text, "It is over") || strings.Contains(m.Text, "doctor") {
		t.Errorf("%s\n%s", m.Subject, m.Text)
	}

	// What is late or missing does not fail.
	if m = notify.Compose(core.AlarmOpened, alarm(core.Problem{App: "helpdesk", Name: "stale", Message: "the newest backup is old"}), setting()); m.Subject != "backstay: helpdesk: backups need attention, found 2026-11-20 23:30 (1 problem)" {
		t.Error(m.Subject)
	}

	nothing := setting()
	nothing.Safe = ""
	if m := notify.Compose(core.AlarmOpened, alarm(problem("missing")), nothing); !strings.Contains(m.Text, "no good backup is known") {
		t.Errorf("that nothing is safe is not said:\n%s", m.Text)
	}
	repository := core.Alarm{Topic: core.TopicRepository, Opened: a.Opened, Problems: []core.Problem{{Name: "full", Message: "it is full"}}}
	if m := notify.Compose(core.AlarmOpened, repository, nothing); m.Subject != "backstay: srv1: the repository needs attention, found 2026-11-20 23:30 (1 problem)" || strings.Contains(m.Text, "still safe") {
		t.Errorf("%s\n%s", m.Subject, m.Text)
	}
}

func TestMarkers(t *testing.T) {
	of := func(change func(*core.Alarm, *notify.Setting)) notify.Message {
		a, s := alarm(problem("missing")), setting()
		change(&a, &s)
		return notify.Compose(core.AlarmOpened, a, s)
	}
	m := of(func(*core.Alarm, *notify.Setting) {})
	if !strings.HasPrefix(m.Marker, m.Matter+"-") {
		t.Errorf("%q does not begin with %q", m.Marker, m.Matter)
	}
	for what, same := range map[string]notify.Message{
		"number": of(func(a *core.Alarm, _ *notify.Setting) { a.ID = 0 }),
		"time":   of(func(a *core.Alarm, s *notify.Setting) { s.Now = s.Now.Add(time.Hour) }),
	} {
		if same.Marker != m.Marker {
			t.Errorf("another %s: another marker", what)
		}
	}
	if next := of(func(a *core.Alarm, _ *notify.Setting) { a.Opened = a.Opened.Add(time.Second) }); next.Matter != m.Matter || next.Marker == m.Marker {
		t.Errorf("the next alarm has %q after %q", next.Marker, m.Marker)
	}
	for what, other := range map[string]notify.Message{
		"app":   of(func(a *core.Alarm, _ *notify.Setting) { a.App = "docs" }),
		"topic": of(func(a *core.Alarm, _ *notify.Setting) { a.Topic = core.TopicProof }),
		"host":  of(func(_ *core.Alarm, s *notify.Setting) { s.Host = "srv2" }),
	} {
		if other.Matter == m.Matter {
			t.Errorf("another %s: the same matter", what)
		}
	}
	if test := notify.Compose(core.AlarmTest, alarm(problem("missing")), setting()); test.Matter == m.Matter {
		t.Error("a test would close the alarm's ticket")
	}
}

// TestHostile: what comes from elsewhere is text, and not much of it.
func TestHostile(t *testing.T) {
	var problems []core.Problem
	for i := range 300 {
		problems = append(problems, core.Problem{
			Name: "n", Object: fmt.Sprint(i) + notifytest.Hostile, Message: notifytest.Hostile + string([]byte{0xff, 0xc0}) + strings.Repeat("語", 10_000), Hint: strings.Repeat("\u202e\u2028", 10) + notifytest.Hostile,
		})
	}
	a, s := alarm(problems...), setting()
	a.App, a.Topic, s.Host, s.Safe = notifytest.Hostile, core.Topic(notifytest.Hostile), notifytest.Hostile, notifytest.Hostile
	for _, part := range []core.AlarmPart{core.AlarmOpened, core.AlarmUpdated, core.AlarmClosed, core.AlarmTest} {
		m := notify.Compose(part, a, s)
		for what, text := range map[string]string{"subject": m.Subject, "host": m.Host, "app": m.Alarm.App, "marker": m.Marker} {
			if strings.ContainsFunc(text, unicode.IsControl) || utf8.RuneCountInString(text) > 200 {
				t.Errorf("%s: %q", what, text)
			}
		}
		for what, text := range map[string]string{"text": m.Text, "HTML": m.HTML} {
			if !utf8.ValidString(text) || len(text) > 30_000 || strings.ContainsAny(text, "\x1b\x00\r\u202e\u2028") || strings.Contains(text, "\nBcc:") {
				t.Errorf("%s of %d bytes: %.300q", what, len(text), text)
			}
		}
		if part == core.AlarmOpened && (!strings.Contains(m.Text, " more\n") || !strings.Contains(m.Subject, "300 problems") && !strings.Contains(m.Subject, "…")) {
			t.Errorf("%s\n%.300s", m.Subject, m.Text)
		}
		tags := map[string]bool{}
		decoder := xml.NewDecoder(strings.NewReader("<x>" + strings.ReplaceAll(m.HTML, "<br>", "") + "</x>"))
		for {
			token, err := decoder.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: the HTML is broken: %v", part, err)
			}
			if start, ok := token.(xml.StartElement); ok {
				tags[start.Name.Local] = true
			}
		}
		for tag := range tags {
			if !strings.Contains(" x p ul li b code ", " "+tag+" ") {
				t.Errorf("%s: there is a <%s> in it", part, tag)
			}
		}
	}
}

// TestBounded: the characters that grow the most in HTML still fit a ticket.
func TestBounded(t *testing.T) {
	var problems []core.Problem
	for range 100 {
		problems = append(problems, core.Problem{Name: "n", Object: strings.Repeat("'", 5000), Message: strings.Repeat("<\"", 5000), Hint: strings.Repeat("&🔐", 5000)})
	}
	s := setting()
	s.Safe = strings.Repeat("'", 5000)
	m := notify.Compose(core.AlarmOpened, alarm(problems...), s)
	if len(m.HTML) > 30_000 || !strings.Contains(m.Subject, "100 problems") || !strings.Contains(m.Text, m.Marker) {
		t.Errorf("%d bytes, %s", len(m.HTML), m.Subject)
	}
	shown := strings.Count(m.Text, "  -> &")
	if shown == 0 || !strings.Contains(m.Text, fmt.Sprintf("and %d more", 100-shown)) {
		t.Errorf("%d are shown:\n%s", shown, m.Text[len(m.Text)-300:])
	}
}

func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"open sftp://bob:s3cret@host/dir: refused":                                      "open sftp://***@host/dir: refused",
		"get https://u:p%40ss@w@host:8443/x?token=t0ken&a=s3cret#f.":                    "get https://***@host:8443/x?token=***&a=***#f.",
		"s3://key@bucket/a and s3://bucket/b":                                           "s3://***@bucket/a and s3://bucket/b",
		"https://itflow.example.org/api/v1/tickets/read.php?api_key=s3cret&limit=1":     "https://itflow.example.org/api/v1/tickets/read.php?api_key=***&limit=***",
		"dump tickets: root:s3cret@tcp(db:3306)/itop?tls=true: connection refused":      "dump tickets: ***@tcp(db:3306)/itop?tls=true: connection refused",
		"connect: app:p@ss w:rd@unix(/run/mysqld.sock)/itop":                            "connect: ***@unix(/run/mysqld.sock)/itop",
		"Error 1045: Access denied for user 'app'@'localhost' (using password: YES)":    "Error 1045: Access denied for user 'app'@'localhost' (using password: YES)",
		"password=s3cret user=bob":                                                      "password=*** user=bob",
		`{"password": "s3\"cret, x", "user":"bob"}`:                                     `{"password": ***, "user":"bob"}`,
		"'db_pwd' => 's3cret', 'db_user' => 'app'":                                      "'db_pwd' => ***, 'db_user' => 'app'",
		"AWS_SECRET_ACCESS_KEY=s3cret/+x; auth_pwd: s3cret":                             "AWS_SECRET_ACCESS_KEY=***; auth_pwd: ***",
		"Authorization: Basic czNjcmV0 was refused":                                     "Authorization: *** was refused",
		"sent bearer abcdefghijklmnop.s3cret":                                           "sent bearer ***",
		"a\n-----BEGIN RSA PRIVATE KEY-----\ns3cret\n-----END RSA PRIVATE KEY-----\nb":  "a\n***\nb",
		"password_file: /etc/backstay/repository.key is readable by all":                "password_file: /etc/backstay/repository.key is readable by all",
		"the password is wrong; tokens are not":                                         "the password is wrong; tokens are not",
		"backup 20261119T233000Z-1a2b of helpdesk at 23:30: 3 tables, user@example.org": "backup 20261119T233000Z-1a2b of helpdesk at 23:30: 3 tables, user@example.org",
		"the word xyzzy42 is a secret, and so is xyzzy42":                               "the word *** is a secret, and so is ***",
	} {
		if got := notify.Redact(text, core.NewSecret("xyzzy42"), core.NewSecret("")); got != want {
			t.Errorf("Redact(%q)\n got %q\nwant %q", text, got, want)
		}
		if twice := notify.Redact(want); twice != want {
			t.Errorf("Redact(%q) is %q", want, twice)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add(notifytest.Hostile, 10)
	f.Add("https://u:p@h/?a=b;c=d&&=", 100)
	f.Add("a:b@tcp(x:y@unix(", 3)
	f.Fuzz(func(t *testing.T, text string, max int) {
		if max < 3 || max > 10_000 {
			t.Skip("no such length is asked for")
		}
		got := notify.Line(text, max)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) || utf8.RuneCountInString(got) > max {
			t.Errorf("Line(%q, %d) is %q", text, max, got)
		}
	})
}
