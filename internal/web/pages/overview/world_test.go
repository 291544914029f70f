package overview_test

import (
	"testing"

	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/pages/overview"
	"github.com/backstay/backstay/internal/web/pages/pagestest"
)

func newSite(t *testing.T) *pagestest.Site {
	t.Helper()
	return pagestest.New(t, "overview", func(w *consoletest.World) page.Pages { return overview.Pages(w.Console) })
}
