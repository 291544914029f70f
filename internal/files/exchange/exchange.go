// Package exchange puts captured file trees into the place of live ones. It is
// for the engine's restore of an application that is in use.
//
// Build compares the backup with the live tree and writes only what differs,
// into a staging folder on the same file system; nothing live has changed then.
// Switch makes staged and live change places, each path by one atomic rename;
// Revert makes them change places again. What was replaced, and what Revert
// takes away again, lies in the staging folder until Drop.
//
// It promises that each path is the old one or the new one at any moment, that
// nothing is ever overwritten or renamed across file systems, that no symbolic
// link leads it out of its targets, and that after a kill or a power cut at any
// point Switch and Revert can be called again, by another process, and go on from
// what they find.
package exchange

import (
	"context"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/compare"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/files/rights"
)

// Options says what to put where. The fields that restore.Options has too mean
// the same.
type Options struct {
	// Targets gives the absolute folder for each place: "app" → /var/www/itop,
	// "system" → "/". Build makes it when it is missing. Places without one are left out.
	Targets map[string]string
	// Paths are the only paths to restore, in the component and as stored
	// ("app/uploads/x"), folders with all that is in them. Empty: everything.
	Paths []string
	// Owners are the manifest's; names that this machine knows by another number
	// get that number.
	Owners core.Owners
	// Trees are the manifest's trees of the component: what the backup owns.
	// Without Trees everything in the entry counts as owned.
	Trees []core.Tree
	// Kept are the manifest's warnings: what could not be captured is not in
	// the backup and yet not superfluous.
	Kept []core.Warning
	// Follow are paths in the component at which the target may have a link to a folder,
	// which is then filled, or to a file, which stays when the file is the same.
	Follow []string
	// Clean takes what the backup does not have out of owned folders, except what
	// Trees exclude and what Kept names. It needs Trees. Without it such
	// paths are listed as extra and stay.
	Clean bool
	// Transform changes files on the way: keys are paths in the component, as stored
	// ("app/conf/production/config-itop.php"). What a function returns is what
	// is compared with the live file and put in its place. Such files are held in memory.
	Transform map[string]func(content []byte) ([]byte, error)
	// Damaged, when it is given, collects what is damaged in the backup and is left as
	// it is on the live side. nil: damage ends Compare or Build. It excludes Clean.
	Damaged *restore.Damaged

	// MovedTargets has Build go on where Compare finds the decision compare.MovedTarget.
	MovedTargets bool

	// Name makes the names of staging folders: ".backstay-NAME-COMPONENT". It is the app's
	// name or that of the run: lower-case letters, digits and dashes. Only Build needs it, and
	// fails when there is such a folder: it keeps what another restore replaced.
	Name string
	// MovesFile is the absolute path of a file that Build writes and Switch and
	// Revert go by; a second one beside it, with ".pass" at the end, says how far they
	// are. The folder must be there, and not in a target. One for each component.
	MovesFile string

	Progress core.Progress // nil: none. Add counts bytes of the backup that were read
	Workers  int           // files read or written at the same time; 0: 4
}

// What Compare finds is what package compare does.
type (
	// Difference is what a restore would do to the live tree.
	Difference = compare.Difference
	// List counts paths, and names the first of them.
	List = compare.List
	// Space is what a file system must have room for.
	Space = compare.Space
)

// MovedTarget is compare.MovedTarget.
const MovedTarget = compare.MovedTarget

func (o Options) comparison() compare.Options {
	return compare.Options{
		Targets: o.Targets, Paths: o.Paths, Owners: o.Owners, Trees: o.Trees, Kept: o.Kept, Follow: o.Follow, Clean: o.Clean,
		Transform: o.Transform, Damaged: o.Damaged, Progress: o.Progress, Workers: o.Workers,
	}
}

// Compare compares the backup with the live tree without reading contents: by
// type, size, modification time, mode and owner. It changes nothing. extra is the
// object of the component's extra.jsonl, "" when it has none.
func Compare(ctx context.Context, r core.TreeReader, entry core.Entry, extra core.ObjectID, opt Options) (*Difference, error) {
	return compare.Quick(ctx, r, entry, extra, opt.comparison())
}

// Stage is a staging folder.
type Stage struct {
	Path string `json:"path"` // absolute
	openat.Mark
}

