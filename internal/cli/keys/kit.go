package keys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/keys/kit"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/repository"
)

// kits are the commands for recovery kits and the repository's key.
func (s commands) kits() []*cobra.Command {
	return []*cobra.Command{s.kitCommand(), s.verifyKitCommand(), s.openKitCommand(), s.rotateCommand(), s.sealCommand()}
}

// kitFlags say who can open a kit.
type kitFlags struct {
	recipients                     []string
	recipientsFile, passphraseFile string
	shares, page                   string
}

// made is a kit in JSON.
type made struct {
	ID     string            `json:"id"`
	File   string            `json:"file"`
	Shares []string          `json:"shares,omitempty"` // files of the shares
	Page   string            `json:"page,omitempty"`
	Keys   map[string]string `json:"keys"`
}

func (s commands) kitCommand() *cobra.Command {
	var f kitFlags
	cmd := s.command("key kit FILE [--recipient R…|--recipients-file F|--passphrase-file F|--shares K/N] [--page FILE]", "Make a recovery kit: all that a bare machine needs, sealed", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error { return s.makeKit(ctx, e, cfg, args[0], f) })
	})
	cmd.Long = `Make a recovery kit: all that a restore on a bare machine needs beside the repository.

It holds the repository's key and address, the configuration with its passwords, the keys of the
applications, a page to print, and this program. It is sealed for age recipients, with a passphrase
(asked for twice, or read from a file), or with a key that is split: any K of N shares open it. Keep it
elsewhere than the repository, and prove now and then that it still opens (backstay key verify-kit).`
	fl := cmd.Flags()
	fl.StringArrayVar(&f.recipients, "recipient", nil, "age recipient that can open it (may be repeated)")
	fl.StringVar(&f.recipientsFile, "recipients-file", "", "file with age recipients that can open it, a line each")
	fl.StringVar(&f.passphraseFile, "passphrase-file", "", "file that holds its passphrase, or - for the standard input")
	fl.StringVar(&f.shares, "shares", "", "split its key: 2/3 makes three shares, any two of which open it")
	fl.StringVar(&f.page, "page", "", "write the page with the repository's key here too, unsealed, to be printed")
	return cmd
}

// sealing is what the flags ask for; without any a terminal is asked for a
// passphrase.
func (s commands) sealing(ctx context.Context, f kitFlags) (kit.Sealing, error) {
	out := kit.Sealing{Recipients: f.recipients}
	if f.recipientsFile != "" {
		text, err := readShort(f.recipientsFile)
		if err != nil {
			return out, &core.Error{Code: core.CodeUsage, Op: "read the recipients in " + f.recipientsFile, Err: err, Hint: "it has a line for each that begins with age1"}
		}
		out.Recipients = append(slices.Clone(f.recipients), string(text))
	}
	if f.shares != "" {
		need, of, ok := strings.Cut(f.shares, "/")
		var err, oerr error
		out.Shares.Need, err = strconv.Atoi(need)
		out.Shares.Of, oerr = strconv.Atoi(of)
		if !ok || err != nil || oerr != nil {
			return out, usage("--shares is written as 2/3", "any two of three shares open it then")
		}
	}
	switch {
	case f.passphraseFile != "":
		var err error
		out.Passphrase, err = s.appPassword(ctx, f.passphraseFile, "")
		return out, err
	case len(out.Recipients) > 0 || f.shares != "":
		return out, nil
	}
	if _, ok := s.Terminal(); !ok {
		return out, usage("it is not said who can open the kit", "give --recipient, --passphrase-file or --shares")
	}
	first, err := s.appPassword(ctx, "", "Passphrase of the kit: ")
	if err != nil {
		return out, err
	}
	again, err := s.appPassword(ctx, "", "The same again: ")
	if err == nil && again.Reveal() != first.Reveal() {
		err = usage("the two are not the same", "try again")
	}
	out.Passphrase = first
	return out, err
}

func escrow(e *engine.Engine) (repository.Escrow, error) {
	store, ok := e.Store.(repository.Escrow)
	if !ok {
		return nil, &core.Error{Code: core.CodeUnsupported, Op: "look after the repository's key", Message: "this repository has no key that can be kept elsewhere"}
	}
	return store, nil
}

