package records_test

import (
	"testing"

	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/pages/pagestest"
	"github.com/backstay/backstay/internal/web/pages/records"
)

func newSite(t *testing.T) *pagestest.Site {
	t.Helper()
	return pagestest.New(t, "records", func(w *consoletest.World) page.Pages { return records.Pages(w.Console) })
}
