package drill

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// blobs are the files of the repository that hold its format.
func (s *site) blobs() map[string][]byte {
	s.t.Helper()
	found := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Join(s.dir, "repository"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "kopia.") {
			path := filepath.Join(s.dir, "repository", e.Name())
			if found[path], err = os.ReadFile(path); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	if len(found) == 0 {
		s.t.Fatal("the repository has no format")
	}
	return found
}

// TestRotationCutShort: killed after any of its writes the same command goes on,
// and there is never a state in which nothing opens the repository.
func TestRotationCutShort(t *testing.T) {
	s := newFiles(t)
	s.run(0, nil, "backup", "wiki")
	key, state := filepath.Join(s.dir, "key"), filepath.Join(s.dir, "state/rotation")
	oldKey, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	before := s.blobs()
	s.run(0, nil, "key", "rotate")
	s.run(0, nil, "list")
	newKey, err := os.ReadFile(key)
	if err != nil || string(newKey) == string(oldKey) {
		t.Fatalf("the key did not change (%v)", err)
	}
	if _, err := os.Stat(state); err == nil {
		t.Error("what makes the former key good again is left")
	}
	after := s.blobs()
	put := func(path string, text []byte) {
		t.Helper()
		_ = os.Remove(path) // it may not be there
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Each state that a kill can leave: both keys and the former format are there,
	// and of the repository's format any part is new.
	for changed := 0; changed < 1<<len(after); changed++ {
		put(key, oldKey)
		put(key+".new", newKey)
		n := 0
		for path := range after {
			put(filepath.Join(state, strings.TrimSuffix(filepath.Base(path), ".f")), before[path])
			if changed&(1<<n) != 0 {
				put(path, after[path])
			} else {
				put(path, before[path])
			}
			n++
		}
		s.run(0, nil, "key", "rotate")
		s.run(0, nil, "list")
		if _, err := os.Stat(key + ".new"); err == nil {
			t.Errorf("state %b: the new key is still beside the old one", changed)
		}
		for _, path := range []string{key + ".former", key + ".former-2", key + ".former-3"} {
			_ = os.Remove(path)
		}
	}
}
