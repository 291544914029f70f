package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

// TestStandaloneReadsBack: what is written for a machine without a
// configuration says the same when it is read.
func TestStandaloneReadsBack(t *testing.T) {
	want := Config{
		Repository: Repository{URL: "file:///mnt/backup disk/r", SecretSource: SecretSource{PasswordFile: "/etc/backstay/repository.key"}},
		StateDir:   "/var/lib/backstay",
		Apps: []App{
			{Name: "true", Profile: "itop", Root: "/var/www/itop", Environment: "test", URL: "https://desk.example.org/", Consistency: Readonly},
			{
				Name: "wiki", Profile: "generic", Root: "/srv/ünï: #1", Consistency: Online,
				Database: Database{
					Socket: "/run/mysqld/mysqld.sock", User: "wi'ki", SecretSource: SecretSource{PasswordFile: "/etc/wiki pw"}, Name: "1e5", Prefix: "no",
					TLS: core.DatabaseTLS{Mode: "verify-ca", CA: "/etc/ca.pem"}, Connections: 3,
				},
				Files:  []Files{{Path: "/srv/a", Exclude: []string{"thumb/**", "{a,b}", "[x]"}}, {Path: "/srv/b"}},
				Config: []string{"/srv/c, d.ini", "/srv/e.ini"}, Exclude: []string{"**/*.tmp"},
			},
			{Name: "files", Profile: "generic", Consistency: Online, Files: []Files{{Path: "/srv/only"}}, Database: Database{Host: "db.example.org", Port: 3307, User: "u", SecretSource: SecretSource{PasswordEnv: "PW"}, Name: "f"}},
		},
	}
	text, err := want.Standalone()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse("backstay.yaml", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(got.Warnings) > 0 {
		t.Errorf("it has warnings: %v", got.Warnings)
	}
	for i := range want.Apps {
		want.Apps[i] = unsaid(want.Apps[i])
	}
	if diff := cmp.Diff(want.Repository.URL+want.Repository.PasswordFile+want.StateDir, got.Repository.URL+got.Repository.PasswordFile+got.StateDir); diff != "" {
		t.Error(diff)
	}
	secret := cmp.Comparer(func(a, b core.Secret) bool { return a.Reveal() == b.Reveal() })
	if diff := cmp.Diff(want.Apps, got.Apps, secret); diff != "" {
		t.Errorf("written (-) and read (+):\n%s\n%s", diff, text)
	}
}

// TestEntryHoldsNoPassword: what is printed to be pasted is seen by others.
func TestEntryHoldsNoPassword(t *testing.T) {
	app := App{Name: "a", Profile: "generic", Database: Database{User: "u", Name: "d", SecretSource: SecretSource{Password: core.NewSecret("s3cret")}}}
	text, err := app.Entry()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "s3cret") || !strings.Contains(text, "# password_file") {
		t.Errorf("the entry: %s", text)
	}
}
