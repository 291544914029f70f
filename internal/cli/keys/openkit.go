package keys

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/keys/kit"
	"github.com/backstay/backstay/internal/operation"
)

// openFlags say what opens a kit.
type openFlags struct {
	identityFile, passphraseFile string
	shares                       []string
}

func (f *openFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.identityFile, "identity-file", "", "file with the private key of an age recipient of the kit")
	fl.StringVar(&f.passphraseFile, "passphrase-file", "", "file that holds the kit's passphrase, or - for the standard input")
	fl.StringArrayVar(&f.shares, "share", nil, "file of a share of the kit's key (may be repeated)")
}

// maxShort bounds the file of a share, and of recipients.
const maxShort = 64 << 10

func readShort(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxShort:
		return nil, errors.New("it is no file of some lines")
	}
	return os.ReadFile(path)
}

// open opens a kit; a terminal is asked for the passphrase of one that has one.
func (s commands) open(ctx context.Context, file string, f openFlags) (kit.Content, error) {
	var o kit.Opening
	if f.identityFile != "" {
		identities, err := config.ReadArchiveSecret(f.identityFile)
		if err != nil {
			return kit.Content{}, err
		}
		o.Identities = identities
	}
	for _, path := range f.shares {
		text, err := readShort(path)
		if err != nil {
			return kit.Content{}, &core.Error{Code: core.CodeUsage, Op: "read share " + path, Err: err, Hint: "give the file that the share was written to"}
		}
		o.Shares = append(o.Shares, string(text))
	}
	needs, err := kit.NeedsPassphrase(file)
	if err != nil {
		return kit.Content{}, err
	}
	if f.passphraseFile != "" || needs {
		if o.Passphrase, err = s.appPassword(ctx, f.passphraseFile, "Passphrase of the kit: "); err != nil {
			return kit.Content{}, err
		}
	}
	return kit.Open(file, o)
}

func (s commands) openKitCommand() *cobra.Command {
	var f openFlags
	var into string
	var words bool
	cmd := s.command("key open FILE --into DIR [--identity-file F|--passphrase-file F|--share F…]", "Write what is in a recovery kit, to restore with it", cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
		dir, err := filepath.Abs(into)
		switch {
		case into == "":
			return usage("it is not said where to", "give --into DIR, a folder that is new or empty")
		case err != nil:
			return err
		case words:
			return s.keyOfWords(ctx, dir)
		case len(args) == 0:
			return usage("no kit is named", "backstay key open FILE --into DIR, or --from-words")
		}
		c, err := s.open(ctx, args[0], f)
		if err != nil {
			return err
		}
		return s.unpack(c, dir)
	})
	f.add(cmd)
	cmd.Flags().StringVar(&into, "into", "", "folder that is new or empty")
	cmd.Flags().BoolVar(&words, "from-words", false, "make the repository's key of the 24 words of a recovery page, which are asked for")
	return cmd
}

// keyOfWords writes the key that the words of a page stand for.
func (s commands) keyOfWords(ctx context.Context, dir string) error {
	source := ""
	if _, ok := s.Terminal(); !ok {
		source = "-"
	}
	text, err := s.appPassword(ctx, source, "The 24 words, in their order: ")
	if err != nil {
		return err
	}
	key, err := kit.FromWords(text.Reveal())
	if err != nil {
		return err
	}
	path := filepath.Join(dir, kit.KeyName)
	if err := config.WriteKeyFile(path, key); err != nil {
		return err
	}
	return s.Printer.Result(map[string]any{"key_file": path, "checksum": kit.Checksum(key)}, func() {
		s.Printer.Printf("wrote the key into %s; its checksum is %s, as on the page\nbackstay list --repository URL --password-file %s\n", path, kit.Checksum(key), path)
	})
}

