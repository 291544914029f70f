// Package drill restores a backup into a scratch place and proves that the
// application would come back: that rows and files are what was captured, that
// the profile finds in them what the application needs, that its secrets can be
// read, and, where PHP is installed, that the application itself answers and
// lets a user in. It is for the commands and the service. It promises to touch
// nothing live, to leave nothing behind however it ends, and that a drill that
// did not prove something says so.
package drill

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/repository"
)

// Request says what to drill and how.
type Request struct {
	App         string
	Environment string // iTop's
	Record      repository.Record
	Newest      time.Time       // of the app's backups: what the RPO is measured by; zero: Record's
	Sample      float64         // the share of chunks and files that is looked at, above 0 and below 1; 0: all
	Seed        int64           // chooses them; 0: by chance
	Account     profile.Account // to log in as; none: the login form is looked at
	Program     string          // of the private server; "": the installed one that fits best
	Scratch     *mysql.Config   // a server on which a scratch database is made, in place of a private one
	PHP         string          // path; "": from PATH; "off": the application is not started
	Dir         string          // where the scratch place is made; "": the system's temporary folder
	Disk        int64           // bytes that it may take; 0: what is free
	Memory      int64           // that the private server buffers pages in; 0: its default
	Nice        int             // of what is started, 0 to 19
	RPO, RTO    time.Duration   // targets; 0: none
	Trigger     string
}

// Names of proofs that every drill makes.
const (
	ProofStored  = "stored-data" // what the repository holds of the backup
	ProofRestore = "restore"     // what kept the backup from being restored
	ProofRows    = "rows"        // against the checksums of the capture
	ProofFiles   = "files"       // against the hashes of the capture
	ProofPlan    = "plan"        // what the restore had to know, rewrite or decide
	ProofStep    = "step"        // of the application, after its restore
	ProofPHP     = "php"         // whether the application could be started
	ProofWarning = "warning"     // of the restore, or of the backup
)

// drill is one drill under way.
type drill struct {
	e     *engine.Engine
	req   Request
	out   evidence.Drill
	watch *stopwatch
	open  *engine.Open
	place *place
}

// Run drills a backup. What it found is in the result, also when the drill
// failed or could not go on: then Passed is false, and Failure says what ended
// it. The error says that the drill was cancelled.
func Run(ctx context.Context, e *engine.Engine, req Request) (_ evidence.Drill, err error) {
	d := &drill{e: e, req: req, watch: newStopwatch(e)}
	now := e.Clock.Now()
	d.out = evidence.Drill{
		Schema: evidence.DrillSchema, ID: fmt.Sprintf("%s-%s-%s", req.App, now.UTC().Format("20060102-150405"), strings.ToLower(rand.Text()[:6])),
		App: req.App, Profile: req.Record.Profile, Backstay: e.Version, Host: e.Host, Trigger: cmp.Or(req.Trigger, "manual"), Started: now, Mode: evidence.DrillFull,
		Steps: []evidence.Step{}, Proofs: []core.Proof{},
		Backup: evidence.DrilledBackup{ID: req.Record.ID, Time: req.Record.Time, Host: req.Record.Host, Trigger: req.Record.Trigger, Bytes: req.Record.LogicalBytes, Components: req.Record.Components},
	}
	if req.Sample > 0 && req.Sample < 1 {
		d.out.Mode = evidence.DrillSample
	}
	newest := req.Newest
	if newest.IsZero() {
		newest = req.Record.Time
	}
	d.out.RPO = objective(now.Sub(newest), req.RPO)
	failure := d.run(ctx)
	d.out.Left = d.cleanUp(ctx)
	d.conclude(failure)
	return d.out, ctx.Err()
}

// conclude judges the drill by what was proven.
func (d *drill) conclude(failure error) {
	d.out.Finished = d.e.Clock.Now()
	d.out.Steps = d.watch.steps
	var recovery int64
	for _, s := range d.out.Steps {
		if s.Recovery {
			recovery += s.DurationMS
		}
	}
	if failure != nil {
		d.out.Failure, d.out.Hint = inner(failure).Error(), core.HintOf(failure)
	}
	d.out.Passed = failure == nil && len(d.out.Failed()) == 0
	d.out.RTO = objective(time.Duration(recovery)*time.Millisecond, d.req.RTO)
	d.out.RTO.Missed = d.out.RTO.Missed && d.out.Passed // what did not come back took no time
}

