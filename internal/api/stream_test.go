package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

func TestContent(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	id := w.backups(t)[0]
	for name, text := range consoletest.Uploads() {
		path := queried("/api/v1/backups/"+id+"/content", "path", "files/"+name)
		got := w.ask(t, access.Admin, "GET", path, "")
		if got.status != 200 || string(got.body) != text {
			t.Fatalf("%s: %d, %d bytes", name, got.status, len(got.body))
		}
		if kind := got.header.Get("Content-Type"); kind != "application/octet-stream" {
			t.Errorf("%s: Content-Type is %q", name, kind)
		}
		if d := got.header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment") || strings.ContainsAny(d, "\r\n") {
			t.Errorf("%s: Content-Disposition is %q", name, d)
		}
		if got.header.Get("Accept-Ranges") != "bytes" || got.header.Get("ETag") == "" {
			t.Errorf("%s: headers are %v", name, got.header)
		}
	}
	if log := w.audited(t, "cat"); len(log) != len(consoletest.Uploads()) || log[0].Object != id || !strings.HasPrefix(log[0].Detail, "files/uploads/") || log[0].Outcome != "ok" {
		t.Errorf("audit log: %+v", log)
	}
	path := queried("/api/v1/backups/"+id+"/content", "path", "files/uploads/ünï code.pdf")
	whole := w.ask(t, access.Admin, "GET", path, "")
	part := w.ask(t, access.Admin, "GET", path, "", "Range: bytes=69990-", "If-Range: "+whole.header.Get("ETag"))
	if part.status != 206 || !bytes.Equal(part.body, whole.body[69_990:]) || part.header.Get("Content-Range") != "bytes 69990-69999/70000" {
		t.Errorf("range: %d, %d bytes, %v", part.status, len(part.body), part.header)
	}
	if got := w.ask(t, access.Admin, "GET", path, "", "Range: bytes=69990-", `If-Range: "another"`); got.status != 200 || len(got.body) != 70_000 {
		t.Errorf("range of what has changed: %d, %d bytes", got.status, len(got.body))
	}
	if got := w.ask(t, access.Admin, "GET", path, "", "If-None-Match: "+whole.header.Get("ETag")); got.status != 304 || len(got.body) != 0 {
		t.Errorf("what has not changed: %d, %d bytes", got.status, len(got.body))
	}
	w.ask(t, access.Admin, "GET", path, "", "Range: bytes=70000-").fault(t, 416, "range")
	before := len(w.audited(t, "cat"))
	if got := w.ask(t, access.Admin, "HEAD", path, ""); got.status != 200 || got.header.Get("Content-Length") != "70000" || len(got.body) != 0 {
		t.Errorf("HEAD: %d %v", got.status, got.header)
	}
	if len(w.audited(t, "cat")) != before {
		t.Error("HEAD, which shows nothing, is in the audit log")
	}
}

