package keys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/keys/kit"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia"
)

// Files beside the key's while it is changed.
const (
	newSuffix    = ".new"    // the key to come
	formerSuffix = ".former" // the key before: it opens copies of the repository that were made before
)

func (s commands) rotateCommand() *cobra.Command {
	var file string
	cmd := s.command("key rotate [--new-key-file F]", "Change the repository's key", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return s.rotate(ctx, file)
	})
	cmd.Long = `Change the repository's key. The new one is made (or read from a file), written beside the old one, made
the repository's, tried, and then takes the old one's place, which stays beside it as .former until you
remove it: copies of the repository from before still need it. Recovery kits from before do not open the
repository any more: make a new one. What encrypts the data itself does not change: who had the old key
and a copy of the repository from that time can read that copy.

Cut short at any moment, the same command goes on where it was.`
	cmd.Flags().StringVar(&file, "new-key-file", "", "file that holds the new key (default: a new one of 256 random bits)")
	return cmd
}

// rotate changes the key. At every moment what is on the disk opens the
// repository, or makes it open with the former key: that, the new one beside it
// and the repository's format from before stay until the new one was tried.
func (s commands) rotate(ctx context.Context, newFile string) error {
	cfg, err := s.LoadConfig()
	if err != nil {
		return err
	}
	file := cfg.Repository.PasswordFile
	if file == "" {
		return usage("the repository's key is not in a file of its own", "put it into a file that its owner only can read, name that in repository.password_file, and try again")
	}
	unlock, err := lockRotation(cfg.StateDir)
	if err != nil {
		return err
	}
	defer unlock()
	beside := file + newSuffix
	if _, err := os.Lstat(beside); err == nil {
		return s.finishRotation(ctx, cfg, beside)
	}
	key, err := config.GenerateKey()
	if newFile != "" {
		key, err = config.ResolveSecret(config.SecretSource{PasswordFile: newFile}, "the new key", s.LookupEnv)
	}
	if err != nil {
		return err
	}
	return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
		store, err := escrow(e)
		if err != nil {
			return err
		}
		if err := config.WriteKeyFile(beside, key); err != nil {
			return err
		}
		if err := s.changeKey(ctx, cfg, store, key); err != nil {
			return err
		}
		return s.exchange(ctx, cfg, beside, store.ID())
	})
}

// changeKey makes key the repository's. On an error the former one is good
// again, or both files stay and the error says so.
func (s commands) changeKey(ctx context.Context, cfg *config.Config, store repository.Escrow, key core.Secret) error {
	beside := cfg.Repository.PasswordFile + newSuffix
	before, err := store.Format(ctx)
	if err == nil {
		err = saveFormat(cfg.StateDir, before)
	}
	if err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	err = store.ChangeKey(ctx, key)
	if err == nil {
		if err = s.opens(ctx, cfg, beside); err == nil {
			return nil
		}
	}
	back := s.putBack(context.WithoutCancel(ctx), cfg, before)
	if back == nil {
		back = os.Remove(beside)
	}
	return &core.Error{
		Code: core.CodeOf(err), Op: "change the repository's key", Message: map[bool]string{true: "the key is as it was", false: "it is not clear which key opens the repository: keep " + cfg.Repository.PasswordFile + " and " + beside}[back == nil],
		Err: errors.Join(err, back), Hint: map[bool]string{true: core.HintOf(err), false: "try again: backstay key rotate; the repository's format from before is in " + formatDir(cfg.StateDir)}[back == nil],
	}
}

// formatDir is where the repository's format is kept while its key is changed.
func formatDir(stateDir string) string { return filepath.Join(stateDir, "rotation") }

func saveFormat(stateDir string, format map[string][]byte) error {
	dir := formatDir(stateDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &core.Error{Code: core.CodeDisk, Op: "keep the repository's format", Err: err, Hint: "the key was not changed"}
	}
	for name, content := range format {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := kit.WriteFile(path, content); err != nil {
			return err
		}
	}
	return nil
}

