package chat_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/chat"
	"github.com/backstay/backstay/internal/notify/notifytest"
	"github.com/backstay/backstay/internal/notify/wire/wiretest"
)

const (
	topic    = "topic-th4t-is-secret"
	password = "chat-p4ssword"
	token    = "AzyoeNS.D4iJLVa" // the form that gotify's have
)

func open(t *testing.T, address string) *chat.Chat {
	t.Helper()
	c, err := chat.New(chat.Options{URL: core.NewSecret(address), Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// host returns the site's host and port.
func host(site *wiretest.Site) string { return strings.TrimPrefix(site.URL, "http://") }

func secrets() []string {
	return []string{topic, password, token, "chat-user", base64.StdEncoding.EncodeToString([]byte("chat-user:" + password))}
}

// TestConformanceNtfy: ntfy keeps what every destination promises.
func TestConformanceNtfy(t *testing.T) {
	notifytest.Run(t, func(t *testing.T) notifytest.Harness {
		site := wiretest.New(t, "application/json", `{"id":"x","event":"message"}`)
		faults := site.Faults()
		faults["is a page"] = func() { site.Answer(http.StatusOK, "text/html", "<h1>welcome</h1>") }
		return notifytest.Harness{
			Destination: open(t, "ntfy://chat-user:"+password+"@"+host(site)+"/"+topic+"?scheme=http"), Faults: faults, Hang: site.Hang, Secrets: secrets(),
			Taken: func() []string {
				var texts []string
				for _, r := range site.Taken() {
					texts = append(texts, r.Header.Get("Title")+"\n"+r.Body)
				}
				return texts
			},
		}
	})
}

// TestConformanceGotify: so does Gotify.
func TestConformanceGotify(t *testing.T) {
	notifytest.Run(t, func(t *testing.T) notifytest.Harness {
		site := wiretest.New(t, "application/json", `{"id":1,"message":"x"}`)
		return notifytest.Harness{
			Destination: open(t, "gotify://"+host(site)+"/"+token+"?disabletls=yes"), Faults: site.Faults(), Hang: site.Hang, Secrets: secrets(),
			Taken: func() []string {
				var texts []string
				for _, body := range site.Bodies() {
					var said struct{ Title, Message string }
					if err := json.Unmarshal([]byte(body), &said); err != nil {
						t.Errorf("%v in %s", err, body)
					}
					texts = append(texts, said.Title+"\n"+said.Message)
				}
				return texts
			},
		}
	})
}

// TestConformanceGeneric: and so does what has no title.
func TestConformanceGeneric(t *testing.T) {
	notifytest.Run(t, func(t *testing.T) notifytest.Harness {
		site := wiretest.New(t, "", "")
		return notifytest.Harness{
			Destination: open(t, "generic://"+host(site)+"/"+topic+"?disabletls=yes"), Faults: site.Faults(), Hang: site.Hang, Secrets: secrets(), Taken: site.Bodies,
		}
	})
}

// TestSubject: people see the subject whether the service has a title or not.
func TestSubject(t *testing.T) {
	m := notifytest.Message(core.AlarmOpened, "helpdesk")
	for address, in := range map[string]func(wiretest.Request) string{
		"generic://HOST/x?disabletls=yes":               func(r wiretest.Request) string { return r.Body },
		"generic://HOST/x?disabletls=yes&template=json": func(r wiretest.Request) string { return r.Body },
		"generic+http://HOST/x":                         func(r wiretest.Request) string { return r.Body },
		"ntfy://HOST/x?scheme=http":                     func(r wiretest.Request) string { return r.Header.Get("Title") },
	} {
		site := wiretest.New(t, "application/json", "{}")
		if _, err := open(t, strings.Replace(address, "HOST", host(site), 1)).Deliver(t.Context(), "", m); err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if got := in(site.Taken()[0]); !strings.Contains(got, m.Subject) {
			t.Errorf("%s: %q is not in %q", address, m.Subject, got)
		}
	}
}

// TestTame: nothing in an alarm calls everybody in a room, or is more than a
// service takes.
func TestTame(t *testing.T) {
	site := wiretest.New(t, "", "")
	c := open(t, "generic://"+host(site)+"/x?disabletls=yes")
	m := notify.Message{
		Part: core.AlarmOpened, Subject: "x\r\n@everyone",
		Text: "<!channel> <@U123> @here \x1b[2J\u202e\xff " + strings.Repeat("名", 5000) + " marker-at-the-end",
	}
	if _, err := c.Deliver(t.Context(), "", m); err != nil {
		t.Fatal(err)
	}
	got := site.Bodies()[0]
	for _, bad := range []string{"@everyone", "<!channel", "<@U", "@here", "\x1b", "\u202e", "\xff"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q is in it", bad)
		}
	}
	if len(got) > 3500 || !strings.HasSuffix(got, "marker-at-the-end") || !strings.HasPrefix(got, "x @") {
		t.Errorf("%d bytes: %.100q…", len(got), got)
	}
}

// TestBounded: a service that never answers holds a few connections, and each
// delivery ends in time.
func TestBounded(t *testing.T) {
	site := wiretest.New(t, "", "")
	started := make(chan struct{}, 100)
	release := make(chan struct{})
	site.Fail(func(_ http.ResponseWriter, r *http.Request) { started <- struct{}{}; <-release })
	defer close(release)
	c, err := chat.New(chat.Options{URL: core.NewSecret("generic://" + host(site) + "/x?disabletls=yes"), Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for range 8 {
		if _, last = c.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "a")); last == nil {
			t.Fatal("no error")
		}
	}
	if !strings.Contains(last.Error(), "earlier messages are still under way") || core.HintOf(last) == "" {
		t.Errorf("got %v", last)
	}
	if n := len(started); n > 4 {
		t.Errorf("%d messages are under way", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Deliver(ctx, "", notifytest.Message(core.AlarmOpened, "a")); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
}

// TestCheckURL: addresses are read without connecting to anybody, and what is
// wrong with one is said without showing it.
func TestCheckURL(t *testing.T) {
	for _, good := range []string{
		"slack://hook:WNA3PBYV6-F20DUQND3RQ-Webc4MAvoacrpPakR8phF0zi@webhook",
		"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@ops",
		"discord://token@123456789",
		"ntfy://ntfy.sh/topic",
		"gotify://push.example.org/" + token,
		"matrix://user:password@host.invalid/?rooms=!a:host",
		"pushover://shoutrrr:apiToken@userKey",
		"mattermost://bot@chat.example.org/tokentoken/channel",
		"generic+https://example.org/hook",
		"NTFY://ntfy.sh/topic",
	} {
		if err := chat.CheckURL(core.NewSecret(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	bad := map[string]string{
		"": "no address",
		"ntfy://user:" + password + "%zz@host/" + topic: "not a URL",
		topic:                                        "not a URL",
		"logger://":                                  `no service "logger"`,
		"xmpp://user:" + password + "@host":          `no service "xmpp"`,
		"smtp://user:" + password + "@host:25":       "mail is not sent this way",
		"matrix://host/" + topic:                     "no password",
		"matrix://:" + password + "@/" + topic:       "names no host",
		"telegram://" + password + "@telegram":       "telegram does not take the address",
		"slack://" + password + "@channel":           "slack does not take the address",
		"gotify://host/" + password:                  "", // whatever it says, the address is not in it
		"teams://" + password:                        "teams does not take the address",
		"ntfy://host/" + topic + "?nope=" + password: "ntfy does not take the address",
	}
	for _, address := range slices.Sorted(maps.Keys(bad)) {
		err := chat.CheckURL(core.NewSecret(address))
		if err == nil && bad[address] == "" {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), bad[address]) || core.HintOf(err) == "" || core.CodeOf(err) != core.CodeConfig {
			t.Errorf("%s: got %v, want %q", address, err, bad[address])
			continue
		}
		t.Log(err)
		notifytest.Discreet(t, err, []string{password, topic})
		if _, err := chat.New(chat.Options{URL: core.NewSecret(address)}); err == nil {
			t.Errorf("%s: New takes it", address)
		}
	}
}

// FuzzCheckURL: no address ends the program or shows itself.
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{
		"slack://x", "telegram://a:b@telegram?chats=", "discord://@/", "teams://a@b/c/d", "bark://:k@h/", "ifttt://k/?events=", "join://:@join/", "opsgenie://h/k", "pagerduty://@/", "signal://h/+1/+2",
		"zulip://a:b@c/?stream=", "rocketchat://h/a/b", "notifiarr://k", "wecom://k", "lark://h/t", "googlechat://h/?key=", "mattermost://h", "pushbullet://k", "pushover://:t@u", "generic://h", "generic+http://", "ntfy://", "+://", "matrix://:@", "weCom:\xca0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := chat.CheckURL(core.NewSecret(s)); err != nil && len(s) > 30 && strings.Contains(err.Error(), s) {
			t.Errorf("the address is in %v", err)
		}
	})
}
