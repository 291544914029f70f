package keys

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/keys"
)

func (s commands) sealCommand() *cobra.Command {
	var file string
	cmd := s.command("key seal [--identity-file F]", "Make a key for the secrets of backups, so that who can read backups cannot read them", cobra.NoArgs, func(_ context.Context, _ []string) error {
		path := file
		if path == "" {
			place, err := config.Find(s.ConfigPath, s.Env.Getenv)
			if err != nil {
				return err
			}
			path = filepath.Join(filepath.Dir(place), "secrets.key")
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		identity, recipient, err := keys.NewIdentity()
		if err != nil {
			return err
		}
		if err := config.WriteKeyFile(path, identity); err != nil {
			return err
		}
		return s.Printer.Result(map[string]any{"identity_file": path, "recipient": recipient}, func() {
			p := s.Printer
			p.Printf("the key that opens sealed secrets is in %s\n", path)
			p.Printf("put this into the configuration; backups from then on seal their secrets:\n\n")
			p.Printf("secrets:\n  recipients: [%s]\n  identity_file: %s\n\n", recipient, path)
			p.Printf("then make a recovery kit: without this key the secrets of those backups are lost (backstay key kit FILE)\n")
		})
	})
	cmd.Flags().StringVar(&file, "identity-file", "", "where to write it (default: secrets.key beside the configuration)")
	return cmd
}
