package recovery_test

import (
	"testing"

	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/pages/pagestest"
	"github.com/backstay/backstay/internal/web/pages/recovery"
)

func newSite(t *testing.T) *pagestest.Site {
	t.Helper()
	return pagestest.New(t, "recovery", func(w *consoletest.World) page.Pages { return recovery.Pages(w.Console) })
}

// ids are those of helpdesk's backups, the oldest first.
func ids(t *testing.T, s *pagestest.Site) []string {
	t.Helper()
	records, err := s.Store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	return ids
}
