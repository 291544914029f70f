package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/config/proving"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/schedule"
)

const provingYAML = `
repository: {url: "file:///r", password_file: /k}
verify: {schedule: {time: 03:00}, cover: 60d}
secrets: {recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudhs3hgsa9xp5h], identity_file: /etc/backstay/secrets.key}
kit: {proof_age: 90d}
defaults:
  drill: {schedule: {cron: "0 5 * * 0"}, newest: 14d, last: 10, each: 60d}
  targets: {rpo: 24h, rto: 4h}
apps:
  - name: docs
    profile: itflow
    root: /var/www/itflow
    drill:
      mode: sample
      sample: 2.5%
      login: {user: ada@example.org, password_file: /etc/backstay/drill.pw}
      server: /usr/sbin/mariadbd
      php: off
      dir: /mnt/large
      disk: 50GB
      memory: 512MB
      nice: 15
  - name: helpdesk
    profile: itop
    root: /var/www/itop
    drill: {mode: sample, schedule: {enabled: false}}
    targets: {rto: 30m}
`

func TestProving(t *testing.T) {
	c, err := Parse("f", []byte(provingYAML))
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	sundays := schedule.Spec{Name: "drill", Cron: "0 5 * * 0"}
	want := Drill{
		Drill: proving.Drill{
			Schedule: sundays, Scheduled: true, Newest: 14 * day, Last: 10, Each: 60 * day, Mode: proving.Sample, Sample: 0.025, LoginUser: "ada@example.org", Server: "/usr/sbin/mariadbd",
			PHP: proving.PHPOff, Dir: "/mnt/large", Disk: 50_000_000_000, Memory: 512_000_000, Nice: 15,
		},
		Login: SecretSource{PasswordFile: "/etc/backstay/drill.pw"},
	}
	if diff := cmp.Diff(want, c.Apps[0].Drill, cmp.AllowUnexported(core.Secret{})); diff != "" {
		t.Error(diff)
	}
	off := sundays
	off.Off = true
	want = Drill{Drill: proving.Drill{Schedule: off, Scheduled: true, Newest: 14 * day, Last: 10, Each: 60 * day, Mode: proving.Sample, Nice: 10}}
	if diff := cmp.Diff(want, c.Apps[1].Drill, cmp.AllowUnexported(core.Secret{})); diff != "" {
		t.Error(diff)
	}
	if a, b := c.Apps[0].Drill.Share(), c.Apps[1].Drill.Share(); a != 0.025 || b != 0.05 {
		t.Errorf("shares %v and %v", a, b)
	}
	if got := c.Apps[0].Targets; got != (Targets{RPO: day, RTO: 4 * time.Hour}) {
		t.Errorf("targets %+v", got)
	}
	if got := c.Apps[1].Targets; got != (Targets{RPO: day, RTO: 30 * time.Minute}) {
		t.Errorf("targets %+v", got)
	}
	if c.Verify.Cover != 60*day || !c.Verify.Scheduled || c.Kit.ProofAge != 90*day || c.Secrets.IdentityFile != "/etc/backstay/secrets.key" || len(c.Secrets.Recipients) != 1 {
		t.Errorf("got %+v, %+v, %+v", c.Verify, c.Kit, c.Secrets)
	}
}

func TestProvingErrors(t *testing.T) {
	for text, want := range map[string]string{
		"secrets: {recipients: [ssh-ed25519 AAAA]}":                                 "age",
		"kit: {proof_age: soon}":                                                    "off",
		"verify: {cover: never}":                                                    "cover",
		"defaults: {drill: {sample: 100%}}":                                         "5%",
		"defaults: {drill: {sample: 7}}":                                            "5%",
		"defaults: {drill: {php: php}}":                                             "off",
		"defaults: {drill: {mode: half}}":                                           "full",
		"defaults: {drill: {login: {pasword: x}}}":                                  "password",
		"defaults: {drill: {login: {user: x, password_file: /a, password_env: B}}}": "keep one",
		"defaults: {targets: {rto: 4}}":                                             "rto",
		"defaults: {drill: {schedule: {week_days: mon}}}":                           "time",
	} {
		_, err := Parse("f", []byte("repository: {url: \"file:///r\", password_file: /k}\n"+text+"\n"))
		if core.CodeOf(err) != core.CodeConfig || !strings.Contains(err.Error()+" "+core.HintOf(err), want) {
			t.Errorf("%s: %v (%s)", text, err, core.HintOf(err))
		}
	}
}
