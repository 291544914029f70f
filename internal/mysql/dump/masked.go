package dump

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

// unmask puts into the stored definition what the server printed as "?": members
// of ENUM and SET as rows have them, and defaults. What no row tells stays, and is noted.
func (s *Snapshot) unmask(ctx context.Context, c *mysql.Conn, t *tableWork) error {
	table, versions := mysql.QuoteName(t.info.name), ""
	if t.info.kind == systemVersioned {
		versions = " FOR SYSTEM_TIME ALL"
	}
	ask := func(query string) (value mysql.Value, found bool, err error) {
		rows, err := c.Query(ctx, query)
		if err != nil || len(rows) == 0 {
			return value, false, err
		}
		return rows[0][0], true, nil
	}
	for _, m := range ddl.FindMasked(t.def.stored) {
		column := mysql.QuoteName(m.Name)
		members := map[int]string{}
		for _, i := range m.Members {
			number, is := uint64(i+1), "="
			if m.Set {
				number, is = uint64(1)<<i, "&"
			}
			v, found, err := ask(fmt.Sprintf("SELECT CONCAT(%s+0,' ',CONVERT(%s USING utf8mb4)) FROM %s%s WHERE (%s+0)%s%d LIMIT 1", column, column, table, versions, column, is, number))
			if err != nil {
				return err
			}
			if !found {
				t.masked = append(t.masked, m.Name)
				continue
			}
			value, text, _ := strings.Cut(v.Text, " ")
			if members[i] = text; m.Set {
				all, err := strconv.ParseUint(value, 10, 64)
				parts, place := strings.Split(text, ","), bits.OnesCount64(all&(number-1))
				if err != nil || place >= len(parts) {
					return fmt.Errorf("read the members of column %s: the server says that %q is the value %s", m.Name, text, value)
				}
				members[i] = parts[place]
			}
		}
		var value *string
		if m.Default {
			what := fmt.Sprintf("SELECT CONVERT(DEFAULT(%s.%s) USING utf8mb4) FROM ", table, column)
			v, found, err := ask(what + table + " LIMIT 1")
			if err == nil && !found { // which tells it of columns that may be NULL
				v, _, err = ask(what + "(SELECT 1 AS one) AS one LEFT JOIN " + table + " ON FALSE")
			}
			if err != nil {
				return err
			}
			if value = &v.Text; v.Null {
				value, t.masked = nil, append(t.masked, m.Name)
			}
		}
		t.def.stored = ddl.Unmask(t.def.stored, m.Name, members, value)
	}
	return nil
}

// noteMasked notes the members that may be others than the definition says.
func (s *Snapshot) noteMasked(works []*tableWork) {
	for _, t := range works {
		if len(t.masked) > 0 {
			slices.Sort(t.masked)
			s.masked = append(s.masked, fmt.Sprintf(`table %s: a member or the default of %s, which no row tells, is printed with "?" by the server, whatever is in that place; the backup has the "?", and all rows exactly`, t.info.name, strings.Join(slices.Compact(t.masked), ", ")))
		}
	}
}
