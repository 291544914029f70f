// Package picture draws the console's small pictures: sizes of backups, the
// space of a repository, backups and failures by day. It is for the pages. It is
// pure. It promises that each picture is SVG that a strict content policy lets
// through - no style, no script, no address -, takes the colour of the text
// about it, and says in words what it shows.
package picture

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// Words are what a picture says to those who do not see it, in their language.
type Words struct {
	Title string
	Text  string // what it shows, with the numbers that matter; "": the title says all
}

// drawing is an SVG under way.
type drawing struct{ b strings.Builder }

func begin(class string, width, height int, w Words) *drawing {
	d := &drawing{}
	said := w.Title
	if w.Text != "" {
		said += ": " + w.Text
	}
	fmt.Fprintf(&d.b, `<svg class="picture %s" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`,
		class, width, height, width, height, html.EscapeString(said))
	fmt.Fprintf(&d.b, `<title>%s</title>`, html.EscapeString(w.Title))
	if w.Text != "" {
		fmt.Fprintf(&d.b, `<desc>%s</desc>`, html.EscapeString(w.Text))
	}
	return d
}

func (d *drawing) rect(class string, x, y, w, h, opacity float64) {
	fmt.Fprintf(&d.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s" fill="currentColor" fill-opacity="%s"/>`,
		class, number(x), number(y), number(w), number(h), number(opacity))
}

// end returns what was drawn. All text in it was escaped.
func (d *drawing) end() template.HTML {
	d.b.WriteString(`</svg>`)
	return template.HTML(d.b.String())
}

// number writes a coordinate to a hundredth.
func number(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return "0"
	}
	return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
}

// Size is how large a backup is, and what it added to the repository; in bytes.
type Size struct{ Logical, Stored int64 }

// most bounds what one picture draws: more than its width has no room.
const most = 120

// Trend draws the sizes of backups, the oldest first, as bars: pale what a
// backup holds, dark what it added. Nothing is drawn of no backups.
func Trend(sizes []Size, w Words) template.HTML {
	if len(sizes) == 0 {
		return ""
	}
	sizes = sizes[max(0, len(sizes)-most):]
	const width, height = 120, 28
	top := int64(1)
	for _, s := range sizes {
		top = max(top, s.Logical, s.Stored)
	}
	d := begin("trend", width, height, w)
	step := math.Min(float64(width)/float64(len(sizes)), 8)
	gap := math.Min(1, step/4)
	for i, s := range sizes {
		x := float64(width) - step*float64(len(sizes)-i)
		bar := func(class string, n int64, opacity float64) {
			if n <= 0 {
				return
			}
			h := math.Max(1, float64(n)/float64(top)*height) // one that is there is seen
			d.rect(class, x, height-h, step-gap, h, opacity)
		}
		bar("logical", s.Logical, 0.3)
		bar("stored", s.Stored, 0.9)
	}
	return d.end()
}

// Fill is how full a repository was at a time; in bytes, -1 where it is not known.
type Fill struct {
	Time       time.Time
	Used, Free int64
}

