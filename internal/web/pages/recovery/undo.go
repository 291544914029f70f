package recovery

import (
	"net/http"
	"strings"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/web/page"
)

func (p pages) askUndo(q *page.Request) error {
	a, err := p.c.App(q.Context(), q.PathValue("app"))
	if err != nil {
		return err
	}
	return p.undoPage(q, http.StatusOK, a, nil)
}

func (p pages) undoPage(q *page.Request, status int, a console.App, problems []page.Problem) error {
	return q.RenderStatus(status, "undo.html", struct {
		A        console.App
		Problems []page.Problem
	}{a, problems})
}

// undo takes the last restore back, or gives up that it can be.
func (p pages) undo(q *page.Request) error {
	a, err := p.c.App(q.Context(), q.PathValue("app"))
	if err != nil {
		return err
	}
	if a.Undo == nil {
		return &core.Error{Code: core.CodeNotFound, Op: "undo", Message: "there is no restore of " + a.App + " that can be undone", Hint: "restore a backup that was made before it"}
	}
	if q.Form.Get("confirm") != a.App {
		return p.undoPage(q, http.StatusBadRequest, a, mistyped(q, a.App))
	}
	run, err := p.c.StartUndo(q.Context(), a.App, strings.HasSuffix(q.Pattern, "/drop"), who(q))
	if err != nil {
		return err
	}
	return toRun(q, run)
}
