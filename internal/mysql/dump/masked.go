package dump

import (
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/masked"
)

// unmask puts into the stored definition what the server printed as "?".
func (s *Snapshot) unmask(ctx context.Context, c *mysql.Conn, t *tableWork) (err error) {
	versions := ""
	if t.info.kind == systemVersioned {
		versions = " FOR SYSTEM_TIME ALL"
	}
	t.def.stored, t.masked, err = masked.Unmask(ctx, c, t.info.name, versions, t.def.stored)
	return err
}

// noteMasked notes the members that may be others than the definition says.
func (s *Snapshot) noteMasked(works []*tableWork) {
	for _, t := range works {
		if len(t.masked) > 0 {
			s.masked = append(s.masked, fmt.Sprintf(`table %s: a member or the default of %s, which no row tells, is printed with "?" by the server, whatever is in that place; the backup has the "?", and all rows exactly`, t.info.name, strings.Join(t.masked, ", ")))
		}
	}
}