func (s commands) unpack(c kit.Content, dir string) error {
	if strings.ContainsAny(dir, "\"'\\\n: #") {
		return usage("the name of the folder has characters that its configuration cannot", "give one of letters, digits, - and _")
	}
	text := bytes.ReplaceAll(c.Files[kit.ConfigName], []byte(c.Info.Place), []byte(dir))
	if _, err := config.Parse(kit.ConfigName, text); err != nil {
		return &core.Error{Code: core.CodeDamage, Op: "read the kit's configuration", Err: err, Hint: "the files can be had with: age -d kit.age | tar x"}
	}
	c.Files[kit.ConfigName] = text
	if err := c.Unpack(dir); err != nil {
		return err
	}
	files := slices.Sorted(maps.Keys(c.Files))
	path := filepath.Join(dir, kit.ConfigName)
	return s.Printer.Result(map[string]any{"kit": c.Info, "into": dir, "files": files}, func() {
		p := s.Printer
		p.Printf("kit %s, made %s on %s, is in %s\n", c.Info.ID, p.Time(c.Info.Made), c.Info.Host, dir)
		p.Printf("the backups are at %s\n", c.Info.Repository)
		p.Printf("if they are elsewhere now, write the place into %s; then:\n", path)
		p.Printf("  backstay --config %s list\n", path)
		for _, a := range c.Info.Apps {
			p.Printf("  backstay --config %s restore %s latest --dry-run\n", path, a.Name)
		}
	})
}

// verdict is what became of verifying a kit, as JSON.
type verdict struct {
	Kit        kit.Info `json:"kit"`
	Configured bool     `json:"configured"` // compared with a configuration, and not only with the repository that it names
	Opens      bool     `json:"opens"`      // its key opens the repository now
	Foreign    bool     `json:"foreign"`    // it is another repository's
	Stale      []string `json:"stale"`      // keys that were changed since
	Lacks      []string `json:"lacks"`      // keys that there are now, and not in the kit
	Backups    int      `json:"backups"`    // that it can read
}

func (s commands) verifyKitCommand() *cobra.Command {
	var f openFlags
	cmd := s.command("key verify-kit FILE [--identity-file F|--passphrase-file F|--share F…]", "Prove that a recovery kit opens this repository now", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := s.open(ctx, args[0], f)
		if err != nil {
			return err
		}
		return s.verifyKit(ctx, c)
	})
	cmd.Long = `Prove that a recovery kit opens this repository now: it is unsealed, every file in it is compared with
its checksum, the repository is really opened with the kit's key, and the keys in the kit are compared
with those of today. That somebody still holds a kit that opens is remembered, and asked for again
after kit.proof_age (180 days). Where nothing is configured it is tried on the repository that it names.`
	f.add(cmd)
	return cmd
}

func (s commands) verifyKit(ctx context.Context, c kit.Content) error {
	v := verdict{Kit: c.Info, Stale: []string{}, Lacks: []string{}}
	err := s.compareKit(ctx, c, &v)
	if err != nil {
		return err
	}
	if err := s.Printer.Result(v, func() { s.printVerdict(v) }); err != nil {
		return err
	}
	return v.problem()
}

// compareKit compares a kit with what is configured, and where nothing is with
// the repository that it names.
func (s commands) compareKit(ctx context.Context, c kit.Content, v *verdict) error {
	if s.nothingConfigured() {
		return s.openWith(ctx, &config.Config{Repository: config.Repository{URL: c.Info.Repository}}, c, v)
	}
	v.Configured = true
	return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
		store, err := escrow(e)
		if err != nil {
			return err
		}
		if v.Foreign = store.ID() != c.Info.RepositoryID; v.Foreign {
			return nil
		}
		now, _, err := s.kitContent(ctx, e, cfg)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(now.Info.Keys)) {
			switch was, ok := c.Info.Keys[name]; {
			case !ok:
				v.Lacks = append(v.Lacks, name)
			case was != now.Info.Keys[name]:
				v.Stale = append(v.Stale, name)
			}
		}
		if err := s.openWith(ctx, cfg, c, v); err != nil {
			return err
		}
		if err := s.recordProof(ctx, cfg, c, *v); err != nil {
			s.Printer.Logger().Warn("the proof could not be recorded: checks will ask for it again", "err", err)
		}
		return nil
	})
}

