package heal

import (
	"errors"
	"strings"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
)

// Damaged says whether err, of an operation that writes, came from reading
// something that is not what it should be.
func Damaged(err error) bool {
	if err == nil {
		return false
	}
	for _, e := range []error{
		blob.ErrBlobNotFound, blob.ErrInvalidRange, content.ErrContentNotFound, object.ErrObjectNotFound,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	// kopia has no error values for these.
	for _, text := range []string{"invalid checksum", "message authentication failed", "decrypt"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