// Growth draws how full a repository was, the oldest first: an area, and a line
// for the room that there was. Nothing is drawn of fewer than two.
func Growth(fills []Fill, w Words) template.HTML {
	var known []Fill
	for _, f := range fills {
		if f.Used >= 0 {
			known = append(known, f)
		}
	}
	if len(known) < 2 || !known[len(known)-1].Time.After(known[0].Time) {
		return ""
	}
	const width, height, points = 640.0, 160.0, 320
	known = thin(known, points)
	from, length := known[0].Time, known[len(known)-1].Time.Sub(known[0].Time)
	top := 1.0
	room := func(f Fill) float64 { return float64(f.Used) + float64(f.Free) }
	for _, f := range known {
		top = math.Max(top, float64(f.Used))
	}
	used := top
	for _, f := range known {
		if f.Free >= 0 && room(f) <= 4*used { // else the area would be a line at the ground
			top = math.Max(top, room(f))
		}
	}
	x := func(f Fill) string { return number(float64(f.Time.Sub(from)) / float64(length) * width) }
	y := func(bytes float64) string { return number(height - bytes/top*(height-4)) }
	d := begin("growth", int(width), int(height), w)
	fmt.Fprintf(&d.b, `<path class="used" fill="currentColor" fill-opacity="0.3" d="M0 %s`, number(height))
	for _, f := range known {
		fmt.Fprintf(&d.b, `L%s %s`, x(f), y(float64(f.Used)))
	}
	fmt.Fprintf(&d.b, `L%s %sZ"/>`, number(width), number(height))
	line := false
	for _, f := range known {
		switch {
		case f.Free < 0 || room(f) > top:
			if line {
				d.b.WriteString(`"/>`)
			}
			line = false
			continue
		case !line:
			d.b.WriteString(`<path class="room" fill="none" stroke="currentColor" stroke-dasharray="4 3" d="M`)
			line = true
		default:
			d.b.WriteString(`L`)
		}
		fmt.Fprintf(&d.b, `%s %s`, x(f), y(room(f)))
	}
	if line {
		d.b.WriteString(`"/>`)
	}
	return d.end()
}

// thin leaves so many of a list, the first and the last among them.
func thin(all []Fill, leave int) []Fill {
	if len(all) <= leave {
		return all
	}
	out := make([]Fill, 0, leave)
	for i := range leave {
		out = append(out, all[i*(len(all)-1)/(leave-1)])
	}
	return out
}

// Mark is something that happened at a time.
type Mark struct {
	Time  time.Time
	Class string // "ok", "warn", "bad": how it is drawn, and its CSS class
	Title string // shown when it is pointed at
}

// Timeline draws marks as dots, a column for each day of zone from from to to;
// of a day with more than fit the worst are left. What was bad is a cross, so
// that nobody has to tell colours apart. Nothing is drawn of no days.
func Timeline(marks []Mark, from, to time.Time, zone *time.Location, w Words) template.HTML {
	first, last := dayOf(from, zone), dayOf(to, zone)
	days := last - first + 1
	if days < 1 || days > 400 {
		return ""
	}
	const column, row, high = 12, 10, 6
	byDay := make([][]Mark, days)
	for _, m := range marks {
		if i := dayOf(m.Time, zone) - first; i >= 0 && i < days {
			byDay[i] = append(byDay[i], m)
		}
	}
	height := high*row + 4
	d := begin("timeline", days*column, height, w)
	d.rect("axis", 0, float64(height)-1, float64(days*column), 1, 0.3)
	for i, day := range byDay {
		shown := worst(day, high)
		for j, m := range shown {
			x, y := float64(i*column)+column/2, float64(height-3)-row/2-float64(j*row)
			title := html.EscapeString(m.Title)
			if m.Class == "bad" {
				fmt.Fprintf(&d.b, `<path class="bad" fill="none" stroke="currentColor" stroke-width="2" d="M%s %sl6 6m0 -6l-6 6"><title>%s</title></path>`, number(x-3), number(y-3), title)
				continue
			}
			class := "ok"
			if m.Class == "warn" {
				class = "warn"
			}
			fmt.Fprintf(&d.b, `<circle class="%s" cx="%s" cy="%s" r="3.5" fill="currentColor"><title>%s</title></circle>`, class, number(x), number(y), title)
		}
	}
	return d.end()
}

// worst returns at most n of a day's marks, in their order: what is bad is left
// out last.
func worst(day []Mark, n int) []Mark {
	for _, class := range []string{"ok", "warn", "bad"} {
		for i := 0; i < len(day) && len(day) > n; {
			if day[i].Class == class {
				day = append(day[:i:i], day[i+1:]...)
			} else {
				i++
			}
		}
	}
	return day[:min(n, len(day))]
}

// dayOf counts the days of a zone's calendar.
func dayOf(t time.Time, zone *time.Location) int {
	year, month, day := t.In(zone).Date()
	return int(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 3600))
}
