package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/backstay/backstay/internal/files/treetest"
)

// Goals, as in docs/performance.md: ratios of wall times to restic's.
const (
	goalFilesFirst   = 1.0
	goalFilesAgain   = 0.4
	goalFilesRestore = 1.0
)

// treePart makes this program make a tree of files: a process, so that it can
// be interrupted.
const treePart = "make-tree"

func makeTree(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s takes a folder and a number of files", treePart)
	}
	files, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	return treetest.ManyFiles(args[0], files)
}

// tree makes a tree of many files in the lab and returns its path.
func (b *bench) tree(ctx context.Context, files int) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	b.say("making %d files", files)
	path, err := b.lab.folder("tree")
	if err != nil {
		return "", err
	}
	_, err = measure(ctx, command{args: []string{self, treePart, path, strconv.Itoa(files)}}, 0)
	return path, err
}

// filesGroup measures backup and restore of a tree of many files.
func (b *bench) filesGroup(ctx context.Context) error {
	tree, err := b.tree(ctx, b.files)
	if err != nil {
		return err
	}
	want, err := describe(tree)
	if err != nil {
		return err
	}
	var first, again, restore []contender
	for _, with := range b.builds {
		p := b.at(with, placeName(with))
		target := filepath.Join(b.lab.dir, "restored")
		first = append(first, contender{
			name: with.name + ", first", command: p.command("backup", filesApp), output: p.repository,
			prepare: func(ctx context.Context) error {
				_, err := b.place(ctx, with, placeName(with), tree)
				return err
			},
		})
		again = append(again, contender{name: with.name + ", nothing changed", command: p.command("backup", filesApp), output: p.repository})
		restore = append(restore, contender{
			name: with.name + ", restore, verified", prepare: b.aside("restored"),
			command: p.command("restore", filesApp, "latest", "--to-dir", target, "--yes"),
			check:   checkTree(want, filepath.Join(target, "system", tree)),
		})
	}
	if b.tools.restic.there() {
		version := "restic " + b.tools.restic.version
		first = append(first, contender{
			name: version + ", first", command: b.restic(tree, "backup", "--quiet", "."), output: b.resticPath(),
			prepare: func(ctx context.Context) error {
				if _, err := b.lab.folder(resticFolder); err != nil {
					return err
				}
				_, err := measure(ctx, b.restic("", "init"), 0)
				return err
			},
		})
		again = append(again, contender{name: version + ", nothing changed", command: b.restic(tree, "backup", "--quiet", "."), output: b.resticPath()})
		target := filepath.Join(b.lab.dir, "restored")
		for _, verify := range [][]string{nil, {"--verify"}} {
			name := version + ", restore"
			if verify != nil {
				name += ", verified"
			}
			restore = append(restore, contender{
				name: name, prepare: b.aside("restored"), check: checkTree(want, target),
				command: b.restic("", append([]string{"restore", "latest", "--quiet", "--target", target}, verify...)...),
			})
		}
	}
	contenders := append(append(first, again...), restore...)
	all, err := b.alternate(ctx, b.rounds, contenders)
	if err != nil {
		return err
	}
	b.printSeries(fmt.Sprintf("%d files (rounds: %d)", b.files, b.rounds), all, filesColumns())
	if b.tools.restic.there() {
		ours := len(b.builds)
		ratios := compare(all[:len(first)], ours, map[int]float64{ours: goalFilesFirst})
		ratios = append(ratios, compare(all[len(first):len(first)+len(again)], ours, map[int]float64{ours: goalFilesAgain})...)
		ratios = append(ratios, compare(all[len(first)+len(again):], ours, map[int]float64{ours: goalFilesRestore})...)
		b.printRatios(ratios, b.files < tellingFiles)
	}
	return b.clearAll(append(b.placeNames(), "tree", "restored", resticFolder))
}

// aside makes room for a folder without removing what is there: ext4 without a
// journal is slow to make files for minutes after many were removed, and who
// comes next would pay for it. What was put aside goes with the lab.
func (b *bench) aside(name string) func(context.Context) error {
	n := 0
	return func(context.Context) error {
		for ; ; n++ {
			to := filepath.Join(b.lab.dir, fmt.Sprintf("%s-%d", name, n))
			if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
				err := os.Rename(filepath.Join(b.lab.dir, name), to)
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return err
			}
		}
	}
}

const resticFolder = "restic"

func (b *bench) resticPath() string { return filepath.Join(b.lab.dir, resticFolder, "repository") }

func (b *bench) restic(dir string, args ...string) command {
	return command{
		args: append([]string{b.tools.restic.path}, args...), dir: dir,
		env: []string{
			"RESTIC_REPOSITORY=" + b.resticPath(), "RESTIC_PASSWORD=bench",
			"RESTIC_CACHE_DIR=" + filepath.Join(b.lab.dir, resticFolder, "cache"),
		},
	}
}

// checkTree returns a check, for the first round, that the tree at or below
// root is as described.
func checkTree(want map[string]string, root string) func(context.Context, bool) error {
	return func(_ context.Context, first bool) error {
		if !first {
			return nil
		}
		got, err := describe(root)
		if err != nil {
			return err
		}
		return sameTree(want, got)
	}
}

func sameTree(want, got map[string]string) error {
	for path, text := range want {
		if got[path] != text {
			return fmt.Errorf("%s was restored as %q, not as %q", path, got[path], text)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d paths were restored, not %d", len(got), len(want))
	}
	return nil
}

// describe returns mode, owner, time and content of every path below root. The
// root itself is whatever it was restored into.
func describe(root string) (map[string]string, error) {
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.New("this system does not tell who owns a file")
		}
		text := fmt.Sprintf("%v %d:%d %d", info.Mode(), stat.Uid, stat.Gid, info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			sum, err := sumOf(path)
			if err != nil {
				return err
			}
			text += " " + sum
		}
		name, err := filepath.Rel(root, path)
		all[name] = text
		return err
	})
	return all, err
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // only read: nothing to lose
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}
