package page

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/backstay/backstay/internal/gate"
)

// note is a line above a page.
type note struct {
	Kind string   `json:"k"` // the class of a notice: "ok", "warn"
	Key  string   `json:"t"`
	Args []string `json:"a,omitempty"`
}

// noteCookie takes notes to the next page. It holds keys and values only, and
// is signed: what it says is said by the console.
const noteCookie = "note"

// Say has the next page that this person sees begin with a line: key is of the
// catalogue.
func (q *Request) Say(key string, args ...any) { q.say("ok", key, args) }

// Warn is Say for what did not go as wished.
func (q *Request) Warn(key string, args ...any) { q.say("warn", key, args) }

func (q *Request) say(kind, key string, args []any) {
	n := note{Kind: kind, Key: key}
	for _, arg := range args {
		text := []rune(fmt.Sprint(arg))
		n.Args = append(n.Args, string(text[:min(len(text), 200)])) // a cookie has 4 kB
	}
	q.said = append(q.said, n)
}

// keepNotes has the browser bring what was said to the next page.
func (q *Request) keepNotes() {
	if len(q.said) == 0 {
		return
	}
	content, err := json.Marshal(q.said[:min(len(q.said), 3)])
	if err != nil {
		q.site.o.Log.Error("a note cannot be kept", "error", err)
		return
	}
	gate.KeepCookie(q, q.Request, noteCookie, base64.RawURLEncoding.EncodeToString(append(q.site.sign(content), content...)), 60)
}

func (s *Site) sign(content []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(content)
	return mac.Sum(nil)
}

// notes are what is to be said above the page that is being written, and
// forgotten with it.
func (q *Request) notes() []note {
	said := q.said
	cookie := gate.KeptCookie(q.Request, noteCookie)
	if cookie == "" {
		return said
	}
	gate.KeepCookie(q, q.Request, noteCookie, "", -1)
	signed, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil || len(signed) < sha256.Size {
		return said
	}
	content := signed[sha256.Size:]
	if !hmac.Equal(signed[:sha256.Size], q.site.sign(content)) {
		return said // of a service before this one, or of nobody we know
	}
	var kept []note
	if err := json.Unmarshal(content, &kept); err != nil {
		return said
	}
	return append(kept, said...)
}
