package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/evidence/auditor"
)

// reportFlags are the flags of report.
type reportFlags struct{ from, to, output, format string }

// usualPeriod is what a report is about that is given no --from.
const usualPeriod = 90 * 24 * time.Hour

// written is a document in JSON output.
type written struct {
	File      string `json:"file"`
	Signature string `json:"signature"`
	Format    string `json:"format"`
	Bytes     int64  `json:"bytes"`
}

func (s commands) reportCommand() *cobra.Command {
	var f reportFlags
	cmd := s.Command("report [APP…]", "Write one signed document for auditors: plans, runs, drills, exceptions, standards", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		from, to, err := period(f, s.Env.Clock.Now())
		if err != nil {
			return err
		}
		if err := checkOutput(&f); err != nil {
			return err
		}
		s.Records(core.RunReport, onlyApp(args))
		return s.WithEngineAnyway(ctx, func(e *engine.Engine, cfg *config.Config) error {
			chosen, err := session.Apps(cfg, args)
			if err != nil {
				return err
			}
			return s.writeReport(ctx, e, cfg, chosen, from, to, f)
		})
	})
	cmd.PreRunE = session.RefuseEmptyFlags
	cmd.Long = `Write one signed document for auditors.

It says of a period what was planned and what ran, which backups there are, how long the longest time
between two of them was and how long recovery took, against the targets; which restores were tested,
what was read back, where the backups are and what protects them, who did what, and everything that
did not go as it should; and how that answers to ISO/IEC 27001 A.8.13, NIST SP 800-53 CP-9 and CP-10
and the 3-2-1-1-0 rule. What is not known to backstay is said so.

Without --output it is kept in the state folder, as HTML and as JSON. FILE.sig is the signature.
Where something could not be read, the document says so and the exit code is 3.`
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", "first day, or time (default: 90 days before --to)")
	fl.StringVar(&f.to, "to", "", "last day, or time (default: now)")
	fl.StringVar(&f.output, "output", "", "write it into this new file")
	fl.StringVar(&f.format, "format", "", "html or json (default: as the file's name ends, else html; without --output both)")
	cmd.AddCommand(s.verifyCommand(), s.keyCommand())
	return cmd
}

func onlyApp(apps []string) string {
	if len(apps) == 1 {
		return apps[0]
	}
	return ""
}

// period reads --from and --to.
func period(f reportFlags, now time.Time) (from, to time.Time, err error) {
	if to, err = moment(f.to, "to", now, true); err != nil {
		return from, to, err
	}
	if to.After(now) {
		to = now
	}
	if from, err = moment(f.from, "from", to.Add(-usualPeriod), false); err != nil {
		return from, to, err
	}
	if !from.Before(to) {
		return from, to, &core.Error{Code: core.CodeUsage, Op: "report", Message: fmt.Sprintf("the period begins at %s and ends at %s", from.Format(time.RFC3339), to.Format(time.RFC3339)), Hint: "--from must be before --to and before now"}
	}
	return from, to, nil
}

// moment reads a day, of which it is the beginning or the end, or a time.
func moment(text, flag string, otherwise time.Time, end bool) (time.Time, error) {
	if text == "" {
		return otherwise, nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		if end {
			day = day.AddDate(0, 0, 1).Add(-time.Second)
		}
		return day, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, &core.Error{Code: core.CodeUsage, Op: "report", Message: fmt.Sprintf("--%s %q is no day and no time", flag, text), Hint: "write it as 2026-11-24 or 2026-11-24T08:30:00Z"}
	}
	return at, nil
}

// checkOutput finds out the format, and early what would keep the document from
// being written.
func checkOutput(f *reportFlags) error {
	switch f.format {
	case "", "html", "json":
	default:
		return &core.Error{Code: core.CodeUsage, Op: "report", Message: fmt.Sprintf("there is no format %q", f.format), Hint: "it is html or json"}
	}
	if f.output == "" {
		return nil
	}
	if f.format == "" {
		f.format = "html"
		if strings.EqualFold(filepath.Ext(f.output), ".json") {
			f.format = "json"
		}
	}
	for _, path := range []string{f.output, f.output + evidence.SignatureEnd} {
		if _, err := os.Lstat(path); err == nil {
			return &core.Error{Code: core.CodeUsage, Op: "report", Message: path + " is there already", Hint: "choose another name: reports are never replaced"}
		}
	}
	if info, err := os.Stat(filepath.Dir(f.output)); err != nil || !info.IsDir() {
		return &core.Error{Code: core.CodeUsage, Op: "report", Message: "there is no folder " + filepath.Dir(f.output), Hint: "make it first"}
	}
	return nil
}

