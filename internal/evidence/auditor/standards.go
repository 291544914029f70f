package auditor

import (
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/evidence/page"
)

// sums are a document's numbers over all apps.
type sums struct {
	apps, scheduled, kept              int // apps; with a schedule; with a retention
	due, ran, notRun                   int // of backups
	withBackup, backups, damaged       int
	oldestNewest                       int64 // age of the newest backup of the app that is worst off
	drills, passed, full, drilled      int   // drills; passed; passed of all; apps with one of the last
	rpoTargets, rpoMissed, rpoUnknown  int
	rtoTargets, rtoMissed, rtoUnknown  int
	verifyRuns, verifyOK, verifiedApps int
	verifyDamage                       int
	lastVerified                       *time.Time // of the app that is worst off
	restores, restoresOK               int
	login                              int // drills that asked the application itself
}

func sum(d Document, in Input) sums {
	var s sums
	for i, a := range d.Apps {
		s.apps++
		scheduled := false
		for _, x := range a.Schedules {
			if x.Kind == "backup" {
				scheduled = scheduled || !x.Off
				s.due, s.ran = s.due+x.Due, s.ran+x.Ran()+x.CaughtUp
				s.notRun += x.Failed + x.Cancelled + x.Missed + x.NoRecord
			}
		}
		s.scheduled += one(scheduled)
		s.kept += one(len(a.Retention) > 0)
		if a.Backups != nil {
			s.backups, s.damaged = s.backups+a.Backups.Number, s.damaged+len(a.Backups.Damaged)
			s.withBackup += one(a.Backups.Newest != nil)
			s.oldestNewest = max(s.oldestNewest, a.Backups.AgeMS)
		}
		hasDrill := false
		for _, x := range a.Drills {
			s.drills++
			s.passed += one(x.Passed)
			if x.Passed && x.Mode == evidence.DrillFull {
				s.full, hasDrill = s.full+1, true
			}
		}
		s.drilled += one(hasDrill)
		s.rpoTargets, s.rpoMissed, s.rpoUnknown = s.rpoTargets+one(a.RPO.TargetMS > 0), s.rpoMissed+one(a.RPO.Missed), s.rpoUnknown+one(a.RPO.TargetMS > 0 && !a.RPO.Known)
		s.rtoTargets, s.rtoMissed, s.rtoUnknown = s.rtoTargets+one(a.RTO.TargetMS > 0), s.rtoMissed+one(a.RTO.Missed), s.rtoUnknown+one(a.RTO.TargetMS > 0 && !a.RTO.Known)
		v := a.Verification
		s.verifyRuns, s.verifyOK, s.verifyDamage = s.verifyRuns+v.Runs, s.verifyOK+v.OK, s.verifyDamage+v.Damage
		if v.Last != nil {
			s.verifiedApps++
			if s.lastVerified == nil || v.Last.Before(*s.lastVerified) {
				s.lastVerified = v.Last
			}
		}
		for _, r := range a.Restores {
			s.restores++
			s.restoresOK += one(r.Outcome == "ok" || r.Outcome == "warnings")
		}
		for _, x := range in.Apps[i].Drills {
			s.login += one(x.Passed && x.Place.PHP != "" && !x.Started.Before(in.From) && !x.Started.After(in.To))
		}
	}
	return s
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// share says met when all of so many are, not met when none is.
func share(n, of int) Status {
	switch {
	case of == 0:
		return Unknown
	case n >= of:
		return Met
	case n == 0:
		return NotMet
	}
	return Partly
}

// standards maps the document's facts to what standards ask for. What a standard
// asks for is told in our own words, and only where facts can answer it.
func standards(d Document, in Input) []Standard {
	s := sum(d, in)
	return []Standard{iso(d, s), nist(d, s), copies(d, s)}
}

func (s sums) planned() Row {
	return Row{Asks: "Backups are made as planned, and it is noticed when one is not.",
		Here:   fmt.Sprintf("%d backups were due by the schedules as they are now; %d were made or caught up, %d were not. Exceptions are listed below", s.due, s.ran, s.notRun),
		Status: share(s.ran, s.due), Evidence: "Schedule against reality; backstay runs; backstay alarms"}
}

func (s sums) policy() Row {
	row := Row{Asks: "What is backed up, how often, and for how long it is kept is laid down.",
		Here:   fmt.Sprintf("%d of %d apps have a schedule, %d a retention. Whether they fit what the business and the law ask for is "+NotKnown, s.scheduled, s.apps, s.kept),
		Status: share(min(s.scheduled, s.kept), s.apps), Evidence: "backstay.yaml; Retention"}
	return row
}

func (s sums) tested() Row {
	row := Row{Asks: "Restores are tested, so that backups can be relied on when they are needed.",
		Here:   fmt.Sprintf("%d drills restored a backup, %d passed (%d of whole backups; in %d the application itself was started); %d of %d apps had one that passed as a whole. %d restores by people, %d went well", s.drills, s.passed, s.full, s.login, s.drilled, s.apps, s.restores, s.restoresOK),
		Status: share(s.drilled, s.apps), Evidence: "Restores tested; the signed report of each drill"}
	return row
}

func (s sums) integrity() Row {
	row := Row{Asks: "Stored backups are checked for being readable and unchanged.",
		Here: fmt.Sprintf("%d verifications ran, %d found everything whole; %d backups are marked as damaged", s.verifyRuns, s.verifyOK, s.damaged), Evidence: "Verification; backstay verify"}
	if s.lastVerified != nil {
		row.Here += "; the app that is worst off was last found whole on " + page.Day(*s.lastVerified)
	}
	row.Status = share(s.verifiedApps, s.apps)
	if s.damaged > 0 {
		row.Status = NotMet
	}
	return row
}

func encrypted(d Document) Row {
	row := Row{Asks: "Backups are encrypted, and the keys can be had when they are needed.", Status: Unknown, Evidence: "Where the backups are; Recovery kits"}
	row.Here = "Encryption " + d.Repository.Encryption + ", hashes " + d.Repository.Hash + ", before anything leaves this machine. "
	kits := kitsSentence(d)
	row.Here += kits
	if d.Repository.Encryption != NotKnown {
		row.Status = Partly
		for _, k := range d.Kits {
			if k.Stale == "" && k.Made != nil && k.Proven != nil {
				row.Status = Met
			}
		}
	}
	return row
}

func kitsSentence(d Document) string {
	if !d.KitsKnown {
		return "Whether a recovery kit holds the key elsewhere is " + NotKnown
	}
	if len(d.Kits) == 0 {
		return "No recovery kit is recorded: the key may be on this machine alone"
	}
	good, proven := 0, 0
	for _, k := range d.Kits {
		good += one(k.Stale == "")
		proven += one(k.Stale == "" && k.Proven != nil)
	}
	return fmt.Sprintf("%d recovery kits are recorded, %d of them current, %d shown to open the repository", len(d.Kits), good, proven)
}

func apart(d Document) Row {
	row := Row{Asks: "Backups are kept apart from what they protect, so that one event does not take both.", Evidence: "Where the backups are",
		Here: "Repository " + d.Repository.Address + ": " + d.Repository.Where + ". On the same machine: " + d.Repository.SameMachine, Status: Unknown}
	switch d.Repository.SameMachine {
	case "yes":
		row.Status = NotMet
		row.Here += ". Copies that other programs make of the repository are " + NotKnown
	case "no":
		row.Status = Partly
		row.Here += ". How far away it is, is " + NotKnown
	}
	return row
}

func immutable(d Document) (string, Status) {
	switch d.Repository.Immutable {
	case "yes":
		return "Objects are locked against removal", Met
	case "no":
		return "Nothing that backstay knows of keeps who can write to the repository from removing backups", NotMet
	}
	return "Whether objects are locked against removal is " + NotKnown, Unknown
}

func objective(name string, targets, missed, unmeasured, apps int, how string) Row {
	met := targets - missed - unmeasured
	row := Row{Here: fmt.Sprintf("%d of %d apps have a target for the %s; %d met it, %d did not, of %d nothing was measured. %s", targets, apps, name, met, missed, unmeasured, how), Status: share(met, targets)}
	if targets == 0 {
		row.Here, row.Status = fmt.Sprintf("No target for the %s is set (targets: in backstay.yaml). %s", name, how), Unknown
	} else if targets < apps && row.Status == Met {
		row.Status = Partly
	}
	return row
}

func with(r Row, ref string) Row {
	r.Ref = ref
	return r
}

func iso(d Document, s sums) Standard {
	rpo := objective("RPO", s.rpoTargets, s.rpoMissed, s.rpoUnknown, s.apps, "Measured as the longest time between two good backups")
	rpo.Asks, rpo.Evidence = "How much may be lost is laid down, and kept to.", "RPO of each app"
	rto := objective("RTO", s.rtoTargets, s.rtoMissed, s.rtoUnknown, s.apps, "Measured in drills of whole backups, on the machine of the drill")
	rto.Asks, rto.Evidence = "How long recovery may take is laid down, and kept to.", "RTO of each app"
	records := Row{Ref: "A.8.13", Asks: "There are complete and accurate records of the backups, and documented procedures for restoring.",
		Here:     fmt.Sprintf("%d backups are listed, each with its manifest of tables, rows, files and checksums. Of the %d apps, %d have a good backup now. Whether your own procedures are written down and known is "+NotKnown, s.backups, s.apps, s.withBackup),
		Evidence: "backstay list; backstay show BACKUP; docs/disaster-recovery.md", Status: Partly}
	return Standard{Name: "ISO/IEC 27001:2022, Annex A 8.13 Information backup", Note: noteWords, Rows: []Row{
		with(s.policy(), "A.8.13"), with(s.planned(), "A.8.13"), records, with(apart(d), "A.8.13"), with(encrypted(d), "A.8.13"),
		with(s.tested(), "A.8.13"), with(s.integrity(), "A.8.13"), with(rpo, "A.8.13"), with(rto, "A.8.13"),
	}}
}

const noteWords = "What is asked for is told in short, in our own words; the standard's text decides. Organisational parts are for the reader to judge."

func nist(d Document, s sums) Standard {
	frequency := s.planned()
	frequency.Asks = "Backups of user-level and system-level information and of documentation are made as often as the recovery objectives ask for."
	frequency.Here += ". Backed up are database, files, configuration and code of the apps; the operating system is not"
	if frequency.Status == Met {
		frequency.Status = Partly
	}
	protect := encrypted(d)
	text, _ := immutable(d)
	protect.Asks, protect.Here = "Confidentiality, integrity and availability of the backups are protected.", protect.Here+". "+text
	if protect.Status == Met && d.Repository.Immutable != "yes" {
		protect.Status = Partly
	}
	reliability := s.integrity()
	reliability.Asks = "Backups are tested for the reliability of the media and the integrity of what is on them."
	sampling := s.tested()
	sampling.Asks = "A restore of selected functions from a sample of the backups is a part of contingency tests."
	separate := apart(d)
	separate.Asks = "Backups of critical software and information are kept in a separate facility, or safe from the same fire."
	transfer := apart(d)
	transfer.Asks = "Backups are transferred to the alternate storage site, at a rate that fits the objectives."
	recover := s.tested()
	recover.Asks = "The system can be recovered to a known state within the time that the objectives say."
	transaction := Row{Asks: "Systems that work in transactions can be recovered as such.",
		Here:     "Each backup is one instant of the database, with what was committed then. What was committed after it is lost with a restore: transaction logs are not replayed",
		Evidence: "backstay show BACKUP (consistency)", Status: share(s.withBackup, s.apps)}
	if transaction.Status == Met {
		transaction.Status = Partly
	}
	within := objective("RTO", s.rtoTargets, s.rtoMissed, s.rtoUnknown, s.apps, "Measured in drills of whole backups, on the machine of the drill")
	within.Asks, within.Evidence = "Components are restored within the time that was laid down.", "RTO of each app"
	crypto := encrypted(d)
	crypto.Asks = "Cryptography keeps backups from being read or changed unnoticed."
	if d.Repository.Encryption != NotKnown {
		crypto.Status = Met
	}
	return Standard{Name: "NIST SP 800-53 Rev. 5, CP-9 System Backup and CP-10 System Recovery", Note: noteWords, Rows: []Row{
		with(frequency, "CP-9"), with(protect, "CP-9 d"), with(reliability, "CP-9(1)"), with(sampling, "CP-9(2)"), with(separate, "CP-9(3)"),
		with(transfer, "CP-9(5)"), with(crypto, "CP-9(8)"), with(recover, "CP-10"), with(transaction, "CP-10(2)"), with(within, "CP-10(4)"),
	}}
}

func copies(d Document, s sums) Standard {
	three := Row{Ref: "3", Asks: "Three copies of the data.", Evidence: "Where the backups are", Status: Partly,
		Here: fmt.Sprintf("Two are known: the live data, and the repository with %d backups. Copies that other programs make are "+NotKnown, s.backups)}
	if s.backups == 0 {
		three.Status, three.Here = NotMet, "Only the live data is known: there is no backup, or backups could not be listed"
	}
	two := Row{Ref: "2", Asks: "On two different media.", Evidence: "Where the backups are", Status: Unknown, Here: "The repository is of kind " + d.Repository.Kind + ": " + d.Repository.Where + ". Which media are below it is " + NotKnown}
	if strings.Contains(d.Repository.Where, "same file system") {
		two.Status = NotMet
	}
	offsite := apart(d)
	offsite.Ref, offsite.Asks = "1", "One copy off-site."
	locked := Row{Ref: "1", Asks: "One copy offline, or that nobody can change.", Evidence: "Where the backups are"}
	locked.Here, locked.Status = immutable(d)
	errs := s.integrity()
	errs.Ref, errs.Asks = "0", "No errors: what is stored was read back, and restored, without any."
	errs.Here += fmt.Sprintf(". %d of %d drills passed", s.passed, s.drills)
	switch {
	case s.damaged > 0 || s.passed < s.drills:
		errs.Status = NotMet
	case errs.Status == Met && s.drilled < s.apps:
		errs.Status = Partly
	}
	return Standard{Name: "The 3-2-1-1-0 rule", Note: "A rule of thumb without an issuer.", Rows: []Row{three, two, offsite, locked, errs}}
}
