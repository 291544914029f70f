package restore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/mysql/preflight"
	"github.com/backstay/backstay/internal/profile"
)

// Names of findings that this package makes and somebody may have to agree to.
const (
	FindingOtherApp  = "other-app"        // the backup is of another app
	FindingNoSafety  = "no-safety-backup" // what is live cannot be backed up first
	FindingDiskSpace = "disk-space"       // there is too little
	FindingDamaged   = "damaged"          // the backup cannot be read back
)

// FindingUnusedForce is about what was agreed to in vain.
const FindingUnusedForce = "unused-force"

func (r *Restore) add(f core.Finding) { r.Plan.Findings = append(r.Plan.Findings, f) }

// Notable says whether a finding is one that a person should read also when
// nothing is in the way: those that say what will not be as in the backup.
func Notable(f core.Finding) bool {
	return f.Kind != core.FindingFine || slices.Contains(notes(), f.Name)
}

func notes() []string {
	return []string{"incomplete-backup", "partial-backup", "code-stays", "link", "events", "extra-objects", "extra-trigger", "intact", FindingUnusedForce, "closes-way-back", "left-over", FindingOtherApp, FindingLinks, FindingUnknownOwner, FindingWritesConfig, FindingAccount, "hooks", profile.FindingDepends}
}

// note adds something good to know.
func (r *Restore) note(name, format string, args ...any) {
	r.add(core.Finding{Kind: core.FindingFine, Name: name, Message: fmt.Sprintf(format, args...)})
}

// decide adds something that somebody must agree to.
func (r *Restore) decide(name, format string, args ...any) {
	r.add(core.Finding{Kind: core.FindingDecision, Name: name, Message: fmt.Sprintf(format, args...)})
}

// others says what becomes of what the backup does not have.
func (r *Restore) others() string {
	if r.req.Clean && !r.req.partial() {
		return "are taken away"
	}
	return "stay"
}

// findOtherDatabase asks when the configuration of an application that
// backstay does not know comes back beside a database of another name than it
// was captured with: it still leads to that one, which may be somebody's live data.
func (r *Restore) findOtherDatabase() {
	d := r.open.Manifest.Database
	if !r.req.live() || r.req.partial() || r.db == nil || d == nil || r.target == nil || r.open.Manifest.Settings["config"] != "" || r.trees[core.ComponentConfig] == nil || r.target.Name == d.Name {
		return
	}
	r.add(core.Finding{
		Kind: core.FindingDecision, Name: FindingNotConfigured,
		Message: fmt.Sprintf("the configuration comes back as it was, and may lead to database %s; restored is %s", d.Name, r.target.Name),
		Hint:    "keep the application closed until its configuration leads to its own database",
	})
}

// findEarlier says when this restore closes the way back of an earlier one, and
// which decisions were named that nobody asks for.
func (r *Restore) findEarlier() error {
	for _, name := range r.req.Force {
		asked := func(f core.Finding) bool { return f.Name == name }
		if name != profile.FindingCronRunning && !slices.ContainsFunc(r.Plan.Findings, asked) {
			r.note(FindingUnusedForce, "--force %s: this plan has no such finding", name)
		}
	}
	if !r.req.live() || r.Plan.App == "" {
		return nil
	}
	j, err := journal.Newest(r.e.StateDir, r.Plan.App)
	if err != nil || j == nil || j.Phase != journal.Done {
		return err
	}
	r.note("closes-way-back", "%s can still be undone; this restore ends that, and removes what it had kept", j.Describe())
	return nil
}

// sortFindings orders the findings, the gravest first, and says what is
// undecided.
func (r *Restore) sortFindings() {
	order := []core.FindingKind{core.FindingImpossible, core.FindingDecision, core.FindingRewrite, core.FindingFine}
	slices.SortStableFunc(r.Plan.Findings, func(a, b core.Finding) int {
		return slices.Index(order, a.Kind) - slices.Index(order, b.Kind)
	})
	for _, f := range r.Plan.Findings {
		if f.Kind == core.FindingDecision && !slices.Contains(r.req.Force, f.Name) && !slices.Contains(r.Plan.Undecided, f.Name) {
			r.Plan.Undecided = append(r.Plan.Undecided, f.Name)
		}
	}
}

// Refused returns the error with which Run refuses: something is impossible
// here, or needs a decision that nobody made. nil when there is nothing.
func (r *Restore) Refused() error {
	if r.db != nil {
		if err := r.db.carry.Err("restore app " + r.Plan.App); err != nil {
			return err
		}
	}
	if text := r.findingsOf(core.FindingImpossible, nil); text != "" {
		return &core.Error{Code: r.impossibleCode(), Op: "restore app " + r.Plan.App, Message: "it cannot be done here, and nothing was changed: " + text, Hint: r.hintOf(core.FindingImpossible)}
	}
	if len(r.Plan.Undecided) > 0 {
		flags := "--force " + strings.Join(r.Plan.Undecided, " --force ")
		return &core.Error{
			Code: core.CodeDecision, Op: "restore app " + r.Plan.App,
			Message: "somebody must decide first, and nothing was changed: " + r.findingsOf(core.FindingDecision, r.Plan.Undecided),
			Hint:    "if that is what you want, run it again with " + flags,
		}
	}
	return nil
}

// impossibleCode is the code of the first finding that is impossible.
func (r *Restore) impossibleCode() core.Code {
	for _, f := range r.Plan.Findings {
		switch {
		case f.Kind != core.FindingImpossible:
		case f.Name == FindingDamaged:
			return core.CodeDamage
		case f.Name == FindingDiskSpace:
			return core.CodeDisk
		case slices.ContainsFunc(preflight.Meanings(), func(m preflight.Meaning) bool { return m.Name == f.Name }):
			return core.CodeDatabase
		}
	}
	return core.CodeFailed
}

func (r *Restore) findingsOf(kind core.FindingKind, names []string) string {
	var texts []string
	for _, f := range r.Plan.Findings {
		if f.Kind != kind || names != nil && !slices.Contains(names, f.Name) {
			continue
		}
		text := f.Message
		if f.Object != "" {
			text = f.Object + ": " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

func (r *Restore) hintOf(kind core.FindingKind) string {
	for _, f := range r.Plan.Findings {
		if f.Kind == kind && f.Hint != "" {
			return f.Hint
		}
	}
	return "backstay restore --dry-run shows the whole plan"
}
