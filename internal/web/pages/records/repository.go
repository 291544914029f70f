package records

import (
	"cmp"
	"html/template"
	"slices"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/picture"
)

// counted is an app with how many backups the repository has of it.
type counted struct {
	App     string
	Backups int
}

func (p pages) repository(q *page.Request) error {
	info, err := p.c.Repository(q.Context())
	if err != nil {
		return err
	}
	view := struct {
		console.RepositoryInfo
		Growth  template.HTML
		Since   int64 // bytes that were added in the time that the picture shows
		Counted []counted
		More    int // apps that are not among Counted
		Percent int64
	}{RepositoryInfo: info, Percent: -1}
	var fills []picture.Fill
	for _, s := range info.Growth {
		fills = append(fills, picture.Fill{Time: s.Time, Used: s.Used, Free: s.Free})
	}
	fills = slices.DeleteFunc(fills, func(f picture.Fill) bool { return f.Used < 0 })
	if len(fills) > 1 {
		first, last := fills[0], fills[len(fills)-1]
		view.Growth = picture.Growth(fills, picture.Words{
			Title: q.Text.T("records.growth"),
			Text:  q.Text.T("records.growth.text", q.Text.Size(first.Used), q.Text.Time(first.Time, q.Zone), q.Text.Size(last.Used), q.Text.Time(last.Time, q.Zone)),
		})
	}
	if s := info.Space; s != nil && s.Free >= 0 && s.Total > 0 {
		view.Percent = min(100, max(0, int64(100-100*float64(s.Free)/float64(s.Total))))
	}
	for app, n := range info.Apps {
		view.Counted = append(view.Counted, counted{app, n})
	}
	slices.SortFunc(view.Counted, func(a, b counted) int { return cmp.Or(b.Backups-a.Backups, cmp.Compare(a.App, b.App)) })
	if view.More = max(0, len(view.Counted)-most); view.More > 0 {
		view.Counted = view.Counted[:most]
	}
	return q.Render("repository.html", view)
}
