package api

import (
	"context"
	"fmt"
	"mime"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// OfUpload is a request about an upload.
type OfUpload struct {
	ID string `path:"id" maxLength:"100"`
}

type uploadOrder struct {
	Name string `json:"name" minLength:"1" maxLength:"255" doc:"Of the file."`
	Size int64  `json:"size" minimum:"1" doc:"Of the whole file, in bytes."`
}

type uploadsAnswer struct {
	Schema  int              `json:"schema"`
	Uploads []console.Upload `json:"uploads" doc:"The newest first."`
}

type uploadAnswer struct {
	Schema int            `json:"schema"`
	Upload console.Upload `json:"upload"`
}

// received answers with an upload, as far as it is here.
type received struct {
	Location string `header:"Location" doc:"Of the upload."`
	Offset   string `header:"Upload-Offset" doc:"How many bytes were received: where the next part begins."`
	Length   string `header:"Upload-Length" doc:"Of the whole file."`
	Body     uploadAnswer
}

func uploadedSoFar(ctx context.Context, u console.Upload) *received {
	return &received{
		Location: gate.BasePath(ctx) + Prefix + "/uploads/" + u.ID, Offset: fmt.Sprint(u.Received), Length: fmt.Sprint(u.Size), Body: uploadAnswer{Schema, u},
	}
}

func (a *API) registerUploads() {
	get := func(path, id, summary string) operation {
		return operation{method: http.MethodGet, path: path, id: id, tag: "uploads", need: admin, summary: summary}
	}
	add(a, get("/uploads", "list-uploads", "Archives on their way here"),
		func(ctx context.Context, _ *none) (*body[uploadsAnswer], error) {
			found, err := a.o.Console.Uploads(ctx)
			return answerOf(uploadsAnswer{Schema, found}), err
		})
	add(a, get("/uploads/{id}", "get-upload", "How far an upload is"),
		func(ctx context.Context, in *OfUpload) (*received, error) {
			u, err := a.o.Console.Upload(ctx, in.ID)
			return uploadedSoFar(ctx, u), err
		})
	add(a, operation{method: http.MethodPost, path: "/uploads", id: "create-upload", tag: "uploads", need: admin, action: "upload", status: http.StatusCreated,
		summary: "Make room for an archive to be imported", text: "It is kept for two days after its last part."},
		func(ctx context.Context, in *struct{ Body uploadOrder }) (*received, error) {
			u, err := a.o.Console.BeginUpload(ctx, in.Body.Name, in.Body.Size, asker(ctx))
			callOf(ctx).object, callOf(ctx).detail = u.ID, in.Body.Name
			return uploadedSoFar(ctx, u), err
		})
	add(a, operation{method: http.MethodPatch, path: "/uploads/{id}", id: "append-upload", tag: "uploads", need: admin, stream: true,
		summary: "Send a part of an archive",
		text:    "The body is the part, of any size. What arrived of a part that was cut short is kept: GET or HEAD says in Upload-Offset where to go on.",
		request: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{partType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}, a.appendUpload)
	add(a, operation{method: http.MethodDelete, path: "/uploads/{id}", id: "delete-upload", tag: "uploads", need: admin, action: "delete upload", status: http.StatusNoContent,
		summary: "Give an upload up"},
		func(ctx context.Context, in *struct {
			OfUpload
			Empty
		}) (*struct{}, error) {
			return nil, a.o.Console.RemoveUpload(ctx, in.ID)
		})
}

// partType is how tus calls a part.
const partType = "application/offset+octet-stream"

func (a *API) appendUpload(ctx context.Context, in *struct {
	OfUpload
	Offset int64 `header:"Upload-Offset" required:"true" minimum:"0" doc:"Where the part begins: what was received so far."`
}) (*received, error) {
	c := callOf(ctx)
	if given := c.r.Header.Get("Content-Type"); given != "" {
		kind, _, err := mime.ParseMediaType(given)
		if err != nil || kind != partType && kind != "application/octet-stream" {
			return nil, newProblem(http.StatusUnsupportedMediaType, codeMediaType, "a part is plain bytes", "send the header Content-Type: "+partType)
		}
	}
	gate.AllowBody(c.w, c.r, -1)
	u, err := a.o.Console.AppendUpload(ctx, in.ID, in.Offset, c.r.Body)
	if err != nil && core.CodeOf(err) == core.CodeUsage && u.ID != "" && u.Received != in.Offset {
		p := newProblem(http.StatusConflict, codeOffset, err.Error(), fmt.Sprintf("go on at %d", u.Received))
		p.header.Set("Upload-Offset", fmt.Sprint(u.Received))
		return nil, p
	}
	return uploadedSoFar(ctx, u), err
}
