// Package proving has the sections of backstay.yaml that say how backups are
// proven: drills and targets of an app, and of the repository its reading back,
// who can open sealed secrets, and reminders of recovery kits. It is for package
// config. It promises to read nothing but the configuration's text.
package proving

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/goccy/go-yaml/ast"
)

// Drill is what `drill` of an app says.
type Drill struct {
	Schedule  schedule.Spec
	Scheduled bool          // Schedule is given
	Newest    time.Duration // the newest backup is drilled at least so often; 0: by each run
	Last      int           // so many of the newest are drilled in turn; 0: only the newest
	Each      time.Duration // each of them at least so often
	Mode      string        // Full, Sample, or "": as Sample is given or not
	Sample    float64       // the share of rows and files that is looked at; 0: not given
	LoginUser string        // a user of the application; "": the login form is looked at
	Server    string        // absolute path of the private server's program; "": the best one
	Scratch   bool          // the server of `scratch` in place of a private one
	PHP       string        // absolute path, or PHPOff; "": from PATH
	Dir       string        // absolute; "": the system's folder for temporary files
	Disk      int64         // bytes at most; 0: what is free
	Memory    int64         // of the private server; 0: its default
	Nice      int           // 0 to 19
}

// The modes of drills.
const (
	Full   = "full"
	Sample = "sample"
)

// Share is the share of rows and files that is looked at; 0: all.
func (d Drill) Share() float64 {
	switch {
	case d.Mode == Full:
		return 0
	case d.Mode == Sample && d.Sample == 0:
		return defaultSample
	}
	return d.Sample
}

// PHPOff says that the application is not started.
const PHPOff = "off"

// DefaultDrill is what holds where the file says nothing.
func DefaultDrill() Drill {
	return Drill{Schedule: schedule.Spec{Name: "drill"}, Newest: 7 * 24 * time.Hour, Each: 30 * 24 * time.Hour, Nice: 10}
}

// DrillFields are those of `drill`: schedule reads its schedule, and login the
// password of its user, which checkLogin checks.
func DrillFields(d *Drill, schedule strict.Field, login []strict.Field, checkLogin func(*strict.Reader, strict.Position, map[string]strict.Position)) []strict.Field {
	read := schedule.Read
	schedule.Read = func(r *strict.Reader, at strict.Position, n ast.Node) {
		d.Scheduled = true
		read(r, at, n)
	}
	user := strict.TextField("user", &d.LoginUser, strict.NotEmpty)
	return []strict.Field{
		schedule.Describe("when a backup is drilled; never by itself when not given"),
		strict.DurationField("newest", &d.Newest).Describe("the newest backup is drilled at least so often: 7d"),
		strict.NumberField("last", &d.Last, 0, 1000).Describe("so many of the newest backups are drilled in turn; only the newest when not given"),
		strict.DurationField("each", &d.Each).Describe("each of these at least so often: 30d"),
		strict.OneOf("mode", &d.Mode, "modes", Full, Sample).Describe("full restores all; sample the whole schema and a share of rows and files"),
		shareField("sample", &d.Sample).Describe("the share of rows and files of a sample: 5%"),
		strict.SectionField("login", append([]strict.Field{user.Describe("a user of the application, for drills alone")}, login...), checkLogin).Describe("whom a drill logs in as; it only looks at the login form when not given"),
		strict.PathField("server", &d.Server, false).Describe("program of the private database server; the installed one that fits best when not given"),
		strict.BoolField("scratch", &d.Scratch).Describe("use the server of scratch: in place of a private one"),
		phpField("php", &d.PHP).Describe("program that runs the application, or off"),
		strict.PathField("dir", &d.Dir, false).Describe("folder in which the scratch place is made"),
		strict.SizeField("disk", &d.Disk).Describe("the most that it may take of the disk: 50GB"),
		strict.SizeField("memory", &d.Memory).Describe("what the private server buffers pages in: 512MB"),
		strict.NumberField("nice", &d.Nice, 0, 19).Describe("how much it stands back for other programs; 10 when not given"),
	}
}

const defaultSample = 0.05

// Targets are the times that are promised for an app.
type Targets struct {
	RPO time.Duration // how old the newest backup may be when the machine is lost; 0: none is set
	RTO time.Duration // how long a recovery may take; 0: none is set
}