// Built is a tree that is ready to be switched to. It can be kept as JSON; all
// that Switch, Revert and Drop need beside it is in MovesFile, from which Load reads it
// again. Its fields are not to be changed.
type Built struct {
	Component string            `json:"component"`
	Targets   map[string]string `json:"targets"`
	Stages    []Stage           `json:"stages,omitempty"` // none when nothing differs
	MovesFile string            `json:"moves_file"`
	Made      []string          `json:"made,omitempty"` // target folders that were missing, and those above them; Drop removes them when they are empty

	Added     List  `json:"added"`
	Changed   List  `json:"changed"`
	Removed   List  `json:"removed"`
	Extra     List  `json:"extra"`
	Metadata  int64 `json:"metadata"`
	Unchanged int64 `json:"unchanged"`
	Bytes     int64 `json:"bytes"` // of staged files

	Warnings []core.Warning `json:"warnings,omitempty"`
	// Commands are lines for a shell, to be run by root after the switch and in this
	// order, that set owners and modes which could not be set. Each may be
	// up to 16 kB long.
	Commands []string `json:"commands,omitempty"`
}

// Build compares the backup with the live tree, contents too, which reads all that is
// wanted of the backup, and stages what differs. When it returns nil, all of it
// is on disk and verified. On an error nothing is left behind and nothing live has
// changed. After a kill, Build with the same MovesFile begins anew, and Abandon removes
// what there is.
//
// Errors have core.CodeDamage when the backup is damaged, core.CodeDisk when there is
// no room, core.CodeDecision for a decision that Options do not agree to; each names the path.
func Build(ctx context.Context, r core.TreeReader, entry core.Entry, extra core.ObjectID, opt Options) (*Built, error) {
	return build(ctx, r, entry, extra, opt, hooks{})
}

// Load reads what a Build that succeeded returned. The error has
// core.CodeNotFound when there is no such file, or the Build did not finish.
func Load(movesFile string) (*Built, error) {
	p, err := readBuilt(movesFile, false)
	if err != nil {
		return nil, err
	}
	return p.built, nil
}

// Abandon removes what a Build left that was killed or is not wanted any more, and does nothing
// when there is nothing. It refuses, with core.CodeLocked, unless State is Old.
func Abandon(movesFile string) error {
	return abandon(movesFile)
}

// Changed looks whether files that were the same as in the backup when Build read them
// have changed since. Switch leaves them as they are: they are newer than
// the backup. One warning names each, with code "newer". It can be called before the switch or
// after it, and changes nothing.
func Changed(ctx context.Context, b *Built) ([]core.Warning, error) {
	return changed(ctx, b)
}

// Switch puts what was staged into place. What it meets there goes to the
// staging folder, also where nothing was when Build looked. It can be called again after
// it was interrupted, or when it had already finished. Folders on the disk are
// synced before it returns. Warnings say what was not as Build found it.
//
// An error leaves some paths switched and some not, unless State says otherwise: call it
// again, or Revert. ctx is for values only: it is not interrupted half-way.
func Switch(ctx context.Context, b *Built) ([]core.Warning, error) {
	return run(ctx, b, New, hooks{})
}

// Revert makes the live tree what it was before Switch, except what others changed or
// added since: files added to restored folders stay where they are. What it takes away
// goes to the staging folder, so that Switch can be called again. It can be called after a
// Switch that was interrupted, and does nothing when nothing was switched. Components
// that were switched one after the other are to be reverted in the opposite order.
func Revert(ctx context.Context, b *Built) ([]core.Warning, error) {
	return run(ctx, b, Old, hooks{})
}

// Side says which tree is live.
type Side string

// The sides.
const (
	Old   Side = "old"   // as before Switch
	New   Side = "new"   // as in the backup
	Mixed Side = "mixed" // a Switch or Revert did not finish; call either
)

// State looks which tree is live.
func State(b *Built) (Side, error) {
	p, err := readBuilt(b.MovesFile, false)
	if err != nil {
		return "", err
	}
	return state(p)
}

// Drop removes the staging folders with all that is in them, and the moves
// file: after a switch that is what was replaced, without one what was staged. It
// refuses, with core.CodeLocked, while State is Mixed. What is gone already is
// no error.
func Drop(b *Built) error {
	return drop(b)
}

// KeptBytes returns how much disk space the staging folders take.
func KeptBytes(b *Built) (int64, error) {
	return keptBytes(b)
}

// OwnerCommands is rights.OwnerCommands.
func OwnerCommands(folders []string, denied []restore.Denied) ([]string, error) {
	return rights.OwnerCommands(folders, denied)
}
