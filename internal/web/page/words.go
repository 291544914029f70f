package page

import (
	"html/template"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/gate"
)

// words are the texts that the script needs, as attributes.
func (q *Request) words() (template.HTMLAttr, error) {
	var b strings.Builder
	add := func(name, text string) {
		b.WriteString(" data-" + name + `="` + template.HTMLEscapeString(text) + `"`)
	}
	add("time", q.Now.UTC().Format(time.RFC3339))
	spans, now, ago, until, units := q.Text.Spans()
	add("spans", spans)
	add("now", now)
	add("ago", ago)
	add("until", until)
	add("units", units)
	add("cancel", q.Text.T("page.cancel"))
	add("filter-none", q.Text.T("page.filter.none"))
	add("live-lost", q.Text.T("page.live.lost"))
	for name, key := range map[string]string{
		"choose": "page.upload.choose", "progress": "page.upload.progress", "resumed": "page.upload.resumed", "retry": "page.upload.retry",
		"failed": "page.upload.failed", "cancelled": "page.upload.cancelled", "done": "page.upload.done",
	} {
		add("upload-"+name, q.Text.T(key))
	}
	script, err := q.site.assets.path("upload.js")
	if err != nil {
		return "", err
	}
	add("upload-script", gate.BasePath(q.Context())+script)
	return template.HTMLAttr(b.String()), nil
}
