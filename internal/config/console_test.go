package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/google/go-cmp/cmp"
)

var comparePrefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func TestConsole(t *testing.T) {
	c := parsed(t, `
console:
  enabled: false
  url: https://desk.example.org/backups/
  tls: {certificate: /etc/backstay/tls.crt, key: /etc/backstay/tls.key}
  proxies: [127.0.0.1, 10.1.0.0/24, "fd00::/8", "::1"]
  headers: {address: X-Forwarded-For, proto: X-Forwarded-Proto, host: X-Forwarded-Host}
  plain: true
  session: {idle: 15m, absolute: 8h}
  language: fr
  downloads: {keep: 2h, max: 50GB}
  oidc:
    issuer: https://id.example.org/realms/main
    client_id: backstay
    client_secret_env: OIDC_SECRET
    scopes: [openid, groups]
    name_claim: email
    roles_claim: realm_access.roles
    roles: {admin: [backstay-admins], operator: [it, desk], viewer: [all staff]}
    default_role: viewer
    label: Company account
`)
	want := Console{
		URL: "https://desk.example.org/backups", Certificate: "/etc/backstay/tls.crt", Key: "/etc/backstay/tls.key",
		Proxies: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::1/128"),
		},
		Headers: ConsoleHeaders{Address: "X-Forwarded-For", Proto: "X-Forwarded-Proto", Host: "X-Forwarded-Host"},
		Plain:   true, Idle: 15 * time.Minute, Absolute: 8 * time.Hour, Language: "fr", Keep: 2 * time.Hour, Most: 50e9,
		OIDC: OIDC{
			Issuer: "https://id.example.org/realms/main", ClientID: "backstay", Secret: SecretSource{PasswordEnv: "OIDC_SECRET"},
			Scopes: []string{"openid", "groups"}, NameClaim: "email", RolesClaim: "realm_access.roles",
			Admin: []string{"backstay-admins"}, Operator: []string{"it", "desk"}, Viewer: []string{"all staff"},
			DefaultRole: "viewer", Label: "Company account",
		},
	}
	if diff := cmp.Diff(want, c.Console, compareSecrets, comparePrefixes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"OIDC_SECRET"}, c.PasswordEnv()); diff != "" {
		t.Error("the variable is not known to hold a secret: ", diff)
	}
	if diff := cmp.Diff(DefaultConsole(), parsed(t, "console: {}\n").Console, compareSecrets, comparePrefixes); diff != "" {
		t.Error(diff)
	}
	for in, want := range map[string][2]time.Duration{
		"{absolute: 10m}":          {10 * time.Minute, 10 * time.Minute},
		"{idle: 1d}":               {24 * time.Hour, 24 * time.Hour},
		"{idle: 1h}":               {time.Hour, 12 * time.Hour},
		"{absolute: 1w}":           {30 * time.Minute, 7 * 24 * time.Hour},
		"{idle: 5m, absolute: 5m}": {5 * time.Minute, 5 * time.Minute},
	} {
		c := parsed(t, "console: {session: "+in+"}\n").Console
		if got := [2]time.Duration{c.Idle, c.Absolute}; got != want {
			t.Errorf("session %s is %v, not %v", in, got, want)
		}
	}
}

