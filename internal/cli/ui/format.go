package ui

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/backstay/backstay/internal/core"
)

// Size writes a number of bytes in decimal units: "999 B", "1.5 GB", "153 MB".
func Size(bytes int64) string {
	if bytes < 0 {
		if bytes == math.MinInt64 {
			bytes++
		}
		return "-" + Size(-bytes)
	}
	if bytes < 1000 {
		return fmt.Sprintf("%d B", bytes)
	}
	value := float64(bytes)
	units := []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	for i, unit := range units {
		value /= 1000
		// What would round to 1000 is 1.0 of the next unit.
		if value < 999.5 || i == len(units)-1 {
			if value < 99.95 {
				return fmt.Sprintf("%.1f %s", value, unit)
			}
			return fmt.Sprintf("%.0f %s", value, unit)
		}
	}
	panic("unreachable")
}

// Rate writes bytes per second over a time; "" when no time has passed.
func Rate(bytes int64, over time.Duration) string {
	if over <= 0 {
		return ""
	}
	return Size(int64(float64(bytes)/over.Seconds())) + "/s"
}

// Count writes a whole number with its thousands apart: "1 234 567".
func Count(n int64) string {
	s := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u00a0" + s[i:]
	}
	return sign + s
}

// Duration writes a time span in its two largest units: "340 ms", "3.2 s",
// "2 min 5 s", "3 h 4 min", "2 d 3 h".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		if d == math.MinInt64 {
			d++
		}
		return "-" + Duration(-d)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	case d < 59950*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d.Round(time.Second) < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d.Round(time.Minute) < 24*time.Hour:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	default:
		d = d.Round(time.Hour)
		return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

// Time writes an instant in the printer's zone, and names the zone.
func (p *Printer) Time(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.In(p.location).Format("2006-01-02 15:04:05 MST")
}

// Column is a column of a Table.
type Column struct {
	Title string
	Right bool // numbers stand at the right
}

// Table gathers rows and prints them with their columns aligned.
type Table struct {
	columns []Column
	rows    [][]string
}

// NewTable returns an empty table.
func NewTable(columns ...Column) *Table { return &Table{columns: columns} }

// Row adds a row. Cells are made harmless with Clean; missing ones are empty,
// and it panics when there are too many.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(t.columns))
	for i, cell := range cells {
		row[i] = Clean(cell)
	}
	t.rows = append(t.rows, row)
}

// Table prints t as a part of the result, the titles first.
func (p *Printer) Table(t *Table) { p.out(t.String()) }

// String returns the table with a line end after each row. Widths are those
// that characters take on a terminal.
func (t *Table) String() string {
	// Not the package's default, which asks the environment.
	width := &runewidth.Condition{StrictEmojiNeutral: true}
	titles := make([]string, len(t.columns))
	for i := range t.columns {
		titles[i] = t.columns[i].Title
	}
	all := t.rows
	if strings.Join(titles, "") != "" {
		all = append([][]string{titles}, t.rows...)
	}
	widest := make([]int, len(t.columns))
	for _, row := range all {
		for i, cell := range row {
			widest[i] = max(widest[i], width.StringWidth(cell))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			padding := strings.Repeat(" ", widest[i]-width.StringWidth(cell))
			if t.columns[i].Right {
				line.WriteString(padding + cell)
			} else {
				line.WriteString(cell + padding)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// ShortID is as much of a backup's id as lists show.
func ShortID(id string) string { return id[:min(8, len(id))] }

// Counted writes a number of things: "1 file", "1 234 files".
func Counted(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + one + "s"
}

// Describe says in one line how large a component of a backup is.
func Describe(c core.Component, size core.ComponentSize) string {
	if c == core.ComponentDatabase {
		text := Counted(int64(size.Tables), "table") + ", " + Counted(size.Rows, "row") + ", " + Size(size.Bytes)
		if size.TablesReused > 0 {
			text += " (" + Counted(int64(size.TablesReused), "table") + " unchanged, not read again)"
		}
		return text
	}
	text := Counted(size.Files, "file") + ", " + Size(size.Bytes)
	if size.FilesReused > 0 {
		text += fmt.Sprintf(" (%s unchanged, not read again)", Count(size.FilesReused))
	}
	return text
}
