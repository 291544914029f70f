package drill

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/engine/coverage"
	"github.com/backstay/backstay/internal/engine/repair"
)

// manyFiles adds small files and some bytes that nothing makes smaller to an app.
func (s *site) manyFiles(n int) {
	s.t.Helper()
	for i := range n {
		s.write(fmt.Sprintf("root/d%d/f%d.txt", i%20, i), fmt.Sprintln("the file", i))
	}
	large := make([]byte, 24<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(large) // it never fails
	s.write("root/large.bin", string(large))
}

// killed runs a command and kills it after a time; false when it was done before.
func (s *site) killed(after time.Duration, args ...string) bool {
	s.t.Helper()
	cmd := s.on(append(args, "--json", "--no-progress")...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended
	defer timer.Stop()
	_ = cmd.Wait() // what became of it is what is looked at
	return !cmd.ProcessState.Exited()
}

// TestVerifyKilled kills a reading back, and a repair, at some moments. What was
// read is remembered, nothing is lost, and in the end all is whole.
func TestVerifyKilled(t *testing.T) {
	s := newFiles(t)
	s.manyFiles(4000)
	s.run(0, nil, "backup", "wiki")
	s.write("root/more.txt", "more\n")
	s.run(0, nil, "backup", "wiki")
	record := func() []byte {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(s.dir, "state/coverage/*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if ext := filepath.Ext(f); ext != ".lock" && ext != ".json" && filepath.Base(f)[0] != '.' {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				return text
			}
		}
		return nil
	}
	began := time.Now()
	midway, kills := false, 0
	for after := 100 * time.Millisecond; ; after += 50 * time.Millisecond {
		before := record()
		if !s.killed(after, "verify", "--cover", "--part", "1/1") {
			break
		}
		kills++
		if now := record(); before != nil && !bytes.HasPrefix(now, before) && len(now) < len(before) {
			t.Errorf("a record of %d bytes became one of %d", len(before), len(now))
		} else if before != nil && len(now) > len(before) {
			midway = true
		}
	}
	var r coverage.Report
	s.run(0, &r, "verify", "--cover", "--part", "1/1")
	if r.Unread != 0 || r.Begun || r.ReadObjects != r.Objects || r.Objects < 4000 {
		t.Errorf("after %d kills: %+v", kills, r)
	}
	t.Logf("%d kills in %v, midway: %v; %d objects with %d bytes in %d ms", kills, time.Since(began).Round(time.Millisecond), midway, r.Objects, r.ReadBytes, r.DurationMS)

	for _, p := range s.packs() {
		s.spoil(p)
	}
	s.run(4, nil, "verify", "wiki")
	for after := 200 * time.Millisecond; after < 2*time.Second && s.killed(after, "verify", "--repair", "wiki"); after += 300 * time.Millisecond {
		s.run(0, nil, "list")
	}
	var mended repair.Repaired
	s.run(0, &mended, "verify", "--repair", "wiki")
	if mended.Lost() != 0 {
		t.Errorf("%+v", mended)
	}
	s.run(0, nil, "verify", "--all")
	s.run(0, nil, "maintain")
	s.run(0, &r, "verify", "--cover", "--part", "1/1")
	if len(r.Damaged) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestRepairOfOneLostFile: a damaged pack holds what the live app has and what it
// has not any more. The first comes back, the second is lost, by name, and the
// repository is maintained as before.
func TestRepairOfOneLostFile(t *testing.T) {
	s := newFiles(t)
	s.write("root/old/gone.txt", "only in the first backup\n")
	s.run(0, nil, "backup", "wiki")
	if err := os.RemoveAll(filepath.Join(s.dir, "root/old")); err != nil {
		t.Fatal(err)
	}
	packs := s.packs()
	s.run(0, nil, "backup", "wiki")
	for _, p := range packs { // what the first backup wrote
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for i := range text {
			text[i] ^= 0x55
		}
		if err := os.WriteFile(p, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var mended repair.Repaired
	s.run(4, &mended, "verify", "--repair", "wiki")
	if mended.Backup == nil || mended.Parts == 0 || len(mended.Older) != 2 {
		t.Fatalf("%+v", mended)
	}
	names := map[string]bool{}
	for _, v := range mended.Older {
		for _, d := range v.Damaged {
			names[filepath.Base(d.Path)] = true
		}
	}
	if !names["gone.txt"] || names["a.bin"] || names["b.bin"] {
		text, _ := json.Marshal(mended.Older) // it can be
		t.Errorf("lost: %s", text)
	}
	s.run(0, nil, "verify", "wiki")
	s.run(0, nil, "maintain")
	s.run(0, nil, "maintain")
	s.run(0, nil, "verify", "wiki")
	var listed struct {
		Backups []struct {
			ID      string
			Damaged *time.Time
		}
	}
	s.run(0, &listed, "list")
	damaged := 0
	for _, b := range listed.Backups {
		if b.Damaged != nil {
			damaged++
		}
	}
	if damaged != mended.Lost() || len(listed.Backups) != 3 {
		t.Errorf("%+v; %d lost something", listed, mended.Lost())
	}
}

// TestDamagedIndex: what lists the contents is damaged. It is said that this
// cannot be repaired, and nothing is changed.
func TestDamagedIndex(t *testing.T) {
	s := newFiles(t)
	s.run(0, nil, "backup", "wiki")
	found := 0
	err := filepath.WalkDir(filepath.Join(s.dir, "repository"), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(filepath.Join(s.dir, "repository"), p)
		if rel[0] == 'x' {
			found++
			s.spoil(p)
		}
		return err
	})
	if err != nil || found == 0 {
		t.Fatalf("%d index blobs, %v", found, err)
	}
	for _, args := range [][]string{{"verify", "--repair", "wiki"}, {"verify", "--cover", "--part", "1/1"}} {
		var said struct {
			Error struct{ Code, Message, Hint string }
		}
		s.run(4, &said, args...)
		if said.Error.Code != "damage" || said.Error.Hint == "" {
			t.Errorf("%v says %+v", args, said)
		}
	}
}
