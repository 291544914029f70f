package backups_test

import (
	"testing"

	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/pages/backups"
	"github.com/backstay/backstay/internal/web/pages/pagestest"
)

func newSite(t *testing.T) *pagestest.Site {
	t.Helper()
	return pagestest.New(t, "backups", func(w *consoletest.World) page.Pages { return backups.Pages(w.Console) })
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
