// Package archives has the commands for portable archives: export, which makes
// one of a backup, and import, which makes a backup of one. It is for package
// cli, and for restore, which can begin with an import. It promises that a file
// that is there is not overwritten unasked, and that what an archive does not
// carry is said.
package archives

import (
	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/itflow"
	"github.com/backstay/backstay/internal/archive/itop"
	"github.com/backstay/backstay/internal/archive/own"
	"github.com/backstay/backstay/internal/archive/sqlfile"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
)

// commands are the commands of this package in one session.
type commands struct{ *session.Session }

// Commands returns the commands.
func Commands(s *session.Session) []*cobra.Command {
	c := commands{s}
	return []*cobra.Command{c.exportCommand(), c.importCommand()}
}

// Formats wires the formats that are read, the most particular first: an SQL
// dump is whatever else looks like text.
func Formats() archive.Formats {
	return archive.Formats{own.New(), itop.New(), itflow.New(), sqlfile.New(sqlfile.Compressions()[0])}
}

// secrets reads the passwords of an archive, each from a file of its own.
func secrets(files []string) ([]core.Secret, error) {
	var all []core.Secret
	for _, file := range files {
		secret, err := config.ReadArchiveSecret(file)
		if err != nil {
			return nil, err
		}
		all = append(all, secret)
	}
	return all, nil
}
