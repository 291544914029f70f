package dump

import (
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/layout"
)

const systemVersioned = "SYSTEM VERSIONED"

// historyFolder is the folder of a table's former rows below database/data. No
// table's own folder has a dot in its name.
func historyFolder(table string) string { return layout.FileName(table) + ".history" }

// endExpression reads the time at which a row ceased to be true. Rows that are
// still true have the last instant that the server can hold, which is another
// one from MariaDB 11.5 on; in a backup it is the end of time.
func endExpression(column string) string {
	return "IF(" + column + " IN ('2038-01-19 03:14:07.999999','2106-02-07 06:28:15.999999'),'" + core.EndOfTime + "'," + column + ")"
}

// history is how all versions of a system-versioned table's rows are read.
type history struct {
	definition
	start, end string // expressions of when a row became true and ceased to be
	timeless   string // how many versions were true at no instant; "0" but in odd tables
}

// historyOf returns how all versions of a system-versioned table's rows are
// read; nil when they cannot be carried.
func (s *Snapshot) historyOf(ctx context.Context, c *mysql.Conn, t *tableWork) (*history, error) {
	start, end := "row_start", "row_end" // where the definition names none
	timed := true
	err := s.present(c, func(now *mysql.Conn) error {
		cols, err := readColumns(ctx, now, mysql.QuoteText(s.database), t.info.name)
		for _, col := range cols {
			switch strings.ToUpper(col.expression) {
			case "ROW START":
				start = col.name
				timed = col.dataType == "timestamp" // else it is the number of a transaction
			case "ROW END":
				end = col.name
			}
		}
		return err
	})
	if err != nil || !timed {
		return nil, err
	}
	d := history{definition: *t.def, start: mysql.QuoteName(start), end: mysql.QuoteName(end)}
	d.columns = append(append([]core.Column{}, d.columns...), core.Column{Name: start}, core.Column{Name: end, Form: core.FormEnd})
	d.selects = append(append([]string{}, d.selects...), mysql.QuoteName(start), endExpression(mysql.QuoteName(end)))
	if len(d.key) > 0 { // the server's own primary key ends so too
		d.key = append(append([]string{}, d.key...), end)
	}
	rows, err := c.Query(ctx, "SELECT COUNT(*) FROM "+mysql.QuoteName(t.info.name)+" FOR SYSTEM_TIME ALL WHERE NOT "+d.lasted())
	if err != nil {
		return nil, err
	}
	d.timeless = rows[0][0].Text
	return &d, nil
}

// lasted is the condition of versions that were true at some instant. The
// server has others, of rows that were changed twice within a microsecond, but
// lets nobody write them.
func (h *history) lasted() string { return "(" + h.start + " < " + h.end + ")" }

// withVersions returns a table's slices and those of all versions of its rows.
func (h *history) withVersions(present []slice) []slice {
	all := present
	for _, s := range present {
		all = append(all, slice{where: s.where + " AND " + h.lasted(), bytes: s.bytes, versions: true})
	}
	return all
}

// collectHistory returns what the index says of a table's history, and its folder.
func collectHistory(ctx context.Context, t *tableWork, w core.TreeWriter) (*core.History, []core.Entry, error) {
	if t.history == nil {
		return nil, nil, nil
	}
	h := &core.History{Columns: t.history.columns}
	var files []core.Entry
	var sum mysql.RowSum
	for _, s := range t.slices {
		if !s.versions {
			continue
		}
		files = append(files, s.Entries...)
		h.LongestRow = max(h.LongestRow, s.Longest)
		for _, c := range s.Chunks {
			part, err := mysql.ParseRowSum(c.Checksum)
			if err != nil {
				return nil, nil, fmt.Errorf("history of table %s: %w", t.info.name, err)
			}
			sum.Add(part)
			h.Rows += c.Rows
			h.Bytes += c.Bytes
			h.Chunks = append(h.Chunks, c)
		}
	}
	h.Checksum = sum.String()
	if len(files) == 0 {
		return h, nil, nil
	}
	dir, err := layout.WriteDir(ctx, w, historyFolder(t.info.name), files)
	return h, []core.Entry{dir}, err
}

// warnOfHistory warns of the tables whose former rows are not in the backup.
func (s *Snapshot) warnOfHistory(works []*tableWork) {
	for _, t := range works {
		var message string
		switch {
		case t.info.kind != systemVersioned || t.former != nil:
			continue
		case t.history == nil:
			message = "it is versioned by transaction, which means nothing to another server: its present rows are in this backup, its former ones are not"
		case t.history.timeless != "0":
			message = t.history.timeless + " of its former rows ceased in the microsecond in which they began; no server lets such rows in, and they are not in this backup"
		default:
			continue
		}
		s.Warnings = append(s.Warnings, core.Warning{Code: "history", Object: "table " + t.info.name, Message: message})
	}
}
