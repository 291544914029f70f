package console

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// download looks at the download that a run made.
func (c *Console) download(run int64) (Download, error) {
	d, err := c.downloads.Get(run)
	if err == nil && d.SHA256 == "" {
		d.SHA256 = c.sum(run)
	}
	return Download(d), err
}

// sum is the SHA-256 of what a run exported, as it said itself; "" when it did not.
func (c *Console) sum(run int64) string {
	var said struct {
		Exported struct{ SHA256 string }
	}
	if err := json.Unmarshal(c.result(run), &said); err != nil {
		return ""
	}
	return said.Exported.SHA256
}

// StartExport begins to make a download of a backup. password encrypts it, for
// formats that can; empty: none.
func (c *Console) StartExport(ctx context.Context, id, format string, password core.Secret, w Who) (int64, error) {
	const op = "export"
	o, err := c.opened(ctx, id)
	if err != nil {
		return 0, err
	}
	known := false
	for _, f := range formats(o.Manifest) {
		known = known || f == format
	}
	if !known {
		return 0, usage(op, "choose one of "+strings.Join(formats(o.Manifest), ", "), "this backup cannot be written as %q", format)
	}
	if !password.Empty() && format != "itflow" && format != "backstay" {
		return 0, usage(op, "leave the password out, or choose backstay's own format", "an archive of %s's format cannot be encrypted", format)
	}
	if err := line(op, "password", password.Reveal(), 1000); err != nil {
		return 0, err
	}
	if err := c.downloads.Room(o.Record.LogicalBytes / 4); err != nil { // archives are packed
		return 0, err
	}
	var made string
	return c.launch(ctx, w, Launch{
		Kind: core.RunExport, App: o.Manifest.App, Backup: id, Args: []string{"export", id}, Secret: password, SecretFlag: "--password-file",
		Prepare: func(run int64) (args []string, err error) {
			if made, err = c.downloads.Dir(run); err != nil {
				return nil, err
			}
			if err := c.downloads.Note(run, w.By, ""); err != nil {
				return nil, err
			}
			return []string{made + string(filepath.Separator), "--format=" + format}, nil
		},
	})
}

// Downloads lists those there are, the newest first.
func (c *Console) Downloads(context.Context) ([]Download, error) {
	found, err := c.downloads.List()
	out := make([]Download, 0, len(found))
	for _, d := range found {
		d.SHA256 = c.sum(d.Run)
		out = append(out, Download(d))
	}
	return out, err
}

// OpenDownload opens the file of the download that a run made. CodeNotFound.
func (c *Console) OpenDownload(_ context.Context, run int64) (Download, io.ReadSeekCloser, error) {
	d, f, err := c.downloads.Open(run)
	if err != nil {
		return Download{}, nil, err
	}
	d.SHA256 = c.sum(run)
	return Download(d), f, nil
}

// RemoveDownload removes it before its time.
func (c *Console) RemoveDownload(_ context.Context, run int64) error { return c.downloads.Remove(run) }

// BeginUpload makes room for an archive of size bytes, -1 when that is not
// known. CodeDisk when there is none.
func (c *Console) BeginUpload(_ context.Context, name string, size int64, w Who) (Upload, error) {
	u, err := c.uploads.Begin(name, size, w.By)
	return Upload(u), err
}

// AppendUpload adds a part at offset, which must be what was received so far
// (CodeUsage otherwise, with the upload as it is). What arrives before an error is kept.
func (c *Console) AppendUpload(ctx context.Context, id string, offset int64, part io.Reader) (Upload, error) {
	u, err := c.uploads.Append(ctx, id, offset, part)
	return Upload(u), err
}

// FinishUpload says of an upload whose size was not known that all of it is there.
func (c *Console) FinishUpload(_ context.Context, id string) (Upload, error) {
	u, err := c.uploads.Finish(id)
	return Upload(u), err
}

// Upload looks at one. CodeNotFound.
func (c *Console) Upload(_ context.Context, id string) (Upload, error) {
	u, err := c.uploads.Get(id)
	return Upload(u), err
}

// Uploads lists those there are, the newest first.
func (c *Console) Uploads(context.Context) ([]Upload, error) {
	found, err := c.uploads.List()
	out := make([]Upload, 0, len(found))
	for _, u := range found {
		out = append(out, Upload(u))
	}
	return out, err
}

// RemoveUpload gives one up.
func (c *Console) RemoveUpload(_ context.Context, id string) error { return c.uploads.Remove(id) }

// StartImport begins to make a backup of an app from an upload that is whole.
// format "" is found out; password opens it, where it is encrypted.
func (c *Console) StartImport(ctx context.Context, app, upload, format string, password core.Secret, w Who) (int64, error) {
	const op = "import"
	if err := c.known(app); err != nil {
		return 0, err
	}
	switch format {
	case "", "itop", "itflow", "sql", "backstay":
	default:
		return 0, usage(op, "choose itop, itflow, sql or backstay, or let it be recognised", "there is no format %q", format)
	}
	if err := line(op, "password", password.Reveal(), 1000); err != nil {
		return 0, err
	}
	path, err := c.uploads.Path(upload)
	if err != nil {
		return 0, err
	}
	args := []string{"import", app, path}
	if format != "" {
		args = append(args, "--format="+format)
	}
	return c.launch(ctx, w, Launch{Kind: core.RunImport, App: app, Args: args, Secret: password, SecretFlag: "--password-file"})
}

// Clean removes what is kept for a while only. The service calls it now and then.
func (c *Console) Clean(ctx context.Context) {
	running, err := c.running(ctx)
	if err != nil {
		c.o.Log.Warn("remove old uploads and downloads", "err", err)
		return // what is used is not known
	}
	exporting, importing := map[int64]bool{}, false
	for _, r := range running {
		exporting[r.ID] = true
		importing = importing || r.Kind == core.RunImport
	}
	if err := c.downloads.Clean(func(run int64) bool { return exporting[run] }); err != nil {
		c.o.Log.Warn("remove old downloads", "err", err)
	}
	if err := c.uploads.Clean(func(string) bool { return importing }); err != nil {
		c.o.Log.Warn("remove old uploads", "err", err)
	}
	c.cleanResults()
}

// resultsKept is how long the results of runs are kept.
const resultsKept = 60 * 24 * time.Hour
