package check

import (
	"fmt"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Kits is what is known of the repository's recovery kits.
type Kits struct {
	Made   *time.Time    // the newest; nil: none was made
	Stale  bool          // what the newest opens has changed since
	Proven *time.Time    // when one was last shown to open the repository; nil: never
	Within time.Duration // how often that is to be shown; 0 or less: nobody is reminded
}

// coverage judges how long ago the object was read that was not read for the
// longest time. A run may be late by a tenth, or an hour.
func (r *repositoryJudge) coverage() {
	if r.in.Cover <= 0 || r.in.Unread.IsZero() || r.in.Now.Sub(r.in.Unread) <= r.in.Cover+grace(r.in.Cover) {
		return
	}
	r.add("verify-coverage", fmt.Sprintf("a part of the repository was not read back since %s; all of it should be every %s", r.in.Unread.UTC().Format(time.DateOnly), span(r.in.Cover)),
		"backstay verify --cover reads the next part; verify: in the configuration says when that is done")
}

// kits reminds of recovery kits: one thing at a time, the worst.
func (r *repositoryJudge) kits() {
	k := r.in.Kits
	if k == nil || k.Within <= 0 {
		return
	}
	remind := func(name, message, hint string) {
		r.problems = append(r.problems, core.Problem{Topic: core.TopicRepository, Name: name, Level: core.LevelNotice, Message: message, Hint: hint})
	}
	const again = "backstay key kit makes one; keep it away from this machine"
	switch {
	case k.Made == nil && (len(r.in.Stored) == 0 || r.in.Now.Sub(r.in.Stored[0].Time) < 24*time.Hour): // nothing would be lost yet, or there was no time to make one
	case k.Made == nil:
		remind("kit-missing", "there is no recovery kit: when this machine is lost, so is what opens the backups", again)
	case k.Stale:
		remind("kit-stale", fmt.Sprintf("keys have changed since the recovery kit of %s was made: it does not open everything", k.Made.UTC().Format(time.DateOnly)), again)
	default:
		last, word := *k.Made, "made"
		if k.Proven != nil && k.Proven.After(last) {
			last, word = *k.Proven, "shown to open the repository"
		}
		if r.in.Now.Sub(last) > k.Within {
			remind("kit-unproven", fmt.Sprintf("a recovery kit was last %s on %s; somebody should show every %s that they still hold one", word, last.UTC().Format(time.DateOnly), span(k.Within)),
				"backstay key verify-kit FILE proves it; kit.proof_age says how often that is asked for")
		}
	}
}
