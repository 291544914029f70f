package tree_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia/tree"
)

var anObject = core.ObjectID(strings.Repeat("ab", 32))

// TestRoundTrip has what kopia's form cannot hold; the conformance suite of the
// repository has the rest.
func TestRoundTrip(t *testing.T) {
	for _, at := range []time.Time{
		time.Unix(0, 0), time.Unix(1767323045, 999999999),
		time.Date(1500, 1, 1, 0, 0, 0, 4, time.UTC), time.Date(12000, 1, 1, 0, 0, 0, 3, time.UTC),
	} {
		want := core.Entry{
			Name: "a\u2028b", Type: core.TypeFile, Mode: 0o640, UID: 4294967294, ModTime: at.UTC(),
			Object: core.Object{ID: anObject, Size: 7},
		}
		e, err := tree.NewEntry(want, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := tree.NewFolder([]tree.Entry{e})
		if err != nil {
			t.Fatal(err)
		}
		var written bytes.Buffer
		if err := json.NewEncoder(&written).Encode(f); err != nil {
			t.Fatal(err)
		}
		back, err := tree.ReadFolder(&written)
		if err != nil {
			t.Fatal(err)
		}
		if back.Summary.TotalFileCount != 1 || back.Summary.TotalFileSize != 7 {
			t.Errorf("%+v; want one file of 7 bytes", back.Summary)
		}
		if diff := cmp.Diff(want, back.Entries[0].Core()); diff != "" {
			t.Errorf("entry of %v (-want +got):\n%s", at, diff)
		}
	}
}

func TestReadFolderRefuses(t *testing.T) {
	for _, text := range []string{
		"", "{", `{"stream":"kopia:indirect","entries":[]}`, `{"stream":"kopia:directory","entries":[{}]}`, `[]`,
	} {
		if f, err := tree.ReadFolder(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read as %+v", text, f)
		}
	}
}