func (s commands) makeKit(ctx context.Context, e *engine.Engine, cfg *config.Config, file string, f kitFlags) error {
	sealing, err := s.sealing(ctx, f)
	if err != nil {
		return err
	}
	for _, path := range []string{file, f.page} {
		if _, err := os.Lstat(path); path != "" && !errors.Is(err, fs.ErrNotExist) {
			return usage(path+" is there already", "give another name, or move it away")
		}
	}
	c, key, err := s.kitContent(ctx, e, cfg)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	shares, err := kit.Write(file, program, c, sealing)
	if err != nil {
		return err
	}
	out := made{ID: c.Info.ID, File: file, Keys: c.Info.Keys}
	for _, share := range shares {
		path := fmt.Sprintf("%s.share-%d.txt", file, share.Number)
		if err := kit.WriteFile(path, []byte(share.ReadMe)); err != nil { // a kit whose key is lost is none
			for _, done := range append(out.Shares, file) {
				err = errors.Join(err, os.Remove(done))
			}
			return err
		}
		out.Shares = append(out.Shares, path)
	}
	if f.page != "" {
		page, err := kit.Page(c.Info, key)
		if err != nil {
			return err
		}
		if err := kit.WriteFile(f.page, page); err != nil {
			return err
		}
		out.Page = f.page
		s.Printer.Warn(core.Warning{Code: "unsealed", Object: f.page, Message: "it shows the repository's key to whoever sees it: print it, then remove it"})
	}
	record := operation.KitRecord{ID: c.Info.ID, Made: c.Info.Made, Repository: c.Info.RepositoryID, Keys: c.Info.Keys, By: s.Who()}
	if err := s.State(ctx, cfg.StateDir).SetValue(ctx, operation.KitKey(record.ID), record); err != nil {
		s.Printer.Logger().Warn("the kit is made, and not recorded: checks will ask for one", "err", err)
	}
	return s.Printer.Result(out, func() {
		s.Printer.Printf("made recovery kit %s: %s\n", out.ID, out.File)
		for _, name := range slices.Sorted(maps.Keys(out.Keys)) {
			s.Printer.Printf("  opens: %s\n", name)
		}
		for _, share := range out.Shares {
			s.Printer.Printf("  share: %s\n", share)
		}
		if len(out.Shares) > 0 {
			s.Printer.Printf("give the shares to %d people, and remove them here: any %d open the kit\n", len(out.Shares), sealing.Shares.Need)
		}
		s.Printer.Printf("keep it elsewhere than the repository; prove that it opens: backstay key verify-kit %s\n", out.File)
	})
}

// place stands in a kit for the folder that it will be opened into.
const place = "/BACKSTAY-KIT-FOLDER"

// kitContent gathers what goes into a kit.
func (s commands) kitContent(ctx context.Context, e *engine.Engine, cfg *config.Config) (c kit.Content, key core.Secret, err error) {
	store, err := escrow(e)
	if err != nil {
		return c, key, err
	}
	c.Files = map[string][]byte{}
	c.Info = kit.Info{
		ID: kit.NewID(), Made: s.Env.Clock.Now().UTC().Truncate(time.Second), Host: e.Host, Version: s.Env.Version, Repository: cfg.Repository.URL, RepositoryID: store.ID(), Keys: map[string]string{}, Place: place,
	}
	if key, err = config.ResolveSecret(cfg.Repository.SecretSource, "the repository", s.LookupEnv); err != nil {
		return c, key, err
	}
	c.Files[kit.KeyName] = []byte(key.Reveal() + "\n")
	if c.Info.Keys["repository"], err = kit.Fingerprint(store.ID(), "repository", key); err != nil {
		return c, key, err
	}
	format, err := store.Format(ctx)
	if err != nil {
		return c, key, err
	}
	for name, content := range format {
		c.Files[kit.FormatDir+name] = content
	}
	if err := s.addApps(ctx, e, cfg, &c); err != nil {
		return c, key, err
	}
	if err := s.addConfig(cfg, &c); err != nil {
		return c, key, err
	}
	page, err := kit.Page(c.Info, key)
	c.Files[kit.PageName] = page
	return c, key, err
}

