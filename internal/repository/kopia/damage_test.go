package kopia_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia"
	"github.com/backstay/backstay/internal/repository/repositorytest"
)

// folderOf returns the repository's folder.
func folderOf(opts kopia.Options) string { return strings.TrimPrefix(opts.URL, "file://") }

// blobs returns the files of the blobs whose id begins with prefix.
func blobs(t testing.TB, root, prefix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".f") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if strings.HasPrefix(strings.ReplaceAll(rel, "/", ""), prefix) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// contentOf is what backup n of store holds.
func contentOf(n int) []byte { return repositorytest.Random(uint64(100+n), 300_000) }

// store commits backup n.
func store(ctx context.Context, s repository.Store, n int) (repository.Record, error) {
	ss, err := s.Begin(ctx)
	if err != nil {
		return repository.Record{}, err
	}
	defer ss.Abort()
	o, err := repositorytest.Put(ctx, ss, "f", contentOf(n))
	if err != nil {
		return repository.Record{}, err
	}
	root, err := ss.WriteDir(ctx, []core.Entry{{Name: fmt.Sprintf("f%d", n), Type: core.TypeFile, Mode: 0o600, Object: o}})
	if err != nil {
		return repository.Record{}, err
	}
	return ss.Commit(ctx, root, repositorytest.NewBackup(n))
}

func mustStore(t testing.TB, s repository.Store, n int) repository.Record {
	t.Helper()
	r, err := store(t.Context(), s, n)
	if err != nil {
		t.Fatalf("store backup %d: %v", n, err)
	}
	return r
}

// read reads backup n back; other bytes than were stored are a test failure.
func read(t testing.TB, s repository.Store, r repository.Record, n int) error {
	t.Helper()
	entries, err := s.ReadDir(t.Context(), r.Root.ID)
	if err != nil {
		return err
	}
	data, err := repositorytest.Get(t.Context(), s, entries[0].Object.ID)
	if err == nil && !bytes.Equal(data, contentOf(n)) {
		t.Errorf("backup %d came back with other bytes", n)
	}
	return err
}

func mustClose(t testing.TB, s repository.Store) {
	t.Helper()
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("close: %v", err)
	}
}

func flipByte(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(data) > 0 {
		data[len(data)/2] ^= 1
	}
	return os.WriteFile(path, data, 0o600)
}

func cutShort(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, fi.Size()/2)
}

// TestEveryBlobDamaged damages each blob of a repository in each way, one at a
// time. The list must be whole or give CodeDamage, pins must be there, and
// what is read must be right or give CodeDamage.
func TestEveryBlobDamaged(t *testing.T) {
	const backups = 2
	pristine := create(t)
	s := mustOpen(t, pristine)
	var records []repository.Record
	for n := range backups {
		records = append(records, mustStore(t, s, n))
		pinned := true
		if err := s.Mark(t.Context(), records[n].ID, repository.Mark{Pinned: &pinned}); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)

	var mu sync.Mutex
	seen := map[string]int{} // how often damage was noticed, by kind of blob and place
	t.Run("blob", func(t *testing.T) {
		for i, path := range blobs(t, folderOf(pristine), "") {
			rel, err := filepath.Rel(folderOf(pristine), path)
			if err != nil {
				t.Fatal(err)
			}
			for how, damage := range map[string]func(string) error{
				"deleted": os.Remove, "changed": []func(string) error{flipByte, cutShort}[i%2],
			} {
				t.Run(how+" "+rel, func(t *testing.T) {
					t.Parallel()
					opts := newOptions(t)
					if err := os.CopyFS(folderOf(opts), os.DirFS(folderOf(pristine))); err != nil {
						t.Fatal(err)
					}
					if err := damage(filepath.Join(folderOf(opts), rel)); err != nil {
						t.Fatal(err)
					}
					where := examine(t, opts, records, rel)
					mu.Lock()
					defer mu.Unlock()
					seen[rel[:1]+" "+where]++
				})
			}
		}
	})
	t.Logf("noticed: %v", seen)
	for _, want := range []string{"p read", "x list", "q list", "k open"} {
		if seen[want] == 0 {
			t.Errorf("no damage was noticed as %q", want)
		}
	}
}

