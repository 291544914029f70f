// Package escrow reads and puts back the blobs of a kopia repository without
// which its password opens nothing. It is for package kopia.
package escrow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/format"
)

// names are those of the blobs, in the order in which kopia reads them.
func names() []blob.ID { return []blob.ID{format.KopiaRepositoryBlobID, format.KopiaBlobCfgBlobID} }

// Read returns the blobs by name, those that are there.
func Read(ctx context.Context, st blob.Reader) (map[string][]byte, error) {
	found := map[string][]byte{}
	for _, id := range names() {
		var b content
		err := st.GetBlob(ctx, id, 0, -1, &b)
		if errors.Is(err, blob.ErrBlobNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[string(id)] = b.Bytes()
	}
	return found, nil
}

// Write puts blobs back; the one that is read first comes last. Those of another
// repository are refused.
func Write(ctx context.Context, st blob.Storage, blobs map[string][]byte) error {
	there, err := Read(ctx, st)
	if err != nil {
		return err
	}
	first := string(names()[0])
	if is, was := unique(there[first]), unique(blobs[first]); was == "" || is != "" && is != was {
		return errors.New("it is the format of another repository, or of none")
	}
	for _, id := range slices.Backward(names()) {
		text, ok := blobs[string(id)]
		if !ok {
			continue
		}
		if err := st.PutBlob(ctx, id, &content{*bytes.NewBuffer(text)}, blob.PutOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// unique is the id of the repository that a format is of, which is not encrypted;
// "" where it cannot be read.
func unique(format []byte) string {
	var f struct {
		UniqueID string `json:"uniqueID"`
	}
	if json.Unmarshal(format, &f) != nil {
		return ""
	}
	return f.UniqueID
}

// content is a blob's bytes in kopia's terms.
type content struct{ bytes.Buffer }

func (c *content) Length() int { return c.Len() }

func (c *content) Reader() io.ReadSeekCloser { return closer{bytes.NewReader(c.Bytes())} }

type closer struct{ *bytes.Reader }

func (closer) Close() error { return nil }