// TestUpload sends an archive in parts, of which one is cut short and one comes twice.
func TestUpload(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	text := strings.Repeat("0123456789abcdef", 150_000) // 2.4 MB: more than a body may have elsewhere
	var v struct{ Upload console.Upload }
	got := w.ask(t, access.Admin, "POST", "/api/v1/uploads", fmt.Sprintf(`{"name":"backup.zip","size":%d}`, len(text)))
	got.into(t, http.StatusCreated, &v)
	path := "/api/v1/uploads/" + v.Upload.ID
	if got.header.Get("Location") != path || got.header.Get("Upload-Offset") != "0" {
		t.Errorf("headers are %v", got.header)
	}
	offset := func() int {
		t.Helper()
		got := w.ask(t, access.Admin, "HEAD", path, "")
		n, err := strconv.Atoi(got.header.Get("Upload-Offset"))
		if err != nil || got.status != 200 || got.header.Get("Upload-Length") != strconv.Itoa(len(text)) {
			t.Fatalf("HEAD: %d %v", got.status, got.header)
		}
		return n
	}
	const kind = "Content-Type: application/offset+octet-stream"
	got = w.ask(t, access.Admin, "PATCH", path, text[:2_000_000], kind, "Upload-Offset: 0")
	got.into(t, 200, &v)
	if v.Upload.Received != 2_000_000 || offset() != 2_000_000 {
		t.Fatalf("received %d", v.Upload.Received)
	}
	got = w.ask(t, access.Admin, "PATCH", path, text[:100], kind, "Upload-Offset: 0")
	got.fault(t, http.StatusConflict, "offset")
	if got.header.Get("Upload-Offset") != "2000000" {
		t.Errorf("where to go on: %v", got.header)
	}
	// The connection breaks in the middle of a part.
	r, err := http.NewRequestWithContext(t.Context(), "PATCH", w.server.URL+path, io.MultiReader(strings.NewReader(text[2_000_000:2_200_000]), failing{}))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.tokens[access.Admin])
	r.Header.Set("Upload-Offset", "2000000")
	r.ContentLength = int64(len(text) - 2_000_000)
	if resp, err := w.server.Client().Do(r); err == nil {
		resp.Body.Close()
		t.Fatalf("a part that was cut short got %s", resp.Status)
	}
	w.ask(t, access.Admin, "POST", "/api/v1/apps/wiki/imports", `{"upload":"`+v.Upload.ID+`"}`).fault(t, 422, "usage")
	var rest answer
	for { // the server may still be busy with what the broken connection brought
		have := offset()
		if have < 2_000_000 || have > 2_200_000 {
			t.Fatalf("received %d", have)
		}
		rest = w.ask(t, access.Admin, "PATCH", path, text[have:], kind, fmt.Sprintf("Upload-Offset: %d", have))
		if rest.status != http.StatusConflict {
			break
		}
	}
	rest.into(t, 200, &v)
	if offset() != len(text) {
		t.Fatalf("received %d", v.Upload.Received)
	}
	w.ask(t, access.Admin, "PATCH", path, "more", kind, fmt.Sprintf("Upload-Offset: %d", len(text))).fault(t, 422, "usage")
	var started struct{ Run core.Run }
	w.ask(t, access.Admin, "POST", "/api/v1/apps/wiki/imports", `{"upload":"`+v.Upload.ID+`","format":"sql","password":"hunter2"}`).into(t, 202, &started)
	if last := w.Launcher.Launched(); len(last) != 1 || last[0].Kind != core.RunImport || last[0].Secret.Reveal() != "hunter2" {
		t.Errorf("launched %+v", last)
	}
	w.ask(t, access.Admin, "POST", "/api/v1/uploads", `{"name":"b.zip","size":5}`).into(t, 201, &v)
	if got := w.ask(t, access.Admin, "DELETE", "/api/v1/uploads/"+v.Upload.ID, ""); got.status != http.StatusNoContent || len(got.body) != 0 {
		t.Errorf("delete: %d %s", got.status, got.body)
	}
	w.ask(t, access.Admin, "GET", "/api/v1/uploads/"+v.Upload.ID, "").fault(t, 404, "not_found")
	if log := w.audited(t, "delete upload"); len(log) != 1 || log[0].Object != v.Upload.ID {
		t.Errorf("audit log: %+v", log)
	}
}

// failing is a file whose reading fails.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// event is a server-sent event.
type event struct {
	name string
	run  console.Run
}

// listen hears events until the stream ends.
func (w *world) listen(t *testing.T, ctx context.Context, run int64) <-chan event {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s/api/v1/runs/%d/events", w.server.URL, run), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.tokens[access.Viewer])
	resp, err := w.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("%s, Content-Type %q", resp.Status, got)
	}
	out := make(chan event)
	go func() {
		defer close(out)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		var e event
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				e.name = name
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &e.run); err != nil {
					t.Errorf("%v: %s", err, data)
				}
				select {
				case out <- e:
				case <-ctx.Done():
				}
			}
		}
	}()
	return out
}

