package keys

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/appkeys"
	"github.com/backstay/backstay/internal/keys"
	"github.com/backstay/backstay/internal/keys/itflow"
)

// itflowFlags are the flags of key itflow.
type itflowFlags struct {
	who          appkeys.Who
	passwordFile string
	check        bool
	sealTo       []string
	output       string
}

func (s commands) itflowCommand() *cobra.Command {
	var f itflowFlags
	cmd := s.command("key itflow APP [BACKUP] [--user EMAIL | --api-key NAME] [--password-file F] [--check] [--seal-to RECIPIENT --output FILE]",
		"Open ITFlow's master key with somebody's password, or prove what it opens", cobra.RangeArgs(1, 2), func(ctx context.Context, args []string) error {
			return s.itflow(ctx, args, f)
		})
	cmd.Long = "Open ITFlow's master key, under which its credentials are, with the password of a user or an API key: from the live\n" +
		"database, or from a backup without restoring it. Whoever has the key can read every credential.\n\n" +
		"Without --user and --api-key the password is tried on all that have a copy of the key. With --check the key is not\n" +
		"shown: it is tried on every credential, and those that it does not open are named (exit code 4)."
	fl := cmd.Flags()
	fl.StringVar(&f.who.User, "user", "", "whose password it is: the e-mail address of a user")
	fl.StringVar(&f.who.APIKey, "api-key", "", "whose password it is: the name of an API key")
	fl.StringVar(&f.passwordFile, "password-file", "", "file that holds the password, or - for the standard input; without it a terminal is asked")
	fl.BoolVar(&f.check, "check", false, "prove that the key opens every credential, and do not show it")
	fl.StringArrayVar(&f.sealTo, "seal-to", nil, "seal the key for this age recipient in place of showing it (may be given several times)")
	fl.StringVar(&f.output, "output", "", "the file for the sealed key, which must not be there yet")
	s.bareFlags(cmd)
	return cmd
}

func (f itflowFlags) wrong() error {
	usage := func(message, hint string) error {
		return &core.Error{Code: core.CodeUsage, Op: "key itflow", Message: message, Hint: hint}
	}
	switch {
	case f.who.User != "" && f.who.APIKey != "":
		return usage("--user and --api-key are both given", "give the one whose password it is")
	case len(f.sealTo) > 0 && f.output == "":
		return usage("--seal-to needs a file for the sealed key", "add --output FILE")
	case len(f.sealTo) == 0 && f.output != "":
		return usage("--output is for a sealed key", "add --seal-to RECIPIENT; the key is not written to a file as it is")
	}
	if len(f.sealTo) > 0 { // before anybody is asked for a password
		if _, err := keys.Seal(core.NewSecret("-"), f.sealTo); err != nil {
			return err
		}
	}
	return nil
}

// opened is the result of key itflow.
type opened struct {
	App     string           `json:"app"`
	Backup  string           `json:"backup,omitempty"` // "": the live database
	Holders []appkeys.Holder `json:"holders"`
	Key     string           `json:"master_key,omitempty"`
	File    string           `json:"file,omitempty"` // of the sealed key
	Check   *itflow.Verdict  `json:"check,omitempty"`
}

func (s commands) itflow(ctx context.Context, args []string, f itflowFlags) error {
	if err := f.wrong(); err != nil {
		return err
	}
	return s.withSource(ctx, args, func(source *appkeys.Source) error {
		if _, err := appkeys.Candidates(ctx, source, f.who); err != nil { // before anybody is asked for a password
			return err
		}
		password, err := s.appPassword(ctx, f.passwordFile, prompt(f.who))
		if err != nil {
			return err
		}
		key, err := appkeys.OpenITFlow(ctx, source, f.who, password)
		if err != nil {
			return err
		}
		out := opened{App: source.App, Backup: source.Backup, Holders: key.Holders}
		if f.check {
			if out.Check, err = appkeys.CheckITFlow(ctx, source, key.Key); err != nil {
				return err
			}
		}
		switch {
		case len(f.sealTo) > 0:
			if out.File, err = seal(key.Key.Secret(), f); err != nil {
				return err
			}
		case !f.check:
			s.Printer.Warn(core.Warning{Message: "whoever has this key can read every credential of " + source.App + "; backstay keeps no copy and does not show it again by itself"})
			out.Key = key.Key.Secret().Reveal()
		}
		if err := s.Printer.Result(out, func() { s.printOpened(out) }); err != nil {
			return err
		}
		if out.Check != nil && out.Check.Failed > 0 {
			return session.Outcome(core.CodeDamage.ExitCode())
		}
		return nil
	})
}

func prompt(who appkeys.Who) string {
	switch {
	case who.User != "":
		return "Password of " + who.User + " in ITFlow: "
	case who.APIKey != "":
		return "Password of the API key " + who.APIKey + ": "
	}
	return "Password of somebody in ITFlow: "
}

func seal(key core.Secret, f itflowFlags) (string, error) {
	text, err := keys.Seal(key, f.sealTo)
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(f.output)
	if err != nil {
		return "", fmt.Errorf("seal the key: %w", err)
	}
	return path, config.WriteKeyFile(path, core.NewSecret(strings.TrimSuffix(text, "\n")))
}

// of says what was read.
func of(app, backup string) string {
	if backup == "" {
		return app + " as it runs now"
	}
	return "backup " + backup + " of " + app
}

func (s commands) printOpened(out opened) {
	var names []string
	for _, h := range out.Holders {
		names = append(names, h.String())
	}
	s.Printer.Infof("%s: the password is that of %s", of(out.App, out.Backup), core.Some(names, 5))
	if v := out.Check; v != nil {
		for _, fail := range v.Failures {
			s.Printer.Printf("credential %s (%s): %s: %s\n", fail.ID, fail.Name, fail.Column, fail.Why)
		}
		if more := v.Failed - int64(len(v.Failures)); more > 0 {
			s.Printer.Printf("and %d more\n", more)
		}
		switch {
		case v.Failed > 0:
			s.Printer.Printf("%s: the master key opens %d of %d values in %d credentials, and not the other %d\n", of(out.App, out.Backup), v.Opened, v.Fields, v.Credentials, v.Failed)
		case v.Fields == 0:
			s.Printer.Printf("%s: the master key opens; there are no credentials\n", of(out.App, out.Backup))
		default:
			s.Printer.Printf("%s: the master key opens all %d values in %d credentials\n", of(out.App, out.Backup), v.Opened, v.Credentials)
		}
	}
	switch {
	case out.File != "":
		s.Printer.Printf("the master key is in %s, sealed; age -d -i KEY %s shows it\n", out.File, out.File)
	case out.Key != "":
		s.Printer.Printf("%s\n", out.Key)
	}
}
