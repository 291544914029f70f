package itop

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

// extensions are those that iTop's setup calls mandatory
// (SetupUtils::GetPHPMandatoryExtensions) and that PHP does not always have.
func extensions() []string {
	return []string{"mysqli", "iconv", "simplexml", "soap", "json", "session", "dom", "zlib", "zip", "fileinfo", "mbstring", "gd", "curl"}
}

// Compare looks at versions, modules, encryption, PHP and address.
func (p Profile) Compare(ctx context.Context, c profile.Comparison) []core.Finding {
	environment := environmentOf(c.Manifest.Settings)
	php, there := profile.AskPHP(ctx, p.PHP)
	var out []core.Finding
	out = append(out, compareCode(c)...)
	out = append(out, compareModules(ctx, c, environment)...)
	out = append(out, compareEncryption(c, php, there)...)
	out = append(out, profile.ComparePHP(php, there, c.Live != nil, extensions()))
	return append(out, compareURL(c)...)
}

// full is the version that the setup writes into the database:
// ITOP_VERSION_FULL.
func full(versions map[string]string) string {
	v := versions[VersionApplication]
	if v != "" && versions[VersionRevision] != "" {
		v += "-" + versions[VersionRevision]
	}
	return v
}

// codeThere returns the versions of the code as it will be.
func codeThere(c profile.Comparison) map[string]string {
	if c.Code {
		return c.Manifest.Versions
	}
	versions, _ := codeVersions(c.Root)
	return versions
}

// compareCode compares the database's version with the code's. The revision is
// a build number in releases and "svn" in the sources.
func compareCode(c profile.Comparison) []core.Finding {
	database := c.Manifest.Versions[VersionSchema]
	if database == "" {
		database = full(c.Manifest.Versions)
	}
	code := full(codeThere(c))
	if code == "" {
		if c.Code {
			return nil
		}
		return []core.Finding{{
			Kind: core.FindingDecision, Name: profile.FindingNoCode, Object: c.Root, Message: "there is no code of iTop whose version could be read, and none is restored",
			Hint: "restore the code too (--only with code), or put iTop " + database + " there first",
		}}
	}
	f := core.Finding{Kind: core.FindingFine, Name: profile.FindingVersion}
	if c.Target == nil {
		return nil
	}
	switch order := profile.CompareVersions(database, code); {
	case database == "":
		f.Message = "the backup does not say which iTop its database belongs to; the code is iTop " + code
	case order == 0:
		f.Message = "code and database are both of iTop " + database
	case order < 0:
		f.Name = profile.FindingOlderBackup
		f.Message = fmt.Sprintf("the database is of iTop %s and the code here is iTop %s: iTop's setup has to be run after the restore", database, code)
		f.Hint = "or restore the code too (--only with code)"
	default:
		f.Kind, f.Name = core.FindingDecision, profile.FindingNewerBackup
		f.Message = fmt.Sprintf("the database is of iTop %s and the code here is the older iTop %s, which does not know it", database, code)
		f.Hint = "restore the code too (--only with code), or update iTop's code first; --force " + profile.FindingNewerBackup + " goes on"
	}
	return []core.Finding{f}
}

// moduleFile is how a module's declaration is called.
var moduleFile = regexp.MustCompile(`^module\.(.+)\.php$`)

// compareModules finds modules that the data need and the code will lack, and
// modules that were installed since.
func compareModules(ctx context.Context, c profile.Comparison, environment string) []core.Finding {
	needed := profile.ModulesOf(c.Manifest.Modules)
	if len(needed) == 0 || c.Target == nil {
		return nil
	}
	var out []core.Finding
	if missing := profile.Without(needed, modulesThere(ctx, c, environment)); len(missing) > 0 && c.Root != "" {
		out = append(out, core.Finding{
			Kind: core.FindingDecision, Name: profile.FindingModules, Object: core.Some(missing, 10),
			Message: "the backup's data belong to modules whose code is neither here nor restored: iTop will not show what they hold, and may not compile",
			Hint:    "restore files and code too, or put the modules into " + filepath.Join(c.Root, "extensions") + " first",
		})
	}
	if c.Live != nil && len(c.Live.Modules) > 0 {
		if since := profile.Without(profile.ModulesOf(c.Live.Modules), needed); len(since) > 0 {
			out = append(out, core.Finding{
				Kind: core.FindingFine, Name: profile.FindingModules, Object: core.Some(since, 10),
				Message: "these modules were installed after the backup and will not be installed after the restore",
				Hint:    "run iTop's setup afterwards to install them again",
			})
		}
	}
	if len(out) == 0 {
		out = append(out, core.Finding{Kind: core.FindingFine, Name: profile.FindingModules, Message: fmt.Sprintf("the code of all %d modules is there", len(needed))})
	}
	return out
}

// maxModules bounds how many files are looked at for modules.
const maxModules = 100_000

