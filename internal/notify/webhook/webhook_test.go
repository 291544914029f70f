package webhook_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/notifytest"
	"github.com/backstay/backstay/internal/notify/webhook"
	"github.com/backstay/backstay/internal/notify/wire/wiretest"
)

const (
	signing = "signing-secret-1"
	token   = "t0ken-in-a-header"
	path    = "/hooks/p4th-th4t-is-secret"
)

type clock struct{}

func (clock) Now() time.Time { return time.Unix(1_800_000_000, 0) }

func options(address string) webhook.Options {
	return webhook.Options{
		URL: core.NewSecret(address), Secret: core.NewSecret(signing), Clock: clock{},
		Headers: map[string]core.Secret{"authorization": core.NewSecret("Bearer " + token)},
	}
}

func open(t *testing.T, opt webhook.Options) *webhook.Webhook {
	t.Helper()
	w, err := webhook.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestConformance: a webhook keeps what every destination promises.
func TestConformance(t *testing.T) {
	notifytest.Run(t, func(t *testing.T) notifytest.Harness {
		site := wiretest.New(t, "application/json", `{"ok":true}`)
		return notifytest.Harness{
			Destination: open(t, options(site.URL+path)), Faults: site.SaysNo(), Hang: site.Hang, Secrets: []string{signing, token, path[7:]},
			Taken: func() []string {
				var texts []string
				for _, body := range site.Bodies() {
					var said struct{ Subject, Text string }
					if err := json.Unmarshal([]byte(body), &said); err != nil {
						t.Errorf("%v in %s", err, body)
					}
					texts = append(texts, said.Subject+"\n"+said.Text)
				}
				return texts
			},
		}
	})
}

// TestForm: what is sent is what docs/notify.md says.
func TestForm(t *testing.T) {
	site := wiretest.New(t, "application/json", `{"ref":"T-12"}`)
	w := open(t, options(site.URL+path+"?a=b"))
	at := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	m := notify.Message{
		Part: core.AlarmOpened, Host: "web1", Subject: "s", Text: "t\n", HTML: "<p>t</p>", Matter: "backstay-1", Marker: "backstay-1-2",
		Alarm: core.Alarm{
			ID: 7, App: "helpdesk", Topic: core.TopicBackup, Opened: at, Updated: at,
			Problems:   []core.Problem{{App: "helpdesk", Topic: core.TopicBackup, Name: "stale", Message: "no backup", Hint: "backstay backup helpdesk", Level: core.LevelAlarm}},
			Deliveries: map[string]core.Delivery{"itop": {Ref: "I-000031", Error: "elsewhere"}},
		},
	}
	ref, err := w.Deliver(t.Context(), "", m)
	if err != nil || ref != "T-12" {
		t.Fatalf("got %q, %v", ref, err)
	}
	m.Part, m.Alarm.Closed, m.Alarm.Problems = core.AlarmClosed, &at, nil
	if _, err := w.Deliver(t.Context(), ref, m); err != nil {
		t.Fatal(err)
	}
	got := site.Taken()
	want := []string{
		`{"schema":1,"part":"opened","alarm":{"id":7,"app":"helpdesk","topic":"backup","opened":"2027-03-01T12:00:00Z","updated":"2027-03-01T12:00:00Z","closed":null,` +
			`"problems":[{"app":"helpdesk","topic":"backup","name":"stale","message":"no backup","hint":"backstay backup helpdesk","level":"alarm"}]},` +
			`"host":"web1","subject":"s","text":"t\n","matter":"backstay-1","marker":"backstay-1-2"}`,
		`{"schema":1,"part":"closed","alarm":{"id":7,"app":"helpdesk","topic":"backup","opened":"2027-03-01T12:00:00Z","updated":"2027-03-01T12:00:00Z","closed":"2027-03-01T12:00:00Z","problems":[]},` +
			`"host":"web1","subject":"s","text":"t\n","matter":"backstay-1","marker":"backstay-1-2","ref":"T-12"}`,
	}
	if diff := cmp.Diff(want, site.Bodies()); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
	h := got[0].Header
	if got[0].Path != path+"?a=b" || h.Get("Content-Type") != "application/json" || h.Get("Authorization") != "Bearer "+token || h.Get("User-Agent") != "backstay" {
		t.Errorf("got %s with %v", got[0].Path, h)
	}
	if want := webhook.Sign(core.NewSecret(signing), clock{}.Now(), []byte(want[0])); h.Get(webhook.SignatureHeader) != want {
		t.Errorf("signature %s, want %s", h.Get(webhook.SignatureHeader), want)
	}
}

// TestSign is a known answer, computed with openssl.
func TestSign(t *testing.T) {
	const want = "t=1800000000,v1=5c0c687fa7cd096e3c9444196b0c57cc5fe0c51c925f0c8d91517f279b247b9e"
	if got := webhook.Sign(core.NewSecret(signing), clock{}.Now(), []byte(`{"schema":1}`)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestUnsigned: without a secret there is no signature.
func TestUnsigned(t *testing.T) {
	site := wiretest.New(t, "", "")
	opt := options(site.URL)
	opt.Secret = core.Secret{}
	if _, err := open(t, opt).Deliver(t.Context(), "kept", notifytest.Message(core.AlarmUpdated, "a")); err != nil {
		t.Fatal(err)
	}
	if h := site.Taken()[0].Header; h.Get(webhook.SignatureHeader) != "" {
		t.Errorf("it is signed: %v", h)
	}
}

// TestRef: a ref is kept until the receiver has another.
func TestRef(t *testing.T) {
	for body, want := range map[string]string{
		"": "old", `{"ref":"new"}`: "new", `{"ref":""}`: "old", `{"ref":12}`: "old", `{"ref":"` + strings.Repeat("x", 201) + `"}`: "old",
	} {
		site := wiretest.New(t, "application/json", body)
		got, err := open(t, options(site.URL)).Deliver(t.Context(), "old", notifytest.Message(core.AlarmUpdated, "a"))
		if err != nil || got != want {
			t.Errorf("%.20s: got %q, %v, want %q", body, got, err, want)
		}
	}
}

// TestOptions: what cannot work is said when it is configured, without secrets.
func TestOptions(t *testing.T) {
	header := func(name, value string) func(*webhook.Options) {
		return func(o *webhook.Options) { o.Headers = map[string]core.Secret{name: core.NewSecret(value)} }
	}
	cases := map[string]struct {
		text   string
		change func(*webhook.Options)
	}{
		"none":         {"no address", func(o *webhook.Options) { o.URL = core.Secret{} }},
		"not a URL":    {"not a URL", func(o *webhook.Options) { o.URL = core.NewSecret("http://host:x/" + token) }},
		"scheme":       {"does not begin with", func(o *webhook.Options) { o.URL = core.NewSecret("file:///" + token) }},
		"host":         {"names no host", func(o *webhook.Options) { o.URL = core.NewSecret("https:///" + token) }},
		"header":       {"not the name of a header", header("X Y", token)},
		"empty header": {"not the name of a header", header("", token)},
		"two lines":    {"more than one line", header("X-Y", token+"\r\nX-Z: 1")},
		"reserved":     {"not for the configuration", header("content-length", token)},
		"signature":    {"not for the configuration", header("x-backstay-signature", token)},
		"authorities":  {"read authorities", func(o *webhook.Options) { o.CA = "/nonexistent" }},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		opt := options("https://hooks.example.org" + path)
		cases[name].change(&opt)
		_, err := webhook.New(opt)
		if err == nil || !strings.Contains(err.Error(), cases[name].text) || core.HintOf(err) == "" || core.CodeOf(err) != core.CodeConfig {
			t.Errorf("%s: got %v, want %q", name, err, cases[name].text)
			continue
		}
		notifytest.Discreet(t, err, []string{token, signing, path})
	}
}
