package localserver_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/internal/mysql/localserver"
)

func TestStartStop(t *testing.T) {
	s, err := localserver.Start(t.Context(), localserver.Options{Dir: t.TempDir(), Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, _ := filepath.Glob(filepath.Dir(s.Dir) + "/*"); len(m) != 0 {
		t.Fatal(m)
	}
	_ = os.Getpid
}