func (s commands) writeReport(ctx context.Context, e *engine.Engine, cfg *config.Config, chosen []*config.App, from, to time.Time, f reportFlags) error {
	store := reports(cfg.StateDir)
	key, err := store.Public()
	if err != nil {
		return err
	}
	in, err := s.gather(ctx, e, cfg, chosen, from, to)
	if err != nil {
		return err
	}
	in.Signer = key.Fingerprint()
	doc := auditor.Build(in)
	var docs []evidence.Document
	var results []written
	for _, format := range []string{"html", "json"} {
		if f.format != "" && f.format != format {
			continue
		}
		path := cmp.Or(f.output, store.ReportPath(fmt.Sprintf("report-%s.%s", strings.ReplaceAll(in.Generated.UTC().Format("20060102-150405.000"), ".", "-"), format)))
		text, err := render(doc, format)
		if err != nil {
			return err
		}
		docs = append(docs, evidence.Document{Path: path, Text: text})
		results = append(results, written{File: path, Signature: path + evidence.SignatureEnd, Format: format, Bytes: int64(len(text))})
	}
	if err := store.Publish(docs...); err != nil {
		return err
	}
	s.Warned(len(doc.Gaps))
	exceptions := len(doc.Exceptions) + doc.Unlisted
	err = s.Printer.Result(map[string]any{"report": map[string]any{
		"files": results, "signer": in.Signer, "from": doc.From, "to": doc.To, "apps": namesOf(chosen), "exceptions": exceptions, "gaps": doc.Gaps,
	}}, func() {
		s.Printer.Printf("%s to %s: %s\n", s.Printer.Time(doc.From), s.Printer.Time(doc.To), doc.Counts())
		for _, r := range results {
			s.Printer.Printf("  %s (%s), signed in %s\n", r.File, ui.Size(r.Bytes), filepath.Base(r.Signature))
		}
	})
	if err != nil || len(doc.Gaps) == 0 {
		return err
	}
	for _, gap := range doc.Gaps {
		s.Printer.Warn(core.Warning{Code: "gap", Message: gap})
	}
	return session.Outcome(core.CodeWarnings.ExitCode())
}

func render(doc auditor.Document, format string) ([]byte, error) {
	if format == "json" {
		return evidence.MarshalReport(doc)
	}
	return auditor.Page(doc)
}

func namesOf(apps []*config.App) []string {
	out := []string{}
	for _, a := range apps {
		out = append(out, a.Name)
	}
	return out
}

func (s commands) verifyCommand() *cobra.Command {
	var public, signature string
	cmd := s.Command("verify FILE", "Say whether a report is as it was signed, and by which key", cobra.ExactArgs(1), func(_ context.Context, args []string) error {
		keys, err := s.verifyingKeys(public)
		if err != nil {
			return err
		}
		v, err := evidence.VerifyFile(args[0], cmp.Or(signature, args[0]+evidence.SignatureEnd), keys)
		if err != nil {
			return err
		}
		return s.Printer.Result(map[string]any{"verified": v}, func() {
			s.Printer.Printf("valid: %s is as it was signed\n", args[0])
			if v.What != "" {
				s.Printer.Printf("  what    %s\n", v.What)
			}
			if !v.Time.IsZero() {
				s.Printer.Printf("  made    %s, by its own words\n", s.Printer.Time(v.Time))
			}
			s.Printer.Printf("  signer  %s\n", v.Signer)
		})
	})
	cmd.PreRunE = session.RefuseEmptyFlags
	cmd.Long = `Say whether a report is as it was signed, and by which key.

A report of which one byte was changed, that another key signed, or that has no signature is refused
with exit code 4. Without --public-key the keys of this installation count. Anybody can do the same:

  openssl pkeyutl -verify -pubin -inkey instance.pub -rawin -in FILE -sigfile FILE.sig`
	cmd.Flags().StringVar(&public, "public-key", "", "the public key of the installation that made it (PEM)")
	cmd.Flags().StringVar(&signature, "signature", "", "the signature (default: FILE.sig)")
	return cmd
}

// verifyingKeys are the keys whose signatures count.
func (s commands) verifyingKeys(public string) ([]evidence.PublicKey, error) {
	if public != "" {
		text, err := os.ReadFile(public)
		if err != nil {
			code := core.CodeFailed
			if errors.Is(err, fs.ErrNotExist) {
				code = core.CodeNotFound
			}
			return nil, &core.Error{Code: code, Op: "read the public key", Err: err}
		}
		key, err := evidence.ParsePublicKey(text)
		return []evidence.PublicKey{key}, err
	}
	cfg, err := s.LoadConfig()
	if err != nil {
		return nil, &core.Error{Code: core.CodeOf(err), Op: "find the public key", Err: err, Hint: "on a machine without a configuration, name the public key with --public-key"}
	}
	return reports(cfg.StateDir).Trusted()
}

func (s commands) keyCommand() *cobra.Command {
	cmd := s.Command("key", "Print the public key that verifies this installation's reports", cobra.NoArgs, func(context.Context, []string) error {
		cfg, err := s.LoadConfig()
		if err != nil {
			return err
		}
		key, err := reports(cfg.StateDir).Public()
		if err != nil {
			return err
		}
		return s.Printer.Result(map[string]any{"public_key": string(key.PEM()), "fingerprint": key.Fingerprint()}, func() {
			s.Printer.Printf("%s", key.PEM())
			s.Printer.Infof("fingerprint (SHA-256) %s", key.Fingerprint())
		})
	})
	cmd.Long = `Print the public key that verifies this installation's reports.

Hand it out before it is needed, and compare fingerprints: a key that comes along with a report proves
only that the two fit. The key is made at its first use and kept in the state folder.`
	return cmd
}
