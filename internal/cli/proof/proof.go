// Package proof has the commands that show that backups can be relied on: drill,
// and report, which says so to auditors. It is for package cli. It promises that
// what was not proven is printed as plainly as what was.
package proof

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/evidence"
)

// commands are the commands of this package in one session.
type commands struct{ *session.Session }

// Commands returns the commands.
func Commands(s *session.Session) []*cobra.Command {
	c := commands{s}
	return []*cobra.Command{c.drillCommand(), c.reportCommand()}
}

// reports is where the reports of an installation are kept.
func reports(stateDir string) evidence.Store {
	return evidence.Store{Dir: filepath.Join(stateDir, "evidence")}
}