// savedFormat is what saveFormat kept.
func savedFormat(stateDir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(formatDir(stateDir))
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for _, x := range entries {
		if found[x.Name()], err = os.ReadFile(filepath.Join(formatDir(stateDir), x.Name())); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// putBack makes the repository's format what it was.
func (s commands) putBack(ctx context.Context, cfg *config.Config, format map[string][]byte) error {
	return kopia.PutFormat(ctx, s.StoreOptions(cfg, core.Secret{}), format)
}

// lockRotation keeps two changes of the key apart.
func lockRotation(stateDir string) (unlock func(), err error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, &core.Error{Code: core.CodeDisk, Op: "change the repository's key", Err: err, Hint: "run as who may write there"}
	}
	f, err := os.OpenFile(filepath.Join(stateDir, "rotation.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, &core.Error{Code: core.CodeDisk, Op: "change the repository's key", Err: err, Hint: "run as who may write there"}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // only opened for its lock
		return nil, &core.Error{Code: core.CodeLocked, Op: "change the repository's key", Message: "another process changes it right now", Hint: "wait until it is done"}
	}
	return func() { _ = f.Close() }, nil
}

// opens tries whether the key in a file opens the repository.
func (s commands) opens(ctx context.Context, cfg *config.Config, file string) error {
	with := *cfg
	with.Repository.SecretSource = config.SecretSource{PasswordFile: file}
	return s.WithStore(ctx, &with, func(e *engine.Engine) error {
		_, err := e.List(ctx, "")
		return err
	})
}

// finishRotation goes on with a change that was cut short.
func (s commands) finishRotation(ctx context.Context, cfg *config.Config, beside string) error {
	s.Printer.Infof("a change of the key was cut short; going on with it")
	switch err := s.opens(ctx, cfg, beside); {
	case err == nil:
		with := *cfg
		with.Repository.SecretSource = config.SecretSource{PasswordFile: beside}
		id := ""
		err := s.WithStore(ctx, &with, func(e *engine.Engine) error {
			store, err := escrow(e)
			if err == nil {
				id = store.ID()
			}
			return err
		})
		if err != nil {
			return err
		}
		return s.exchange(ctx, cfg, beside, id)
	case core.CodeOf(err) != core.CodeWrongKey && core.CodeOf(err) != core.CodeDamage:
		return err
	}
	// It was cut short before the change, or in the middle of it: then neither key
	// opens the repository until its format from before is put back.
	err := s.opens(ctx, cfg, cfg.Repository.PasswordFile)
	if err != nil {
		before, ferr := savedFormat(cfg.StateDir)
		if ferr == nil {
			ferr = s.putBack(ctx, cfg, before)
		}
		if ferr == nil {
			ferr = s.opens(ctx, cfg, cfg.Repository.PasswordFile)
		}
		err = ferr
	}
	if err != nil {
		return &core.Error{
			Code: core.CodeOf(err), Op: "change the repository's key", Message: "neither the key nor the new one beside it opens the repository", Err: err,
			Hint: "keep both files and " + formatDir(cfg.StateDir) + ": with the repository's format in it the former key opens the repository; a recovery kit from before has the format too",
		}
	}
	if err := os.Remove(beside); err != nil {
		return err
	}
	return s.Printer.Result(map[string]any{"changed": false}, func() {
		s.Printer.Printf("the key was not changed yet, and is as it was; backstay key rotate changes it\n")
	})
}

// exchange puts the new key into the place of the old one, which is kept.
func (s commands) exchange(ctx context.Context, cfg *config.Config, beside, id string) error {
	file := cfg.Repository.PasswordFile
	former := file + formerSuffix
	for n := 2; ; n++ { // of an earlier change
		if _, err := os.Lstat(former); errors.Is(err, fs.ErrNotExist) {
			break
		}
		former = fmt.Sprintf("%s%s-%d", file, formerSuffix, n)
	}
	if info, err := os.Stat(file); err == nil { // who may read it stays so
		if err := errors.Join(os.Chmod(beside, info.Mode().Perm()), chownLike(beside, info)); err != nil {
			return err
		}
	}
	old, err := os.ReadFile(file)
	if err == nil {
		err = kit.WriteFile(former, old)
	}
	if err == nil {
		err = os.Rename(beside, file)
	}
	if err != nil {
		return &core.Error{Code: core.CodeDisk, Op: "put the new key into its place", Err: err, Hint: "the new key is in " + beside + " and opens the repository; backstay key rotate goes on"}
	}
	// With it the former key would open the repository again.
	if err := os.RemoveAll(formatDir(cfg.StateDir)); err != nil {
		s.Printer.Warn(core.Warning{Code: "left", Object: formatDir(cfg.StateDir), Message: "it could not be removed, and makes the former key good again: " + err.Error()})
	}
	db := s.State(ctx, cfg.StateDir)
	stale := 0
	kits, err := (&operation.Caretaker{State: db}).Kits(ctx)
	for _, k := range kits {
		if k.Repository == id || id == "" {
			k.Stale, stale = "repository", stale+1
			err = errors.Join(err, db.SetValue(ctx, operation.KitKey(k.ID), k))
		}
	}
	if err != nil {
		s.Printer.Logger().Warn("that kits are stale now could not be recorded", "err", err)
	}
	return s.Printer.Result(map[string]any{"changed": true, "key_file": file, "former": former, "stale_kits": stale}, func() {
		s.Printer.Printf("the repository has a new key, in %s\n", file)
		s.Printer.Printf("  the former one is in %s: keep it for copies of the repository from before, or remove it\n", former)
		if stale > 0 {
			s.Printer.Printf("  %d recovery kit(s) are stale now\n", stale)
		}
		s.Printer.Printf("  make a recovery kit: backstay key kit FILE\n")
	})
}