func TestConsoleErrors(t *testing.T) {
	for in, want := range map[string][2]string{
		"url: desk.example.org":               {`f:5:8: "url" must be a web address, not "desk.example.org"`, "such as https://desk.example.org/"},
		"url: https://a/b/../c":               {`f:5:8: "url" cannot be "https://a/b/../c"`, "write the path as it is shown in the browser: https://desk.example.org/backups"},
		"url: https://a//b":                   {`f:5:8: "url" cannot be "https://a//b"`, "write the path as it is shown in the browser: https://desk.example.org/backups"},
		"tls: {certificate: /c}":              {`f:5:3: "tls" needs "certificate" and "key"`, "give the paths of both"},
		"tls: {certificate: c, key: /k}":      {`f:5:22: "certificate" must be an absolute path, not "c"`, "begin it with /"},
		"proxies: [nginx]":                    {`f:5:13: an entry of "proxies" is no address: "nginx"`, "such as 127.0.0.1, 10.1.0.0/24 or fd00::/8; names are not asked for"},
		"proxies: [10.1.2.3/8]":               {`f:5:13: an entry of "proxies" is no network: "10.1.2.3/8"`, `did you mean "10.0.0.0/8"?`},
		"proxies: [0.0.0.0/0]":                {`f:5:13: an entry of "proxies" is everybody: "0.0.0.0/0"`, "name the addresses that are meant"},
		"proxies: [127.0.0.1]":                {`f:5:3: there is nothing that "proxies" are believed`, "add headers: {address: X-Forwarded-For, proto: X-Forwarded-Proto}, or those that the proxy sets"},
		"headers: {address: X-Forwarded-For}": {`f:5:3: "headers" are believed of nobody without "proxies"`, "add proxies: with the addresses that they come from"},
		`headers: {address: "X For"}`:         {`f:5:22: "address" cannot be "X For"`, "write the name of a header, such as X-Forwarded-For"},
		"session: {idle: 2h, absolute: 1h}":   {`f:5:13: "idle" is longer than "absolute"`, "make it shorter than absolute"},
		"session: {idle: 0}":                  {`f:5:19: "idle" cannot be "0"`, "write a minute or more, with w, d, h or m: 6h, 30m, 1d"},
		"language: es":                        {`f:5:13: "language" cannot be "es"`, `did you mean "en"?`},
		"downloads: {max: lots}":              {`f:5:20: "max" cannot be "lots"`, "write a whole number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB: 500GB, 1TiB"},
		"oidc: {issuer: https://i, client_id: a, default_role: viewer}":                                           {`f:5:3: "oidc" needs the "url" of the console`, "add url: to console, with the address that the provider sends people back to"},
		"oidc: {client_id: a, default_role: viewer}":                                                              {`f:5:3: "oidc" has no "issuer"`, "add issuer:, as the provider says"},
		"oidc: {issuer: https://i, client_id: a}\n  url: https://a":                                               {`f:5:3: "oidc" lets nobody in`, "add roles: {admin: [the name of a group]}, or default_role: viewer"},
		"oidc: {issuer: http://i, client_id: a, default_role: viewer}\n  url: https://a":                          {`f:5:10: the answers of http://i could be changed on their way`, "use https"},
		"oidc: {issuer: https://i, client_id: a, default_role: root}\n  url: https://a":                           {"f:5:3: \"oidc\" lets nobody in\nf:5:57: \"default_role\" cannot be \"root\"", "line 5: add roles: {admin: [the name of a group]}, or default_role: viewer\nline 5: roles are viewer, operator, admin"},
		"oidc: {issuer: https://i, client_id: a, default_role: viewer, scopes: [email]}\n  url: https://a":        {`f:5:65: "scopes" has no "openid", without which there is no login`, "add openid"},
		"oidc: {issuer: https://i, client_id: a, default_role: viewer, client_secret_env: no!}\n  url: https://a": {`f:5:84: "client_secret_env" must be the name of an environment variable`, "give the name, such as BACKSTAY_PASSWORD, not the client's secret"},
	} {
		_, err := Parse("f", []byte(repositoryYAML+"console:\n  "+in+"\n"))
		if err == nil {
			t.Errorf("%s: no error", in)
			continue
		}
		if diff := cmp.Diff(want, [2]string{err.Error(), core.HintOf(err)}); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

// TestExposure: what other machines can do is said, wherever the sections stand.
func TestExposure(t *testing.T) {
	const metrics, nobody, plain = "metrics and health", "nobody can log in", "passwords for the console"
	for in, want := range map[string][]string{
		"":                       nil,
		"console: {plain: true}": nil, // of this machine only
		"service: {listen: \"127.0.0.1:1\"}\nconsole: {plain: true}":                                         nil,
		"service: {listen: off}":                                                                             nil,
		"service: {listen: \":8484\"}":                                                                       {metrics, nobody},
		"service: {listen: \":8484\"}\nconsole: {enabled: false}":                                            {metrics},
		"console: {plain: true}\nservice: {listen: \"192.0.2.1:8484\"}":                                      {metrics, plain},
		"console: {tls: {certificate: /c, key: /k}}\nservice: {listen: \":8484\"}":                           {metrics},
		"service: {listen: \":8484\"}\nconsole: {proxies: [192.0.2.7], headers: {proto: X-Forwarded-Proto}}": {metrics},
	} {
		var got []string
		for _, w := range parsed(t, in+"\n").Warnings {
			for _, known := range []string{metrics, nobody, plain} {
				if strings.HasPrefix(w.Message, known) && w.Code == "exposed" {
					got = append(got, known)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

// TestSecretOfTheProviderNeedsAPrivateFile: as other secrets of the file do.
func TestSecretOfTheProviderNeedsAPrivateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backstay.yaml")
	text := repositoryYAML + "console:\n  url: https://a\n  oidc: {issuer: https://i, client_id: a, client_secret: hunter2, default_role: viewer}\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "holds a password") {
		t.Errorf("error %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err != nil || c.Console.OIDC.Secret.Password.Reveal() != "hunter2" {
		t.Errorf("error %v", err)
	}
}
