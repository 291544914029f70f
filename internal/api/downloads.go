package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/backstay/backstay/internal/console"
)

// OfDownload is a request about a download.
type OfDownload struct {
	Run int64 `path:"run" minimum:"1" doc:"The number of the run that made it."`
}

type downloadsAnswer struct {
	Schema    int                `json:"schema"`
	Downloads []console.Download `json:"downloads" doc:"The newest first."`
}

func (a *API) registerDownloads() {
	add(a, operation{method: http.MethodGet, path: "/downloads", id: "list-downloads", tag: "downloads", need: admin, summary: "Archives that were made to be downloaded"},
		func(ctx context.Context, _ *none) (*body[downloadsAnswer], error) {
			found, err := a.o.Console.Downloads(ctx)
			return answerOf(downloadsAnswer{Schema, found}), err
		})
	add(a, operation{method: http.MethodGet, path: "/downloads/{run}", id: "get-download", tag: "downloads", need: afresh, action: "download", stream: true,
		summary: "Download an archive", text: "Ranges work, so that a download goes on where it ended.", responses: bytesOf()}, a.download)
	add(a, operation{method: http.MethodDelete, path: "/downloads/{run}", id: "delete-download", tag: "downloads", need: admin, action: "delete download", status: http.StatusNoContent,
		summary: "Remove an archive before its time"},
		func(ctx context.Context, in *struct {
			OfDownload
			Empty
		}) (*struct{}, error) {
			return nil, a.o.Console.RemoveDownload(ctx, in.Run)
		})
}

func (a *API) download(ctx context.Context, in *struct {
	OfDownload
	Range string `header:"Range" doc:"A part of it: \"bytes=1000-\"."`
}) (*huma.StreamResponse, error) {
	d, content, err := a.o.Console.OpenDownload(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	etag := fmt.Sprintf("%d-%d-%d", d.Run, d.Size, d.Made.UnixNano()) // it is made once, and never changed
	return a.send(callOf(ctx), download{name: d.Name, etag: etag, changed: d.Made, content: content}), nil
}
