package edit

import (
	"os"
	"strings"
	"testing"
	"time"
)

const guarded = `repository: {url: "file:///r", password: &key hunter2}
defaults:
  check: {max_age: 26h}
apps:
  - name: desk
    profile: itop
    root: /a
    notify:
      - type: mail
        host: mail.example.org
        from: a@example.org
        to: [c@example.org]
        user: u
        password: hunter3
      - {type: itop, url: "https://itop.example.org/", user: u, customer: c, password_file: /itop.pw}
      - {type: itflow, name: env, url: "https://itflow.example.org/", api_key_env: FLOW_KEY}
      - {type: webhook, url: "https://hook.example.org/hunter4", secret: hunter5, headers: {X-Key: hunter6}}
  - name: docs
    profile: itflow
    root: /b
`

const (
	keptMail = "- {type: mail, host: mail.example.org, from: a@example.org, to: [c@example.org], user: u, password: \"(secret 1 is kept)\"}\n"
	keptHook = "- {type: webhook, url: \"(secret 2 is kept)\", secret: \"(secret 3 is kept)\", headers: {X-Key: \"(secret 4 is kept)\"}}\n"
)

// TestSecretsGoNowhereElse: who changes settings here has no secret sent to
// where it did not go before.
func TestSecretsGoNowhereElse(t *testing.T) {
	const itop = `type: itop, url: "http://127.0.0.1:8799/", user: u, customer: c`
	for name, text := range map[string]string{
		"a new file":                     `- {` + itop + `, password_file: /etc/backstay/repository.key}`,
		"a new variable":                 `- {` + itop + `, password_env: SECRET}`,
		"a quoted key":                   `- {` + itop + `, "password_file": /k}`,
		"an escaped key":                 `- {` + itop + `, "password\x5ffile": /k}`,
		"in lines":                       "- type: itop\n  url: http://127.0.0.1:8799/\n  user: u\n  customer: c\n  password_file: /itop.pw",
		"a file that is known":           `- {` + itop + `, password_file: /itop.pw}`,
		"a variable that is known":       `- {type: itflow, name: env, url: "http://127.0.0.1:8799/", api_key_env: FLOW_KEY}`,
		"another file":                   `- {type: itop, url: "https://itop.example.org/", user: u, customer: c, password_file: /k}`,
		"a file under another key":       `- {type: webhook, url: "(secret 2 is kept)", secret_file: /itop.pw}`,
		"an address in a file":           `- {type: chat, url_file: /k}`,
		"an address in a variable":       `- {type: ping, url_env: FLOW_KEY}`,
		"a file merged in":               "- &a {type: itop, url: \"https://itop.example.org/\", user: u, customer: c, password_file: /itop.pw}\n- {<<: *a, name: b, url: \"http://127.0.0.1:8799/\"}",
		"a file by an alias":             "- {type: itop, url: \"https://itop.example.org/\", user: u, customer: c, password_file: &f /itop.pw}\n- {name: b, " + itop + ", password_file: *f}",
		"the repository's key":           `- {` + itop + `, password: *key}`,
		"the repository's key, as title": `- {` + itop + `, password: a, title: *key}`,
		"kept, of another type":          `- {` + itop + `, password: "(secret 1 is kept)"}`,
		"kept, in other quotes":          `- {` + itop + `, password: "'(secret 1 is kept)'"}`,
		"kept, another host":             strings.Replace(keptMail, "mail.example.org", "127.0.0.1", 1),
		"kept, another port":             strings.Replace(keptMail, "mail.example.org", "mail.example.org, port: 8799", 1),
		"kept, another encryption":       strings.Replace(keptMail, "mail.example.org", "mail.example.org, tls: implicit", 1),
		"kept header":                    `- {type: webhook, url: "http://127.0.0.1:8799/", headers: {X-Key: "(secret 4 is kept)"}}`,
		"kept under another header":      `- {type: webhook, url: "(secret 2 is kept)", headers: {X-Other: "(secret 4 is kept)"}}`,
		"kept signature as header":       `- {type: webhook, url: "(secret 2 is kept)", headers: {X-Key: "(secret 3 is kept)"}}`,
		"kept signature":                 `- {type: webhook, url: "http://127.0.0.1:8799/", secret: "(secret 3 is kept)"}`,
		"kept as address":                `- {type: ping, url: "(secret 1 is kept)"}`,
		"kept, by an alias":              `- {type: mail, host: mail.example.org, from: a@example.org, to: [c@example.org], user: u, password: &p "(secret 1 is kept)"}` + "\n- {" + itop + ", password: *p}",
		"kept, merged in":                strings.Replace(keptMail, "- {", "- &m {", 1) + "- {<<: *m, name: b, host: 127.0.0.1}",
		"kept, in a plain key":           `- {type: mail, host: mail.example.org, from: a@example.org, to: [c@example.org], user: u, password: &p "(secret 1 is kept)"}` + "\n- {" + itop + ", password: a, title: *p}",
		"there is no such secret":        `- {` + itop + `, password: "(secret 9 is kept)"}`,
	} {
		d := read(t, written(t, guarded))
		p, err := d.Replace("desk", "notify", text)
		if err == nil && len(p.Problems) == 0 {
			t.Errorf("%s: taken:\n%s", name, p.After)
		}
		if err == nil {
			for _, q := range p.Problems {
				if q.Hint != "write it out" && !strings.Contains(q.Message, "would go elsewhere") && !strings.Contains(q.Message, "with an editor, not here") {
					t.Errorf("%s: another problem: %+v", name, q)
				}
				if strings.Contains(q.Message+q.Hint, "hunter") {
					t.Errorf("%s: a secret is shown: %+v", name, q)
				}
				if q.Message == "" || q.Hint == "" {
					t.Errorf("%s: problem %+v", name, q)
				}
			}
			if p.Changed() || p.Config() != nil {
				t.Errorf("%s: it could be applied", name)
			}
		} else {
			t.Errorf("%s: error %v", name, err)
		}
	}
	// Where there was no section, there is nothing to be kept.
	for _, scope := range []string{"docs", ""} {
		for _, text := range []string{`- {type: ping, url: "(secret 1 is kept)"}`, `- {type: itop, url: "https://itop.example.org/", user: u, customer: c, password_file: /itop.pw}`} {
			p, err := read(t, written(t, guarded)).Replace(scope, "notify", text)
			if err != nil || len(p.Problems) != 1 || p.Problems[0].Typed != 1 || p.Changed() {
				t.Errorf("%q %s: %v %+v", scope, text, err, p)
			}
		}
	}
}

