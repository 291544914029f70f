package capture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/treetest"
)

// TestLeftoversOfARestore leaves out what a killed restore left, and says so once.
func TestLeftoversOfARestore(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/plain", "p")
	treetest.Write(t, root+"/a/"+files.TempName("one"), "half")
	treetest.Write(t, root+"/a/"+files.TempName("two"), "half")
	treetest.Symlink(t, "nowhere", filepath.Join(root, files.TempName("link")))
	treetest.Mkdir(t, root+"/z/"+files.TempName("folder")) // no restore makes one
	treetest.Write(t, root+"/z/.backstay-mine.tmp", "the application's own")
	m := treetest.NewStore()
	c := capture1(t, m, Options{}, treetest.AppSet(root))
	if diff := cmp.Diff([]string{"app", "app/a", "app/plain", "app/z", "app/z/" + files.TempName("folder"), "app/z/.backstay-mine.tmp"},
		treetest.Paths(treetest.Stored(t, m, c.Entry))); diff != "" {
		t.Error(diff)
	}
	if c.Trees[0].Files != 2 || c.Trees[0].Symlinks != 0 {
		t.Errorf("counted: %+v", c.Trees[0])
	}
	if len(c.Warnings) != 1 || c.Warnings[0].Code != files.CodeLeftover || c.Warnings[0].Object != root {
		t.Fatalf("warnings: %v", c.Warnings)
	}
	for _, want := range []string{"3 in all", files.TempName("link"), "a full restore or rm removes them"} {
		if !strings.Contains(c.Warnings[0].Message, want) {
			t.Errorf("%q does not say %q", c.Warnings[0].Message, want)
		}
	}
	for _, path := range []string{"/a/" + files.TempName("one"), "/a/" + files.TempName("two"), "/" + files.TempName("link")} {
		treetest.OK(t, os.Remove(root+path))
	}
	if c := capture1(t, m, Options{}, treetest.AppSet(root)); len(c.Warnings) != 0 {
		t.Errorf("warnings of nothing: %v", c.Warnings)
	}
}

// TestStagingFolderIsNotCaptured leaves out what a restore replaced and keeps.
func TestStagingFolderIsNotCaptured(t *testing.T) {
	root := t.TempDir()
	treetest.Write(t, root+"/plain", "p")
	treetest.Write(t, root+"/a/"+files.StagingName("itop-files")+"/1/secret", "kept")
	treetest.Write(t, root+"/a/"+files.StagingName("file"), "a file of such a name is the application's")
	m := treetest.NewStore()
	c := capture1(t, m, Options{}, treetest.AppSet(root))
	if diff := cmp.Diff([]string{"app", "app/a", "app/a/" + files.StagingName("file"), "app/plain"}, treetest.Paths(treetest.Stored(t, m, c.Entry))); diff != "" {
		t.Error(diff)
	}
	if len(c.Warnings) != 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	if len(c.Notes) != 1 || !strings.Contains(c.Notes[0], root+"/a/"+files.StagingName("itop-files")) {
		t.Errorf("notes: %q", c.Notes)
	}
}
