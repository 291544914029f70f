package tree

import (
	"encoding/json"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
)

// BlockListPrefix is that of the contents in which kopia lists an object's blocks.
const BlockListPrefix content.IDPrefix = "x"

// BlockList is how kopia writes down an object of more than one block.
func BlockList(blocks []object.IndirectObjectEntry) ([]byte, error) {
	return json.Marshal(struct {
		Stream  string                       `json:"stream"`
		Entries []object.IndirectObjectEntry `json:"entries"`
	}{"kopia:indirect", blocks})
}
