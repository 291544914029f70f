package picture_test

import (
	"encoding/xml"
	"flag"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/web/picture"
)

var update = flag.Bool("update", false, "write the golden files")

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func day(n int) time.Time { return noon.AddDate(0, 0, n) }

const hostile = "<script>alert(1)</script>\" onload=\"x\u202e&"

func pictures() map[string]template.HTML {
	words := picture.Words{Title: "Sizes", Text: "from 1 GB to 2 GB"}
	bad := picture.Words{Title: hostile, Text: hostile}
	return map[string]template.HTML{
		"trend":       picture.Trend([]picture.Size{{1000, 900}, {1100, 20}, {0, 0}, {1200, 1}, {1 << 62, 5}, {-1, -1}}, words),
		"trend one":   picture.Trend([]picture.Size{{0, 0}}, bad),
		"growth":      picture.Growth([]picture.Fill{{day(-3), 100, 300}, {day(-2), -1, -1}, {day(-1), 200, -1}, {noon, 250, 150}}, words),
		"growth wide": picture.Growth([]picture.Fill{{day(-1), 1, 1 << 62}, {noon, 2, 1 << 62}}, bad),
		"timeline": picture.Timeline([]picture.Mark{{day(-2), "ok", "backup"}, {day(-1), "bad", hostile}, {noon, "warn", "warned"}, {noon, "no such", "other"}, {day(1), "ok", "beyond"}},
			day(-4), noon, time.UTC, bad),
	}
}

func TestGolden(t *testing.T) {
	for name, got := range pictures() {
		path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".svg")
		if *update {
			if err := os.WriteFile(path, []byte(got+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// TestSafe: each is well-formed, of elements and attributes that are harmless.
func TestSafe(t *testing.T) {
	allowed := " svg title desc rect path circle class viewBox width height role aria-label x y fill fill-opacity stroke stroke-width stroke-dasharray d cx cy r "
	for name, got := range pictures() {
		d := xml.NewDecoder(strings.NewReader(string(got)))
		elements := 0
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v in %s", name, err, got)
			}
			start, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			elements++
			if !strings.Contains(allowed, " "+start.Name.Local+" ") {
				t.Errorf("%s has an element %s", name, start.Name.Local)
			}
			for _, a := range start.Attr {
				if !strings.Contains(allowed, " "+a.Name.Local+" ") {
					t.Errorf("%s has an attribute %s", name, a.Name.Local)
				}
			}
		}
		if elements < 2 {
			t.Errorf("%s is empty", name)
		}
	}
}

func TestNothingToDraw(t *testing.T) {
	for name, got := range map[string]template.HTML{
		"no sizes":         picture.Trend(nil, picture.Words{}),
		"one sample":       picture.Growth([]picture.Fill{{noon, 1, 1}}, picture.Words{}),
		"one time":         picture.Growth([]picture.Fill{{noon, 1, 1}, {noon, 2, 1}}, picture.Words{}),
		"days backwards":   picture.Timeline(nil, noon, day(-1), time.UTC, picture.Words{}),
		"days of a decade": picture.Timeline(nil, day(-3650), noon, time.UTC, picture.Words{}),
	} {
		if got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestBounded: however much there is, a picture stays small.
func TestBounded(t *testing.T) {
	var sizes []picture.Size
	var fills []picture.Fill
	var marks []picture.Mark
	for i := range 10_000 {
		sizes = append(sizes, picture.Size{Logical: int64(i), Stored: 1})
		fills = append(fills, picture.Fill{Time: noon.Add(time.Duration(i) * time.Minute), Used: int64(i), Free: 10})
		class := "ok"
		if i == 5_000 {
			class = "bad"
		}
		marks = append(marks, picture.Mark{Time: noon, Class: class})
	}
	timeline := picture.Timeline(marks, day(-30), noon, time.UTC, picture.Words{})
	if !strings.Contains(string(timeline), `class="bad"`) {
		t.Error("of many the failed one is not shown")
	}
	for _, got := range []template.HTML{picture.Trend(sizes, picture.Words{}), picture.Growth(fills, picture.Words{}), timeline} {
		if len(got) > 40_000 {
			t.Errorf("%d bytes: %s…", len(got), got[:100])
		}
	}
}

func TestDaysAreOfTheZone(t *testing.T) {
	zone := time.FixedZone("", 13*3600)
	got := picture.Timeline([]picture.Mark{{Time: noon, Class: "ok"}}, noon.Add(-24*time.Hour), noon, zone, picture.Words{})
	if !strings.Contains(string(got), `cx="18"`) { // the second column: there it is tomorrow
		t.Error(got)
	}
}