func objective(measured, target time.Duration) evidence.Objective {
	return evidence.Objective{MeasuredMS: measured.Milliseconds(), TargetMS: target.Milliseconds(), Missed: target > 0 && measured > target}
}

// inner is a copy's error without what became of the copy: that is taken away
// with its place.
func inner(err error) error {
	var e *core.Error
	if errors.As(err, &e) && strings.HasPrefix(e.Op, opMakeCopy) && e.Err != nil {
		return e.Err
	}
	return err
}

const opMakeCopy = "make the copy "

func (d *drill) run(ctx context.Context) (err error) {
	if d.open, err = d.e.OpenBackup(ctx, d.req.Record); err != nil {
		d.findDamage(ctx, err)
		return err
	}
	m := &d.open.Manifest
	d.out.Backup.Versions, d.out.Backup.Host = m.Versions, m.Host
	if m.Database != nil {
		d.out.Backup.Server = m.Database.Server.Vendor + " " + m.Database.Server.Version
	}
	if len(m.Sealed) > 0 && d.e.Identities.Empty() {
		return &core.Error{
			Code: core.CodeWrongKey, Op: "drill app " + d.req.App, Message: "the configuration of the backup is sealed, and no identity is here that opens it",
			Hint: "name the identity file in secrets.identity_file; recovery kits hold it",
		}
	}
	for _, w := range m.Warnings[:min(len(m.Warnings), maxListed)] {
		d.prove(core.Proof{Name: ProofWarning, Outcome: core.ProofNote, Object: w.Object, Message: "the backup was made with this warning: " + w.Message})
	}
	if err := d.open.IndexDamage; err != nil {
		d.findDamage(ctx, err)
		return err
	}
	if d.place, err = d.makePlace(ctx); err != nil {
		return err
	}
	ctx, leave := d.place.guard(ctx, d.req.Disk)
	defer leave()
	sampled := d.sample()
	if err := d.restore(ctx, sampled); err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			return cause // the disk
		}
		if ctx.Err() == nil && core.CodeOf(err) != core.CodeDamage {
			d.prove(core.Proof{Name: ProofRestore, Outcome: core.ProofFailed, Message: inner(err).Error(), Hint: core.HintOf(err)})
		}
		d.findDamage(ctx, err)
		return err
	}
	if sampled != nil {
		if err := d.readSample(ctx, sampled); err != nil {
			return err
		}
	}
	d.measure()
	if err := d.runSteps(ctx); err != nil {
		return err
	}
	return d.askProfile(ctx)
}

// maxListed bounds how many items of a kind a report names.
const maxListed = 200

// prove adds to what was proven, and to the log that people see.
func (d *drill) prove(proofs ...core.Proof) { d.out.Proofs = append(d.out.Proofs, proofs...) }

// findDamage names everything of the backup that cannot be read back, when that
// is what ended the drill. The backup is marked, so that nobody relies on it.
func (d *drill) findDamage(ctx context.Context, cause error) {
	if core.CodeOf(cause) != core.CodeDamage || ctx.Err() != nil {
		return
	}
	end := d.watch.begin("find all damage", false)
	defer end()
	v, err := d.e.Verify(ctx, d.req.Record)
	if err != nil || len(v.Damaged) == 0 {
		d.prove(core.Proof{Name: ProofStored, Outcome: core.ProofFailed, Message: inner(cause).Error(), Hint: core.HintOf(cause)})
		return
	}
	for _, x := range v.Damaged[:min(len(v.Damaged), maxListed)] {
		object := x.Path
		if x.Table != "" {
			object = "table " + x.Table + ", " + x.Path
		}
		d.prove(core.Proof{Name: ProofStored, Outcome: core.ProofFailed, Object: object, Message: x.Message, Hint: "backstay verify --repair " + d.req.App})
	}
	if more := len(v.Damaged) - maxListed; more > 0 {
		d.prove(core.Proof{Name: ProofStored, Outcome: core.ProofFailed, Message: fmt.Sprintf("%d more objects are damaged", more), Count: int64(more)})
	}
}

// seed returns a number by which a sample is chosen.
func seed() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return int64(binary.BigEndian.Uint64(b[:]) >> 1)
}