// modulesThere names the modules that the code will have, by the names of their
// declarations.
func modulesThere(ctx context.Context, c profile.Comparison, environment string) []string {
	var names []string
	add := func(name string) {
		if m := moduleFile.FindStringSubmatch(name); m != nil {
			names = append(names, m[1])
		}
	}
	for _, place := range []struct {
		dir      string
		restored bool
	}{{"datamodels", c.Code}, {"extensions", c.Files}, {"data/" + environment + "-modules", c.Files}} {
		if c.List != nil {
			if paths, err := c.List(ctx, place.dir); err == nil {
				for _, p := range paths {
					add(filepath.Base(p))
				}
			}
		}
		if c.Root == "" {
			continue
		}
		// What lies here stays, for the most part, also where files are restored.
		looked := 0
		_ = filepath.WalkDir(filepath.Join(c.Root, place.dir), func(_ string, d fs.DirEntry, err error) error {
			if looked++; err != nil || looked > maxModules {
				return fs.SkipDir // what cannot be read has no modules for iTop either
			}
			add(d.Name())
			return nil
		})
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// compareEncryption looks at what fields of the type "encrypted string" need:
// the library and the key, which is in the configuration, not in the database.
func compareEncryption(c profile.Comparison, php profile.PHP, there bool) []core.Finding {
	if c.Target == nil {
		return nil
	}
	library := c.Manifest.Settings[SettingLibrary]
	needs := map[string][]string{
		"Sodium": {"sodium"}, "OpenSSL": {"openssl"}, "OpenSSLMcryptCompatibility": {"openssl"}, "Mcrypt": {"mcrypt", "openssl"},
	}[library]
	var out []core.Finding
	if there && needs != nil && !php.Has(needs...) {
		f := core.Finding{
			Kind: core.FindingDecision, Name: profile.FindingEncryption, Object: library,
			Message: fmt.Sprintf("encrypted fields were written with %s, and the command line's PHP %s has no %s: iTop would not read them", library, php.Version, strings.Join(needs, " or ")),
			Hint:    "install the extension for the web server's PHP too",
		}
		if c.Live != nil && c.Live.Settings[SettingLibrary] == library {
			f.Kind = core.FindingFine // the web server's PHP has it
		}
		out = append(out, f)
	}
	if c.Config == nil {
		return out
	}
	then, thenOK := encryptionKey(c.Config)
	now, nowOK := encryptionKey(c.LiveConfig)
	switch {
	case !thenOK:
		out = append(out, core.Finding{
			Kind: core.FindingDecision, Name: profile.FindingEncryption, Object: "encryption_key",
			Message: "the backup's configuration holds no encryption key in plain text: without the one that it was written with, encrypted fields cannot be read",
			Hint:    "see what encryption_key was on the machine of origin",
		})
	case !c.Settings && nowOK && now != then:
		out = append(out, core.Finding{
			Kind: core.FindingDecision, Name: profile.FindingEncryption, Object: "encryption_key",
			Message: "the key here differs from the backup's, and the configuration is not restored: iTop could not read the encrypted fields that come back",
			Hint:    "restore the configuration too, or write the backup's encryption_key into it",
		})
	case c.Settings && nowOK && now != then:
		out = append(out, core.Finding{
			Kind: core.FindingFine, Name: profile.FindingEncryption, Object: "encryption_key",
			Message: "the key here differs from the backup's, which comes back with its data",
		})
	default:
		out = append(out, core.Finding{Kind: core.FindingFine, Name: profile.FindingEncryption, Message: "the key for encrypted fields is there"})
	}
	return out
}

func encryptionKey(config []byte) (string, bool) {
	f, err := phpconf.Parse(config)
	if err != nil {
		return "", false
	}
	v, ok := find(f, "MySettings", []string{"encryption_key"})
	if !ok || v.Kind() != phpconf.String || trim(v.Text()) == "" {
		return "", false
	}
	return trim(v.Text()), true
}

func compareURL(c profile.Comparison) []core.Finding {
	then := c.Manifest.Settings[SettingURL]
	if !c.Settings || c.Live == nil || then == "" || then == c.Live.Settings[SettingURL] {
		return nil
	}
	return []core.Finding{{
		Kind: core.FindingFine, Name: "url", Object: "app_root_url",
		Message: fmt.Sprintf("it was %q when the backup was made, which comes back; it is %q now", then, c.Live.Settings[SettingURL]),
	}}
}

// administrator is the id of iTop's profile Administrator (ADMIN_PROFILE_ID).
const administrator = "1"

// Check compares what the setup wrote into the database, and looks for an
// administrator who may log in.
func (p Profile) Check(ctx context.Context, q profile.Querier, found *core.Application, r profile.Restored) []core.Finding {
	now := &core.Application{Database: &core.DatabaseSource{Prefix: r.Prefix}, Versions: map[string]string{}}
	if found != nil && found.Database != nil {
		now.Database.Name = found.Database.Name
	}
	err := p.Versions(ctx, q, now)
	out := []core.Finding{profile.CheckSchema(now, r.Versions[VersionSchema], err, VersionSchema)}
	table := func(name string) string { return profile.QuoteName(r.Prefix + name) }
	return append(out, profile.CheckSome(ctx, q, profile.FindingAdministrators, "administrators who may log in",
		"SELECT COUNT(DISTINCT u.id) FROM "+table("priv_user")+" u JOIN "+table("priv_urp_userprofile")+" p ON p.userid = u.id WHERE u.status = 'enabled' AND p.profileid = "+administrator))
}
