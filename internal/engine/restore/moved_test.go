package restore_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/repository/memory"
)

// TestMovedTarget: the app's owner has the app's folder lead to one of root's.
// Root restores nothing into that before somebody agrees.
func TestMovedTarget(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be made to write to root's folder")
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const webUser = 33
	a, e := enginetest.NewApp(t), enginetest.New(t, memory.New())
	ok(filepath.WalkDir(a.Root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, webUser, webUser)
	}))
	enginetest.Backup(t, e, a.Target)
	etc := t.TempDir()
	ok(os.WriteFile(etc+"/app.ini", []byte("root's\n"), 0o600))
	ok(os.Rename(a.Root, a.Root+"-away"))
	ok(os.Symlink(etc, a.Root))
	ok(os.Lchown(a.Root, webUser, webUser))
	req := request(t, e, a)
	req.NoSafetyBackup = true
	r, err := restore.Make(t.Context(), e, req)
	ok(err)
	if !slices.Contains(r.Plan.Undecided, "moved-target") {
		t.Errorf("undecided: %v\n%s", r.Plan.Undecided, said(r))
	}
	_, err = r.Run(t.Context())
	enginetest.WantError(t, err, core.CodeDecision)
	if got, err := os.ReadFile(etc + "/app.ini"); err != nil || string(got) != "root's\n" {
		t.Errorf("root's file: %q, %v", got, err)
	}
	nothingLeft(t, a)
	req.Force = []string{"moved-target"}
	run(t, e, req)
	if got, err := os.ReadFile(etc + "/app.ini"); err != nil || string(got) != "x=1\n" {
		t.Errorf("agreed to: %q, %v", got, err)
	}
}
