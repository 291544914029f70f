package keys

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/appkeys"
	"github.com/backstay/backstay/internal/keys/itop"
)

func (s commands) itopCommand() *cobra.Command {
	var check bool
	var configFile string
	cmd := s.command("key itop APP [BACKUP] --check [--config-file FILE]", "Prove that iTop's key opens its encrypted fields and their history", cobra.RangeArgs(1, 2), func(ctx context.Context, args []string) error {
		if !check {
			return &core.Error{Code: core.CodeUsage, Op: "key itop", Message: "--check is missing", Hint: "iTop's key is in its configuration: backstay key itop APP --check proves what it opens"}
		}
		config, err := readConfig(configFile)
		if err != nil {
			return err
		}
		return s.withSource(ctx, args, func(source *appkeys.Source) error { return s.itop(ctx, source, config) })
	})
	cmd.Long = "Open every encrypted field of iTop, and what its history keeps of them, with the key of the configuration: the live\n" +
		"one, or with BACKUP the captured one with the captured rows. Those that do not open are named (exit code 4)."
	cmd.Flags().BoolVar(&check, "check", false, "prove what the key opens")
	cmd.Flags().StringVar(&configFile, "config-file", "", "take the key from this config-itop.php, where the captured one is sealed or gone")
	s.bareFlags(cmd)
	return cmd
}

// maxConfig is what phpconf reads.
const maxConfig = 1 << 20

func readConfig(path string) (_ []byte, err error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &core.Error{Code: core.CodeUsage, Op: "key itop", Err: err, Hint: "give a configuration of iTop, config-itop.php, that can be read"}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil || len(text) > maxConfig {
		return nil, &core.Error{Code: core.CodeUsage, Op: "key itop", Message: fmt.Sprintf("%s is no configuration of iTop", path), Err: err, Hint: "give its config-itop.php"}
	}
	return text, nil
}

// fieldsChecked is the result of key itop.
type fieldsChecked struct {
	App     string `json:"app"`
	Backup  string `json:"backup,omitempty"` // "": the live database
	Library string `json:"library"`
	*itop.Verdict
}

func (s commands) itop(ctx context.Context, source *appkeys.Source, config []byte) error {
	v, library, err := appkeys.CheckITop(ctx, source, config)
	if err != nil {
		return err
	}
	out := fieldsChecked{source.App, source.Backup, library, v}
	if err := s.Printer.Result(out, func() { s.printFields(out) }); err != nil {
		return err
	}
	switch {
	case v.Failed > 0:
		return session.Outcome(core.CodeDamage.ExitCode())
	case v.Unread():
		return session.Outcome(core.CodeWarnings.ExitCode())
	}
	return nil
}

func (s commands) printFields(out fieldsChecked) {
	for _, f := range out.Failures {
		s.Printer.Printf("%s, row %s: %s: %s\n", f.Table, f.ID, f.Column, f.Why)
	}
	if more := out.Failed - int64(len(out.Failures)); more > 0 {
		s.Printer.Printf("and %d more\n", more)
	}
	var history int64
	for _, c := range out.Columns {
		if c.History {
			history += c.Values
		}
		if c.Unread != "" {
			s.Printer.Warn(core.Warning{Object: c.Table + "." + c.Column, Message: "was not looked at: " + c.Unread})
		}
	}
	what := of(out.App, out.Backup)
	switch {
	case out.None():
		s.Printer.Printf("%s: there is nothing encrypted (columns that could hold it: %d)\n", what, len(out.Columns))
	case out.Values == 0:
		s.Printer.Printf("%s: nothing encrypted was found where it could be looked at\n", what)
	case out.Failed > 0:
		s.Printer.Printf("%s: the key (%s) opens %d of %d encrypted values, and not the other %d\n", what, out.Library, out.Opened, out.Values, out.Failed)
	default:
		s.Printer.Printf("%s: the key (%s) opens all %d encrypted values, %d of them in the history\n", what, out.Library, out.Values, history)
	}
	if out.Proof == itop.Plausible && out.Opened > 0 {
		s.Printer.Infof("note: %s checks nothing of what it opens; that what came out is text is all that can be said", out.Library)
	}
}