func TestEvents(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	var v struct{ Run core.Run }
	w.ask(t, access.Operator, "POST", "/api/v1/apps/helpdesk/backups", "").into(t, 202, &v)
	first := w.listen(t, within(t), v.Run.ID)
	e := <-first
	if e.name != "run" || e.run.ID != v.Run.ID || e.run.Outcome != core.OutcomeRunning {
		t.Fatalf("first event: %+v", e)
	}
	// One listener goes; another comes, and hears the same.
	ctx, cancel := context.WithCancel(within(t))
	gone := w.listen(t, ctx, v.Run.ID)
	<-gone
	cancel()
	for range gone {
	}
	second := w.listen(t, within(t), v.Run.ID)
	if e := <-second; e.name != "run" || e.run.Outcome != core.OutcomeRunning {
		t.Fatalf("first event of the second: %+v", e)
	}
	w.Finish(t, v.Run.ID, core.OutcomeFailed, "the disk is full", "make room", `{"schema":1,"error":{"code":"disk"}}`)
	for name, stream := range map[string]<-chan event{"first": first, "second": second} {
		var heard []string
		var last event
		for e := range stream {
			heard, last = append(heard, e.name), e
		}
		if diff := cmp.Diff([]string{"run", "end"}, heard); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if last.run.Outcome != core.OutcomeFailed || last.run.Message != "the disk is full" || last.run.Hint != "make room" || len(last.run.Result) == 0 {
			t.Errorf("%s: %+v", name, last.run)
		}
	}
	// Who comes after the end hears of it too.
	var heard []string
	for e := range w.listen(t, within(t), v.Run.ID) {
		heard = append(heard, e.name)
	}
	if diff := cmp.Diff([]string{"run", "end"}, heard); diff != "" {
		t.Error(diff)
	}
	if got := w.ask(t, access.Viewer, "HEAD", fmt.Sprintf("/api/v1/runs/%d/events", v.Run.ID), ""); got.status != 200 {
		t.Errorf("HEAD: %d", got.status)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	id := w.backups(t)[0]
	begin := func(role access.Role, path, body string) int64 {
		t.Helper()
		var v struct{ Run core.Run }
		w.ask(t, role, "POST", path, body).into(t, 202, &v)
		return v.Run.ID
	}
	cancel := func(role access.Role, run int64) answer {
		t.Helper()
		return w.ask(t, role, "POST", fmt.Sprintf("/api/v1/runs/%d/cancel", run), "")
	}
	backup := begin(access.Admin, "/api/v1/apps/helpdesk/backups", "")
	cancel(access.Viewer, backup).fault(t, 403, "forbidden")
	var v struct{ Run core.Run }
	cancel(access.Operator, backup).into(t, 202, &v) // a backup: whosever it is
	w.Finish(t, backup, core.OutcomeCancelled, "", "", "")
	cancel(access.Operator, backup).fault(t, 409, "over")
	restore := begin(access.Admin, "/api/v1/apps/helpdesk/restores", `{"backup":"`+id+`","confirm":"helpdesk"}`)
	cancel(access.Operator, restore).fault(t, 403, "forbidden")
	cancel(access.Admin, restore).into(t, 202, &v)
	w.Finish(t, restore, core.OutcomeCancelled, "", "", "")
	own := begin(access.Operator, "/api/v1/backups/"+id+"/verify", "")
	cancel(access.Operator, own).into(t, 202, &v)
	cancel(access.Operator, 999).fault(t, 404, "not_found")
	if diff := cmp.Diff([]int64{backup, restore, own}, w.Launcher.Cancelled()); diff != "" {
		t.Error(diff)
	}
	var outcomes []string
	for _, a := range w.audited(t, "cancel") {
		outcomes = append(outcomes, a.Outcome)
	}
	if diff := cmp.Diff([]string{"not_found", "ok", "ok", "forbidden", "over", "ok", "forbidden"}, outcomes); diff != "" {
		t.Error(diff)
	}
}

func TestChanges(t *testing.T) {
	w := newWorld(t, gate.Settings{})
	ids := w.backups(t)
	var v struct {
		ID     string
		Pinned bool
	}
	w.ask(t, access.Operator, "POST", "/api/v1/backups/"+ids[0]+"/pin", "").into(t, 200, &v)
	if !v.Pinned || v.ID != ids[0] {
		t.Errorf("%+v", v)
	}
	if got := w.ask(t, access.Admin, "DELETE", "/api/v1/backups/"+ids[0], ""); got.status == http.StatusNoContent {
		t.Error("a pinned backup was deleted")
	}
	w.ask(t, access.Operator, "POST", "/api/v1/backups/"+ids[0]+"/unpin", "").into(t, 200, &v)
	if got := w.ask(t, access.Admin, "DELETE", "/api/v1/backups/"+ids[0], ""); got.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", got.status, got.body)
	}
	w.ask(t, access.Viewer, "GET", "/api/v1/backups/"+ids[0], "").fault(t, 404, "not_found")
	log := w.audited(t, "delete")
	if len(log) != 2 || log[0].Outcome != "ok" || log[1].Outcome == "ok" || log[0].Object != ids[0] {
		t.Errorf("audit log: %+v", log)
	}
	if got := w.ask(t, access.Admin, "POST", "/api/v1/apps/helpdesk/accept", ""); got.status != http.StatusNoContent {
		t.Errorf("accept: %d %s", got.status, got.body)
	}
}

// TestBelowAPath has the console at a path of a proxy.
func TestBelowAPath(t *testing.T) {
	external, err := url.Parse("http://127.0.0.1/tools/backstay")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, gate.Settings{External: external})
	var v struct{ Run core.Run }
	got := w.ask(t, access.Operator, "POST", "/tools/backstay/api/v1/apps/helpdesk/backups", "")
	got.into(t, 202, &v)
	if want := fmt.Sprintf("/tools/backstay/api/v1/runs/%d", v.Run.ID); got.header.Get("Location") != want {
		t.Errorf("Location is %q", got.header.Get("Location"))
	}
	got = w.ask(t, access.Viewer, "GET", "/tools/backstay/api/v1/openapi.yaml", "")
	if !strings.Contains(string(got.body), "- url: /tools/backstay/api/v1\n") {
		t.Errorf("the description does not say where the API is: %s", got.body[max(0, len(got.body)-500):])
	}
	w.ask(t, access.Viewer, "GET", "/tools/backstay/api/v1//apps", "").fault(t, 404, "not_found")
}
