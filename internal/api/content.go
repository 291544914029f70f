package api

import (
	"context"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/backstay/backstay/internal/gate"
)

func (a *API) registerContent() {
	add(a, operation{method: http.MethodGet, path: "/backups/{id}/content", id: "get-content", tag: "backups", need: afresh, action: "cat", stream: true,
		summary: "A file of a backup, as it was", text: "Ranges work, so that a download goes on where it ended.", responses: bytesOf()}, a.content)
}

// content sends a file of a backup.
func (a *API) content(ctx context.Context, in *struct {
	OfBackup
	Path  string `query:"path" required:"true" minLength:"1" maxLength:"8192" doc:"From the backup's root: \"files/uploads/a.pdf\"."`
	Range string `header:"Range" doc:"A part of it: \"bytes=1000-\"."`
}) (*huma.StreamResponse, error) {
	c := callOf(ctx)
	c.object, c.detail = in.ID, in.Path
	found, err := a.o.Console.Open(ctx, in.ID, in.Path)
	if err != nil {
		return nil, err
	}
	return a.send(c, download{name: path.Base(found.Path), etag: found.ETag, changed: found.ModTime, content: found}), nil
}

// download is what is sent as a file.
type download struct {
	name    string
	etag    string // without quotes, or as it is sent
	changed time.Time
	content io.ReadSeekCloser
}

// send sends a file, or the part of it that is asked for, and closes it. It is
// in the audit log first: who has seen half of it has seen it.
func (a *API) send(c *call, d download) *huma.StreamResponse {
	a.note(c, nil)
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		gate.Patient(c.w)
		if d.etag != "" {
			w.Header().Set("ETag", quoted(d.etag))
		}
		// Whatever it is, no browser is to open it here.
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", attachment(d.name))
		watched := &watchedReader{ReadSeeker: d.content}
		http.ServeContent(&fileWriter{ResponseWriter: w}, r, "", d.changed, watched)
		if err := d.content.Close(); watched.err == nil {
			watched.err = err
		}
		if watched.err != nil && r.Context().Err() == nil {
			c.outcome = watched.err
			a.o.Log.Error("send a file", "name", d.name, "path", r.URL.Path, "err", watched.err)
			panic(http.ErrAbortHandler) // what was sent must not look whole
		}
	}}
}

// fileWriter gives http's own error, of a range that there is not, the form of all.
type fileWriter struct {
	http.ResponseWriter
	refused bool
}

// Unwrap is for http.ResponseController.
func (w *fileWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader begins the answer.
func (w *fileWriter) WriteHeader(status int) {
	if status < http.StatusBadRequest {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	w.Header().Del("Content-Disposition")
	w.Header().Set("Cache-Control", "no-store") // http takes it away
	newProblem(status, codeRange, "the file has no such part", "it has as many bytes as Content-Range says").write(w.ResponseWriter)
}

// Write leaves out what http says of its error.
func (w *fileWriter) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// watchedReader remembers what went wrong: ServeContent keeps it to itself.
type watchedReader struct {
	io.ReadSeeker
	err error
}

func (w *watchedReader) Read(b []byte) (int, error) {
	n, err := w.ReadSeeker.Read(b)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

func (w *watchedReader) Seek(offset int64, whence int) (int64, error) {
	n, err := w.ReadSeeker.Seek(offset, whence)
	if err != nil {
		w.err = err
	}
	return n, err
}

func quoted(etag string) string {
	if strings.HasPrefix(etag, `"`) || strings.HasPrefix(etag, `W/"`) {
		return etag
	}
	return `"` + etag + `"`
}

// attachment has a browser save a file under its name, whatever is in that.
func attachment(name string) string {
	if s := mime.FormatMediaType("attachment", map[string]string{"filename": name}); s != "" {
		return s
	}
	return "attachment"
}

// bytesOf describes an answer of plain bytes.
func bytesOf() map[string]*huma.Response {
	content := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	return map[string]*huma.Response{
		"200": {Description: "All of it", Content: content},
		"206": {Description: "The part that Range asked for", Content: content},
		"416": {Description: "There is no such part"},
	}
}