func TestSecretsStay(t *testing.T) {
	itop := `- {type: itop, url: "https://itop.example.org/", user: u, customer: c, password_file: /itop.pw}` + "\n"
	for name, text := range map[string]string{
		"in another order":     keptHook + itop + keptMail,
		"renamed":              strings.Replace(keptMail, "{", "{name: desk, ", 1) + strings.Replace(itop, "{", "{name: tickets, title: T, ", 1),
		"only one":             keptHook,
		"in lines":             "- type: itop\n  'password_file': \"/itop.pw\"\n  url: https://itop.example.org/\n  customer: other\n  user: u",
		"by an alias":          "- {type: itop, url: &u \"https://itop.example.org/\", user: u, customer: c, password_file: /itop.pw}\n- {type: itop, name: b, url: *u, user: v, customer: c, password_file: /itop.pw}",
		"a variable":           `- {type: itflow, url: "https://itflow.example.org/", api_key_env: FLOW_KEY}`,
		"elsewhere, typed":     `- {type: itop, url: "http://127.0.0.1:8799/", user: u, customer: c, password: typed}`,
		"typed, with a header": `- {type: webhook, url: "http://127.0.0.1:8799/", headers: {X-Key: typed}}`,
	} {
		p, err := read(t, written(t, guarded)).Replace("desk", "notify", text)
		if err != nil || len(p.Problems) > 0 || !p.Changed() {
			t.Errorf("%s: %v %+v", name, err, p)
			continue
		}
		if strings.Contains(string(p.After), "is kept") {
			t.Errorf("%s: what stands for a secret was written:\n%s", name, p.After)
		}
	}
}

// TestKeptAsItIs: what is one value on a line of its own can be more in braces.
func TestKeptAsItIs(t *testing.T) {
	for _, raw := range []string{`hunter3, port: 8799`, `hunter3, port`, `hunter3, "port":8799`, `hunter3,"password_file":/k`, `hunter3, *key`, `hunter3}, {type: ping`, `hunter3} #`} {
		d, err := Read(written(t, strings.Replace(guarded, "hunter3", raw, 1)))
		if err != nil {
			continue // it is no single value there either
		}
		p, err := d.Replace("desk", "notify", keptMail)
		if err == nil && len(p.Problems) == 0 {
			t.Errorf("%s: taken:\n%s", raw, p.After)
		}
		if err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: the secret is shown: %v", raw, err)
		}
	}
}

// TestPutBackSecrets: a former version has its own secrets.
func TestPutBackSecrets(t *testing.T) {
	path, state := written(t, guarded), t.TempDir()
	p, err := read(t, path).Replace("desk", "notify", "[]")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(time.Unix(1, 0), state, "me"); err != nil {
		t.Fatal(err)
	}
	list, err := Versions(state)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	back, err := read(t, path).PutBack(state, list[0].ID)
	if err != nil || len(back.Problems) > 0 {
		t.Fatalf("%v %+v", err, back)
	}
	if err := back.Apply(time.Unix(2, 0), state, "me"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != guarded {
		t.Errorf("%v:\n%s", err, got)
	}
}
