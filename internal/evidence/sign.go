package evidence

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// maxReport bounds what is read of a report.
const maxReport = 64 << 20

// Verified is a report whose signature is good.
type Verified struct {
	Signer  string    `json:"signer"` // fingerprint of the key
	What    string    `json:"what"`   // "drill ID", "report FROM to TO"; "": the file does not say
	Time    time.Time `json:"time"`   // that the report says it was made; zero: it does not say
	Size    int64     `json:"size"`   // bytes
	Content []byte    `json:"-"`
}

// VerifyFile reads a report and its signature and says who signed it, when one
// of keys did. Anything else - other bytes, another key, no signature - is an
// error with core.CodeDamage that names the file.
func VerifyFile(path, signature string, keys []PublicKey) (Verified, error) {
	text, err := readBounded(path, maxReport)
	if err != nil {
		code := core.CodeFailed
		if errors.Is(err, fs.ErrNotExist) {
			code = core.CodeNotFound
		}
		return Verified{}, &core.Error{Code: code, Op: "read the report", Err: err, Hint: "name the file of a report: those of drills and documents are in the state folder, below evidence"}
	}
	v, err := verify(path, text, signature, keys)
	if err == nil {
		v.What, v.Time = about(text)
	}
	return v, err
}

func verify(path string, text []byte, signature string, keys []PublicKey) (Verified, error) {
	const hint = "do not rely on it; compare it with another copy, and ask who changed it"
	sig, err := readBounded(signature, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Verified{}, refused(path, "it is not signed: there is no "+filepath.Base(signature), hint)
	}
	if err != nil {
		return Verified{}, refused(path, "its signature cannot be read: "+err.Error(), hint)
	}
	if len(sig) != ed25519.SignatureSize {
		return Verified{}, refused(path, fmt.Sprintf("its signature has %d bytes, and should have %d", len(sig), ed25519.SignatureSize), hint)
	}
	for _, key := range keys {
		if key.Signed(text, sig) {
			return Verified{Signer: key.Fingerprint(), Size: int64(len(text)), Content: text}, nil
		}
	}
	if len(keys) == 0 {
		return Verified{}, refused(path, "there is no key here to verify it with", "give the public key of the installation that made it")
	}
	return Verified{}, refused(path, "it is not as it was signed, or another installation signed it (verified with key "+keys[0].Fingerprint()[:16]+"…)", hint)
}

// refused is the error of a report that must not be relied on.
func refused(path, why, hint string) error {
	return &core.Error{Code: core.CodeDamage, Op: "verify " + path, Message: why, Hint: hint}
}

// metaPattern finds what a page says of itself for machines.
var metaPattern = regexp.MustCompile(`<meta name="backstay-(what|time)" content="([^"]*)">`)

// about reads what a report says that it is, and when it was made.
func about(text []byte) (what string, at time.Time) {
	var report struct {
		What      string     `json:"what"`
		ID        string     `json:"id"`
		Finished  *time.Time `json:"finished"`
		Generated *time.Time `json:"generated"`
	}
	if json.Unmarshal(text, &report) == nil {
		switch {
		case report.Generated != nil:
			return report.What, *report.Generated
		case report.Finished != nil:
			return "drill " + report.ID, *report.Finished
		}
		return "", time.Time{}
	}
	for _, m := range metaPattern.FindAllSubmatch(text, 4) {
		value := html.UnescapeString(string(m[2]))
		if string(m[1]) == "what" {
			what = value
		} else if t, err := time.Parse(time.RFC3339, value); err == nil {
			at = t
		}
	}
	return what, at
}

// Document is a report to be written: its name and its bytes.
type Document struct {
	Path string
	Text []byte
}

// Publish writes documents, each with its signature beside it (FILE.sig),
// durably. It makes the installation's key when there is none yet, and replaces
// no file. On error nothing is left.
func (s Store) Publish(docs ...Document) error {
	key, err := s.key()
	if err != nil {
		return err
	}
	var done []string
	for _, d := range docs {
		if err = vacant(d.Path, d.Path+SignatureEnd); err == nil {
			err = s.putAll([]file{{d.Path + SignatureEnd, ed25519.Sign(key, d.Text)}, {d.Path, d.Text}})
		}
		if err != nil {
			for _, path := range done {
				err = errors.Join(err, s.disk().Remove(path))
			}
			return err
		}
		done = append(done, d.Path, d.Path+SignatureEnd)
	}
	return nil
}

// ReportPath returns where a document is kept that is given no other place.
func (s Store) ReportPath(name string) string { return s.path(reportsDir, name) }

// vacant says that none of the files is there.
func vacant(paths ...string) error {
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			return &core.Error{Code: core.CodeFailed, Op: "write " + path, Message: "there is such a file already", Hint: "choose another name, or move it away: reports are never replaced"}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return diskError("write "+path, err)
		}
	}
	return nil
}