// TestStrayLedgerEntry has an entry in the ledger for a backup that the
// repository does not hold. It must not keep anybody from the others, and
// Delete removes it.
func TestStrayLedgerEntry(t *testing.T) {
	opts := create(t)
	s := mustOpen(t, opts)
	defer mustClose(t, s)
	r := mustStore(t, s, 1)
	const stray = "0123456789abcdef"
	if err := os.WriteFile(filepath.Join(folderOf(opts), "b", "ack", "stay.backup."+stray+".f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := s.List(t.Context())
	wantError(t, err, core.CodeDamage, stray, "`backstay delete` by its whole id")
	if len(got) != 1 || got[0].ID != r.ID {
		t.Fatalf("%v came with the damage, want %s", got, r.ID)
	}
	if err := read(t, s, got[0], 1); err != nil {
		t.Errorf("read the other backup: %v", err)
	}
	mustStore(t, s, 2)
	wantError(t, s.Delete(t.Context(), stray[:8]), core.CodeNotFound)
	if err := s.Delete(t.Context(), stray); err != nil {
		t.Fatal(err)
	}
	if got, err := s.List(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("after the deletion: %d backups, %v; want 2", len(got), err)
	}
	if left := blobs(t, folderOf(opts), "backstay.backup."+stray); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// examine looks at a repository with one damaged blob and returns where the
// damage was noticed: "open", "list", "read" or "nowhere".
func examine(t *testing.T, opts kopia.Options, records []repository.Record, rel string) string {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if code := core.CodeOf(err); code != core.CodeDamage {
			t.Errorf("code %s, want damage: %v", code, err)
		}
		if core.HintOf(err) == "" {
			t.Errorf("no hint with: %v", err)
		}
	}
	s, err := kopia.Open(t.Context(), opts)
	if err != nil {
		if strings.HasPrefix(rel, "kopia.repository") {
			// A missing one looks like a creation that did not finish, a
			// changed one like a wrong key; both name the file.
			code := core.CodeOf(err)
			if (code != core.CodeNoRepository && code != core.CodeWrongKey) || !strings.Contains(core.HintOf(err), "kopia.repository.f") {
				t.Errorf("%v, hint %q", err, core.HintOf(err))
			}
			return "open"
		}
		check(err)
		return "open"
	}
	defer mustClose(t, s)
	got, err := s.List(t.Context())
	where := "nowhere"
	if err != nil {
		check(err)
		where = "list"
		if _, err := s.Maintain(t.Context()); err == nil {
			t.Error("maintained, though the list is not whole")
		}
	} else if len(got) != len(records) {
		t.Fatalf("%d of %d backups are listed, with no error", len(got), len(records))
	}
	for _, r := range got {
		if !r.Pinned && !strings.HasPrefix(rel, "b/") {
			t.Errorf("the pin of %s is lost", r.ID)
		}
	}
	for n, r := range records {
		if err := read(t, s, r, n); err != nil {
			check(err)
			if where == "nowhere" {
				where = "read"
			}
		}
	}
	return where
}

// TestCommitSharesNothingLost takes parts of packs away, and stores again what
// they hold: kopia's index still names it.
func TestCommitSharesNothingLost(t *testing.T) {
	for name, tt := range map[string]struct {
		prefix string // of the packs: p has data, q has folders and manifests
		damage func(string) error
	}{
		"data pack deleted":     {"p", os.Remove},
		"data pack truncated":   {"p", cutShort},
		"data pack empty":       {"p", func(path string) error { return os.Truncate(path, 0) }},
		"folder pack truncated": {"q", cutShort},
	} {
		for _, reopened := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, reopened %t", name, reopened), func(t *testing.T) {
				opts := create(t)
				s := mustOpen(t, opts)
				defer func() { mustClose(t, s) }()
				before := blobs(t, folderOf(opts), tt.prefix)
				ss, err := s.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer ss.Abort()
				root := storeFolders(t, ss)
				if _, err := ss.Commit(t.Context(), root, repositorytest.NewBackup(1)); err != nil {
					t.Fatal(err)
				}
				if reopened {
					mustClose(t, s)
					s = mustOpen(t, opts)
				}
				for _, path := range blobs(t, folderOf(opts), tt.prefix) {
					// A manifest in its own, small pack: without it there is no list.
					if fi, err := os.Stat(path); err != nil || fi.Size() < 6000 || slices.Contains(before, path) {
						continue
					}
					if err := tt.damage(path); err != nil {
						t.Fatal(err)
					}
				}
				ss, err = s.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer ss.Abort()
				root = storeFolders(t, ss)
				_, err = ss.Commit(t.Context(), root, repositorytest.NewBackup(2))
				wantError(t, err, core.CodeDamage, "lost data that this backup would share", "backstay verify --all", "backstay init", "new folder")
				if got, err := s.List(t.Context()); err != nil || len(got) != 1 {
					t.Errorf("%d backups, %v; want the old one alone", len(got), err)
				}
				// What shares nothing with the lost can still be stored.
				r := mustStore(t, s, 3)
				if err := read(t, s, r, 3); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// storeFolders stores a large file in a folder of a folder with many entries.
func storeFolders(t *testing.T, ss repository.Session) core.Object {
	t.Helper()
	o, err := repositorytest.Put(t.Context(), ss, "f", repositorytest.Random(9, 5<<20))
	if err != nil {
		t.Fatal(err)
	}
	var entries []core.Entry
	for n := range 500 {
		entries = append(entries, core.Entry{Name: fmt.Sprintf("%x", repositorytest.Random(uint64(n), 30)), Type: core.TypeFile, Object: o})
	}
	inner, err := ss.WriteDir(t.Context(), entries)
	if err != nil {
		t.Fatal(err)
	}
	root, err := ss.WriteDir(t.Context(), []core.Entry{{Name: "inner", Type: core.TypeDir, Object: inner}})
	if err != nil {
		t.Fatal(err)
	}
	return root
}
