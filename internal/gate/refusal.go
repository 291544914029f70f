package gate

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Refusal is why a request did not get in.
type Refusal struct {
	Status  int
	Code    string // "wrong_host", "plain", "unknown_proxy", "cross_site", "unauthenticated", "slow_down", "internal"
	Message string
	Hint    string
	ID      string        // of the request, for internal errors: the log knows more
	Wait    time.Duration // before another attempt; 0: none is said
	Err     error         // for the log
}

func internalRefusal(r *http.Request) Refusal {
	return Refusal{
		Status: http.StatusInternalServerError, Code: "internal", Message: "the console could not answer",
		Hint: "the service's log has the reason under this request's number (journalctl -u backstay)", ID: RequestID(r.Context()),
	}
}

// internal logs what went wrong and returns what is said of it.
func (g *Gate) internal(r *http.Request, what string, err error) *Refusal {
	refusal := internalRefusal(r)
	if !errors.Is(err, context.Canceled) {
		g.o.Log.Error(what, "request", refusal.ID, "err", err)
	}
	return &refusal
}

func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, refusal Refusal) {
	if refusal.Code == "cross_site" {
		g.o.Log.Warn("a request of another site was refused", "path", r.URL.Path, "from", Address(r.Context()), "err", refusal.Err)
	}
	if refusal.Wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(refusal.Wait.Round(time.Second)/time.Second)+1))
	}
	if refusal.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="backstay"`)
	}
	if strings.HasPrefix(r.URL.Path, "/api/") {
		WriteJSON(w, refusal)
		return
	}
	if g.o.Refuse != nil {
		g.o.Refuse(w, r, refusal)
		return
	}
	WritePage(w, refusal, "en", "Backstay")
}

// WriteJSON answers in the form of the API's errors (docs/api.md).
func WriteJSON(w http.ResponseWriter, refusal Refusal) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(refusal.Status)
	type fault struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}
	message := refusal.Message
	if refusal.ID != "" {
		message += " (request " + refusal.ID + ")"
	}
	// Whoever has gone does not miss it.
	_ = json.NewEncoder(w).Encode(struct {
		Schema int   `json:"schema"`
		Error  fault `json:"error"`
	}{1, fault{refusal.Code, message, refusal.Hint}})
}

// WritePage answers with a page that needs nothing else of the console. language
// is that of its texts, which stand in the refusal.
func WritePage(w http.ResponseWriter, refusal Refusal, language, title string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(refusal.Status)
	var b strings.Builder
	b.WriteString(`<!doctype html><html lang="` + html.EscapeString(language) + `"><head><meta charset="utf-8">` +
		`<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>` +
		html.EscapeString(title) + `</title></head><body><main><h1>` + html.EscapeString(title) + `</h1><p>` + html.EscapeString(refusal.Message) + `</p>`)
	if refusal.Hint != "" {
		b.WriteString(`<p>` + html.EscapeString(refusal.Hint) + `</p>`)
	}
	if refusal.ID != "" {
		b.WriteString(`<p><code>` + html.EscapeString(refusal.ID) + `</code></p>`)
	}
	b.WriteString("</main></body></html>\n")
	_, _ = io.WriteString(w, b.String()) // whoever has gone does not miss it
}
