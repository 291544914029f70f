package operation_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/notify"
)

// reader keeps the text of what it is told, and fails when it is told to.
type reader struct {
	text string
	err  error
}

func (r *reader) Deliver(_ context.Context, _ string, m notify.Message) (string, error) {
	r.text = m.Text
	return m.Matter, r.err
}

// TestWhatIsStillSafe: an alarm about implausible content names the backup from
// before it, also when it is told while another app is looked at.
func TestWhatIsStillSafe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop", "wiki")
	told := &reader{err: errors.New("not now")}
	w.app("shop").Posts = func() []notify.Post { return []notify.Post{{Name: "reader", Destination: told}} }
	for n := range 40 {
		w.write("shop", fmt.Sprint("file", n), 10)
	}
	w.backup("shop")
	w.backup("shop")
	good := w.backup("shop").Backup.ID
	for n := range 30 {
		if err := os.Remove(filepath.Join(w.root("shop"), "uploads", fmt.Sprint("file", n))); err != nil {
			t.Fatal(err)
		}
	}
	names := func(when string) {
		t.Helper()
		if want := "backup " + good; !strings.Contains(told.text, want) || !strings.Contains(told.text, "still safe") {
			t.Errorf("%s it does not say %q: %s", when, want, told.text)
		}
		told.text = ""
	}
	w.same("problems", []string{"shrank"}, problemNames(w.backup("shop").Problems))
	names("after the backup")
	told.err = nil
	w.backup("wiki")
	names("while another app is looked at")
	w.backup("shop")
	w.same("the last good one", good, w.check().LastGood["shop"].ID)
}