// TargetFields are those of `targets`.
func TargetFields(t *Targets) []strict.Field {
	return []strict.Field{
		strict.DurationField("rpo", &t.RPO).Describe("how old the newest backup may be when it is needed: 24h"),
		strict.DurationField("rto", &t.RTO).Describe("how long a recovery may take: 4h"),
	}
}

// Verify is what `verify` says: how the repository is read back.
type Verify struct {
	Schedule  schedule.Spec
	Scheduled bool          // Schedule is given
	Cover     time.Duration // every object is read at least so often
}

// DefaultVerify is what holds where the file says nothing.
func DefaultVerify() Verify {
	return Verify{Schedule: schedule.Spec{Name: "cover"}, Cover: 30 * 24 * time.Hour}
}

// VerifyFields are those of `verify`.
func VerifyFields(v *Verify, schedule strict.Field) []strict.Field {
	read := schedule.Read
	schedule.Read = func(r *strict.Reader, at strict.Position, n ast.Node) {
		v.Scheduled = true
		read(r, at, n)
	}
	return []strict.Field{
		schedule.Describe("when a part of the repository is read back; never by itself when not given"),
		strict.DurationField("cover", &v.Cover).Describe("every object is read at least so often: 30d"),
	}
}

// Secrets is what `secrets` says: who can open the secrets of backups.
type Secrets struct {
	Recipients   []string // of age: age1…; none: secrets are not sealed
	IdentityFile string   // absolute path of the keys that open them; "": none is here
}

// recipient is an age recipient: bech32 of an X25519 or a hybrid key.
var recipient = regexp.MustCompile(`^age1[a-z0-9]+$`)

// SecretsFields are those of `secrets`.
func SecretsFields(s *Secrets) []strict.Field {
	return []strict.Field{
		strict.ListField("recipients", &s.Recipients, false, func(text string) (wrong, hint string) {
			if !recipient.MatchString(text) {
				return fmt.Sprintf("cannot be %q", strict.Shown(text)), "it is a recipient of age, which begins with age1; backstay key seal makes one"
			}
			return "", ""
		}).Describe("who can open what is secret in configurations; nothing is sealed when not given"),
		strict.PathField("identity_file", &s.IdentityFile, false).Describe("a file with the keys that open it, which its owner only can read"),
	}
}

// Kit is what `kit` says of recovery kits.
type Kit struct {
	ProofAge time.Duration // how long ago somebody may have proven to hold one; negative: nobody is reminded
}

// DefaultKit is what holds where the file says nothing.
func DefaultKit() Kit { return Kit{ProofAge: 180 * 24 * time.Hour} }

// KitFields are those of `kit`.
func KitFields(k *Kit) []strict.Field {
	return []strict.Field{
		strict.ScalarField("proof_age", func(text string) (wrong, hint string) {
			if text == "off" {
				k.ProofAge = -1
				return "", ""
			}
			d, wrong, _ := strict.ParseDuration(text)
			if wrong != "" || d <= 0 {
				return fmt.Sprintf("cannot be %q", strict.Shown(text)), "write a time with w or d: 180d; or off"
			}
			k.ProofAge = d
			return "", ""
		}).Describe("how long ago somebody may have proven to hold a recovery kit (180d), or off for no reminders"),
	}
}

// shareField is a share of all, in percent.
func shareField(key string, into *float64) strict.Field {
	return strict.ScalarField(key, func(text string) (wrong, hint string) {
		n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(text, "%")), 64)
		if err != nil || n <= 0 || n >= 100 || !strings.HasSuffix(text, "%") {
			return fmt.Sprintf("cannot be %q", strict.Shown(text)), "write a share below 100%, such as 5%"
		}
		*into = n / 100
		return "", ""
	})
}

// phpField is a path, or off.
func phpField(key string, into *string) strict.Field {
	return strict.ScalarField(key, func(text string) (wrong, hint string) {
		if text == PHPOff {
			*into = text
			return "", ""
		}
		if wrong, hint := strict.Absolute(text); wrong != "" {
			return wrong, hint + "; or off"
		}
		*into = text
		return "", ""
	})
}
