package backups

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/web/page"
)

// shownExports is how many exports that made nothing are listed.
const shownExports = 10

func (p pages) downloads(q *page.Request) error {
	ready, err := p.c.Downloads(q.Context())
	if err != nil {
		return err
	}
	runs, err := p.c.Runs(q.Context(), console.RunQuery{Kind: core.RunExport, Since: q.Now.AddDate(0, 0, -2), Page: console.Page{Limit: 100}})
	if err != nil {
		return err
	}
	data := struct {
		Ready           []console.Download
		Running, Failed []core.Run
	}{Ready: ready}
	for _, r := range runs {
		switch {
		case r.Outcome == core.OutcomeRunning:
			data.Running = append(data.Running, r)
		case r.Outcome == core.OutcomeFailed && len(data.Failed) < shownExports:
			data.Failed = append(data.Failed, r)
		}
	}
	return q.Render("downloads.html", data)
}

// run is the run that the address names.
func run(q *page.Request) (int64, error) {
	n, err := strconv.ParseInt(q.PathValue("run"), 10, 64)
	if err != nil || n <= 0 {
		return 0, noDownload()
	}
	return n, nil
}

func noDownload() error {
	return &core.Error{Code: core.CodeNotFound, Op: "open download", Message: "there is no such download", Hint: "downloads are kept for a day; make it again"}
}

// archive sends an archive that was made to be downloaded.
func (p pages) archive(q *page.Request) (err error) {
	n, err := run(q)
	if err != nil {
		return err
	}
	d, f, err := p.c.OpenDownload(q.Context(), n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if q.PathValue("name") != d.Name {
		return noDownload()
	}
	return send(q, d.Name, fmt.Sprintf(`"%d-%d-%x"`, d.Run, d.Size, d.Made.UnixNano()), d.Made, f)
}

func (p pages) removeDownload(q *page.Request) error {
	n, err := run(q)
	if err != nil {
		return err
	}
	if err := p.c.RemoveDownload(q.Context(), n); err != nil {
		return err
	}
	q.Say("backups.download.removed.said")
	return q.Go("/downloads")
}
