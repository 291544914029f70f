// Package masked reads what servers do not print of a table's definition: for
// characters beyond the first 65,536 in members of ENUM and SET, and in defaults,
// they have "?". It is for dumps, and promises the true text of all that a row has.
package masked

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

// Unmask returns a printed definition with members as the table's rows have them,
// and defaults. versions is what makes former rows be seen, "" for none. The
// columns of which something is not known, because no row tells it, are unknown.
func Unmask(ctx context.Context, c *mysql.Conn, name, versions, create string) (_ string, unknown []string, err error) {
	table := mysql.QuoteName(name)
	ask := func(query string) (value mysql.Value, found bool, err error) {
		rows, err := c.Query(ctx, query)
		if err != nil || len(rows) == 0 {
			return value, false, err
		}
		return rows[0][0], true, nil
	}
	for _, m := range ddl.FindMasked(create) {
		column := mysql.QuoteName(m.Name)
		members := map[int]string{}
		for _, i := range m.Members {
			number, is := uint64(i+1), "="
			if m.Set {
				number, is = uint64(1)<<i, "&"
			}
			v, found, err := ask(fmt.Sprintf("SELECT CONCAT(%s+0,' ',CONVERT(%s USING utf8mb4)) FROM %s%s WHERE (%s+0)%s%d LIMIT 1", column, column, table, versions, column, is, number))
			if err != nil {
				return "", nil, err
			}
			if !found {
				unknown = append(unknown, m.Name)
				continue
			}
			value, text, _ := strings.Cut(v.Text, " ")
			if members[i] = text; m.Set {
				all, err := strconv.ParseUint(value, 10, 64)
				parts, place := strings.Split(text, ","), bits.OnesCount64(all&(number-1))
				if err != nil || place >= len(parts) {
					return "", nil, fmt.Errorf("read the members of column %s: the server says that %q is the value %s", m.Name, text, value)
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
				return "", nil, err
			}
			if value = &v.Text; v.Null {
				value, unknown = nil, append(unknown, m.Name)
			}
		}
		create = ddl.Unmask(create, m.Name, members, value)
	}
	slices.Sort(unknown)
	return create, slices.Compact(unknown), nil
}
