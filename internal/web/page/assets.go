package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// assets are the files that pages need. Their addresses change when they do, so
// that browsers keep them for good.
type assets struct {
	byPath map[string]asset  // below the base path
	paths  map[string]string // by the file's name
}

type asset struct {
	kind          string
	plain, packed []byte // packed is nil where it would not be shorter
}

func readAssets(files fs.FS) (*assets, error) {
	a := &assets{byPath: map[string]asset{}, paths: map[string]string{}}
	entries, err := fs.ReadDir(files, "assets")
	if err != nil {
		return nil, fmt.Errorf("list the assets: %w", err)
	}
	kinds := map[string]string{
		".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon",
	}
	for _, entry := range entries {
		name := entry.Name()
		content, err := fs.ReadFile(files, "assets/"+name)
		if err != nil {
			return nil, fmt.Errorf("read an asset: %w", err)
		}
		kind, ok := kinds[path.Ext(name)]
		if !ok {
			return nil, fmt.Errorf("read the asset %s: its kind is not known", name)
		}
		file := asset{kind: kind, plain: content}
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			return nil, fmt.Errorf("pack the asset %s: %w", name, err)
		}
		if _, err := z.Write(content); err != nil {
			return nil, fmt.Errorf("pack the asset %s: %w", name, err)
		}
		if err := z.Close(); err != nil {
			return nil, fmt.Errorf("pack the asset %s: %w", name, err)
		}
		if packed.Len() < len(content) {
			file.packed = packed.Bytes()
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(name)
		a.paths[name] = "/assets/" + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.byPath[a.paths[name]] = file
	}
	return a, nil
}

func (a *assets) path(name string) (string, error) {
	path, ok := a.paths[name]
	if !ok {
		return "", fmt.Errorf("find the asset %s: there is none", name)
	}
	return path, nil
}

// serve answers a request for an asset, and says whether it was one.
func (a *assets) serve(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	file, ok := a.byPath[r.URL.Path]
	if !ok {
		return false
	}
	content := file.plain
	header := w.Header()
	header.Set("Content-Type", file.kind)
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	if file.packed != nil {
		header.Set("Vary", "Accept-Encoding")
		if accepts(r.Header.Get("Accept-Encoding"), "gzip") {
			header.Set("Content-Encoding", "gzip")
			content = file.packed
		}
	}
	header.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(content) // a browser that went away needs no answer
	}
	return true
}

// accepts says whether a list of encodings has one, and not with "q=0".
func accepts(list, encoding string) bool {
	for _, wish := range strings.Split(list, ",") {
		name, parameter, _ := strings.Cut(wish, ";")
		if strings.TrimSpace(name) != encoding {
			continue
		}
		weight, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q=")
		if !ok {
			return true
		}
		q, err := strconv.ParseFloat(weight, 64)
		return err == nil && q > 0
	}
	return false
}