// addApps puts in the applications' own configurations, which have their keys.
// One that cannot be read is said: its backups have it too.
func (s commands) addApps(ctx context.Context, e *engine.Engine, cfg *config.Config, c *kit.Content) error {
	for i := range cfg.Apps {
		a := &cfg.Apps[i]
		c.Info.Apps = append(c.Info.Apps, kit.App{Name: a.Name, Profile: a.Profile, Root: a.Root})
		t, err := s.Target(a)
		if err != nil {
			return err
		}
		keys, files, err := appKeys(ctx, e, t)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.Printer.Warn(core.Warning{Code: "no-app-keys", Object: a.Name, Message: "its own keys are not in the kit: " + err.Error()})
			continue
		}
		for name, content := range files {
			if name = kit.AppsDir + a.Name + "/" + name; kit.ValidName(name) {
				c.Files[name] = content
			}
		}
		for name, key := range keys {
			if c.Info.Keys[name+" of "+a.Name], err = kit.Fingerprint(c.Info.RepositoryID, name+" of "+a.Name, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// itopKey is iTop's key, where it is written in plain text.
var itopKey = regexp.MustCompile(`'encryption_key'\s*=>\s*'([^'\\]+)'`)

// maxAppConfig bounds an application's configuration file.
const maxAppConfig = 1 << 20

// appKeys are the keys of an application, and the files that they are in.
func appKeys(ctx context.Context, e *engine.Engine, t engine.Target) (keys map[string]core.Secret, files map[string][]byte, err error) {
	keys, files = map[string]core.Secret{}, map[string][]byte{}
	p, err := e.Profiles.Get(t.Profile)
	if err != nil {
		return nil, nil, err
	}
	found, err := p.Discover(ctx, t.App)
	if err != nil {
		return nil, nil, err
	}
	if name := found.Settings["config"]; name != "" {
		path := filepath.Join(t.App.Root, name)
		info, err := os.Stat(path)
		if err != nil {
			return nil, nil, err
		}
		if info.Size() > maxAppConfig {
			return nil, nil, fmt.Errorf("%s is too large to be a configuration", path)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		files[filepath.Base(name)] = content
		if m := itopKey.FindSubmatch(content); t.Profile == "itop" && m != nil {
			keys["encryption_key"] = core.NewSecret(string(m[1]))
		}
	}
	if k, ok := p.(profile.ArchiveKeeper); ok {
		if key, err := k.ArchivePassword(ctx, t.App); err == nil && !key.Empty() {
			keys["archive password"] = key
		}
	}
	return keys, files, nil
}

// addConfig puts in a configuration that leads to the kit's own files, and the
// secrets that it names.
func (s commands) addConfig(cfg *config.Config, c *kit.Content) error {
	own := *cfg
	own.StateDir, own.Repository.SecretSource = place+"/state", config.SecretSource{PasswordFile: place + "/" + kit.KeyName}
	own.Apps = append([]config.App{}, cfg.Apps...)
	secret := func(from *config.SecretSource, name, what string) error {
		if !from.Given() {
			return nil
		}
		value, err := config.ResolveSecret(*from, what, s.LookupEnv)
		if err != nil {
			return err
		}
		c.Files[kit.SecretsDir+name] = []byte(value.Reveal() + "\n")
		*from = config.SecretSource{PasswordFile: place + "/" + kit.SecretsDir + name}
		return nil
	}
	for i := range own.Apps {
		a := &own.Apps[i]
		if err := secret(&a.Database.SecretSource, a.Name+".database", "the database of "+a.Name); err != nil {
			return err
		}
	}
	text, err := own.Standalone()
	if err != nil {
		return err
	}
	if len(cfg.Secrets.Recipients) > 0 || cfg.Secrets.IdentityFile != "" {
		text = append(text, "\nsecrets:\n"...)
	}
	if r := cfg.Secrets.Recipients; len(r) > 0 {
		text = fmt.Appendf(text, "  recipients: [%s]\n", strings.Join(r, ", "))
	}
	if file := cfg.Secrets.IdentityFile; file != "" {
		identities, err := config.ReadArchiveSecret(file)
		if err != nil {
			return err
		}
		c.Files[kit.SecretsDir+"identities"] = []byte(identities.Reveal() + "\n")
		text = append(text, "  identity_file: "+place+"/"+kit.SecretsDir+"identities\n"...)
		if c.Info.Keys["sealed secrets"], err = kit.Fingerprint(c.Info.RepositoryID, "sealed secrets", identities); err != nil {
			return err
		}
	}
	c.Files[kit.ConfigName] = text
	if path, err := config.Find(s.ConfigPath, s.Env.Getenv); err == nil {
		original, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		c.Files["original.yaml"] = original
	}
	return nil
}

// usage is an error in how a command is used: what, and what to do.
func usage(message, hint string) error {
	return &core.Error{Code: core.CodeUsage, Op: "look after recovery kits", Message: message, Hint: hint}
}