// nothingConfigured says whether this is a bare machine.
func (s commands) nothingConfigured() bool {
	if s.RepositoryURL != "" || s.ConfigPath != "" || s.Env.Getenv(config.EnvConfig) != "" {
		return false
	}
	return !slices.ContainsFunc(config.SearchPaths(s.Env.Getenv), func(path string) bool {
		_, err := os.Lstat(path)
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// openWith opens the repository of a configuration with the kit's key, and reads
// the list of its backups.
func (s commands) openWith(ctx context.Context, cfg *config.Config, c kit.Content, v *verdict) (err error) {
	dir, err := os.MkdirTemp("", "backstay-kit-") // no secret is written there
	if err != nil {
		return &core.Error{Code: core.CodeDisk, Op: "verify the recovery kit", Err: err, Hint: "give another folder for temporary files with $TMPDIR"}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	with := *cfg
	with.Repository.SecretSource, with.StateDir = config.SecretSource{Password: core.NewSecret(strings.TrimSuffix(string(c.Files[kit.KeyName]), "\n"))}, dir
	err = s.WithStore(ctx, &with, func(e *engine.Engine) error {
		store, err := escrow(e)
		if err != nil {
			return err
		}
		if v.Foreign = store.ID() != c.Info.RepositoryID; v.Foreign {
			return nil
		}
		format, err := store.Format(ctx)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(format)) {
			if !bytes.Equal(format[name], c.Files[kit.FormatDir+name]) {
				v.Stale = append(v.Stale, "format "+name)
			}
		}
		all, err := e.List(ctx, "")
		v.Backups = len(all)
		return err
	})
	if core.CodeOf(err) == core.CodeWrongKey {
		return nil
	}
	v.Opens = err == nil && !v.Foreign
	return err
}

func (s commands) recordProof(ctx context.Context, cfg *config.Config, c kit.Content, v verdict) error {
	if v.Foreign {
		return nil
	}
	db := s.State(ctx, cfg.StateDir)
	r := operation.KitRecord{ID: c.Info.ID, Made: c.Info.Made, Repository: c.Info.RepositoryID, Keys: c.Info.Keys}
	if _, err := db.Value(ctx, operation.KitKey(c.Info.ID), &r); err != nil {
		return err
	}
	now := s.Env.Clock.Now()
	if r.Stale = strings.Join(v.Stale, ", "); v.Opens {
		r.Proven, r.ProvenBy = &now, s.Who()
	}
	return db.SetValue(ctx, operation.KitKey(r.ID), r)
}

func (s commands) printVerdict(v verdict) {
	p := s.Printer
	p.Printf("kit %s, made %s on %s: whole\n", v.Kit.ID, p.Time(v.Kit.Made), v.Kit.Host)
	if !v.Configured {
		p.Printf("  there is no configuration here: it is tried on the repository that it names, %s\n", v.Kit.Repository)
	}
	switch {
	case v.Foreign:
		p.Printf("  it is of another repository: %s\n", v.Kit.Repository)
		return
	case v.Opens:
		p.Printf("  it opens this repository now: %d backups can be read with it\n", v.Backups)
	default:
		p.Printf("  it does NOT open this repository: the key was changed since\n")
	}
	for _, name := range v.Stale {
		p.Printf("  changed since: %s\n", name)
	}
	for _, name := range v.Lacks {
		p.Printf("  not in it: %s\n", name)
	}
}

// problem is what is wrong with a kit.
func (v verdict) problem() error {
	e := &core.Error{Code: core.CodeDamage, Op: "verify the recovery kit", Hint: "backstay key kit makes a new one"}
	switch {
	case v.Foreign:
		e.Message, e.Hint = "it is of another repository", "give --config of that repository, or the kit of this one"
	case !v.Opens:
		e.Message = "it is stale: its key does not open the repository any more"
	case len(v.Stale) > 0:
		e.Code, e.Message = core.CodeWarnings, "it opens the repository, and is stale: changed since is "+strings.Join(v.Stale, ", ")
	case len(v.Lacks) > 0:
		e.Code, e.Message = core.CodeWarnings, "it opens the repository, and lacks "+strings.Join(v.Lacks, ", ")
	default:
		return nil
	}
	return e
}
