package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// upload is a file below the folder uploads. The table uploads has a row for it.
type upload struct {
	path     string
	document document
	mode     os.FileMode
	modified time.Time
}

// planUploads chooses documents until their share of the size is reached. Some
// are attachments too: what came by mail was filed.
func (p *plan) planUploads() []upload {
	const ownDocuments = 1 << 32 // indexes above it are no attachment's
	r := p.random("uploads", 0)
	var list []upload
	for n := int64(0); n < p.uploadBytes; {
		id := len(list) + 1
		index := uint64(ownDocuments + id)
		if id%10 == 0 {
			index = uint64(id)
		}
		u := p.upload(r, id, index, firstDay.Add(time.Duration(id)*611*time.Minute+time.Duration(r.IntN(1e9))))
		list = append(list, u)
		n += int64(u.document.size)
	}
	return list
}

func (p *plan) upload(r *rand.Rand, id int, index uint64, at time.Time) upload {
	d := p.document(index)
	u := upload{document: d, mode: 0o644, modified: at, path: at.Format("2006/01/") + fileName(r, d, id)}
	switch r.IntN(10) {
	case 0:
		u.mode = 0o600
	case 1:
		u.mode = 0o440
	}
	return u
}

// fileName makes a name as people in many countries would, with the number to
// keep it unique.
func fileName(r *rand.Rand, d document, id int) string {
	l := pickLanguage(r)
	words := strings.NewReplacer("/", "-", "\x00", "").Replace(l.phrase(r, 2))
	return fmt.Sprintf("%s %d.%s", words, id, d.extension)
}

// writeFiles makes the folder with uploads, configuration, an empty folder and
// a symbolic link.
func (p *plan) writeFiles(ctx context.Context, dir string, uploads []upload) (Summary, error) {
	var s Summary
	root := filepath.Join(dir, UploadsDir)
	config := filepath.Join(dir, filepath.FromSlash(ConfigFile))
	for _, folder := range []string{root, filepath.Join(root, "outgoing"), filepath.Dir(config)} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return s, err
		}
	}
	text := p.configText()
	if err := writeFile(config, []byte(text), 0o640, firstDay); err != nil {
		return s, err
	}
	s.Files, s.FileBytes = 1, int64(len(text))
	for _, u := range uploads {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		if err := p.writeUpload(root, u); err != nil {
			return s, err
		}
		s.Files++
		s.FileBytes += int64(u.document.size)
		p.progress.Add(int64(u.document.size))
	}
	if err := os.Symlink(filepath.FromSlash(uploads[0].path), filepath.Join(root, "newest")); err != nil {
		return s, err
	}
	return s, setFolderTimes(root, uploads)
}

func (p *plan) writeUpload(root string, u upload) error {
	path := filepath.Join(root, filepath.FromSlash(u.path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeFile(path, p.bytes(u.document), u.mode, u.modified)
}

// writeFile writes a file with exactly this mode and time, whatever the umask
// and the clock.
func writeFile(path string, data []byte, mode os.FileMode, modified time.Time) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return os.Chtimes(path, modified, modified)
}

// setFolderTimes gives every folder the time of its newest file.
func setFolderTimes(root string, uploads []upload) error {
	times := map[string]time.Time{".": firstDay, "outgoing": firstDay}
	for _, u := range uploads {
		for folder := filepath.Dir(filepath.FromSlash(u.path)); ; folder = filepath.Dir(folder) {
			if u.modified.After(times[folder]) {
				times[folder] = u.modified
			}
			if folder == "." {
				break
			}
		}
	}
	for folder, at := range times {
		if err := os.Chtimes(filepath.Join(root, folder), at, at); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) configText() string {
	return fmt.Sprintf(`; configuration of the helpdesk
[helpdesk]
name = "Räksmörgås Helpdesk ☎"
uploads = uploads
secret = %016x
seed = %d

[mail]
from = helpdesk@helpdesk.example
`, p.random("secret", 0).Uint64(), p.seed)
}
