package check

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// TestSlowLoss: a table that loses so much of its rows with each backup that no
// single one is a fall is found when most are gone, and that lasts.
func TestSlowLoss(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for name, c := range map[string]struct {
		steady int
		every  time.Duration
		grow   float64 // with each backup before
		lose   float64 // of what is left, with each backup
		within int     // backups; 0: it is not found
	}{
		"a tenth a day":                    {60, 24 * hour, 0, 0.10, 10},
		"less than the limit a day":        {60, 24 * hour, 0, 0.19, 6},
		"an app that is not long there":    {12, 24 * hour, 0, 0.15, 7},
		"a twentieth a day":                {60, 24 * hour, 0, 0.05, 20},
		"growing, a tenth a day":           {200, 24 * hour, 0.01, 0.10, 11},
		"by the hour":                      {200, hour, 0.0001, 0.10, 10},
		"by the hour, a hundredth":         {400, hour, 0, 0.01, 95},
		"each week":                        {60, 7 * 24 * hour, 0, 0.15, 8},
		"three in a hundred a day":         {90, 24 * hour, 0, 0.03, 35},
		"one in a hundred a day, archived": {90, 24 * hour, 0, 0.01, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newContent(Defaults()).series(40, 100)
			r := rand.New(rand.NewPCG(1, 2))
			n, at := 10_000.0, start
			add := func(id string) {
				s.add(id, at, math.Round(n*(1+0.002*r.NormFloat64())))
				at = at.Add(c.every)
			}
			for i := range c.steady {
				add(fmt.Sprint("whole", i))
				n *= 1 + c.grow
			}
			if s.fall != nil {
				t.Fatal("a fall while it was whole")
			}
			found := 0
			for i := 1; i <= 200 && found == 0; i++ {
				n *= 1 - c.lose
				if add(fmt.Sprint("less", i)); s.fall != nil {
					found = i
				}
			}
			if (found > 0) != (c.within > 0) || found > c.within {
				t.Fatalf("found in backup %d, want within %d", found, c.within)
			}
			if found == 0 {
				return
			}
			if s.fall.slow > 0 && !strings.HasPrefix(s.fall.before.backup, "whole") && s.fall.before.value < 8900 {
				t.Errorf("the last whole one is %+v", s.fall.before)
			}
			for range 200 {
				if add("still"); s.fall == nil {
					t.Fatal("it became usual by lasting")
				}
			}
			was := *s
			if s.accept(); s.fall != nil {
				t.Error("it lasts though it was accepted")
			}
			for range 30 {
				if add("accepted"); s.fall != nil {
					t.Fatal("it is found again though it was accepted")
				}
			}
			n = was.top
			if was.add("whole again", at, n); was.fall != nil {
				t.Error("it lasts though all is there again")
			}
		})
	}
}

// TestSlowLossWords is about what people read, and which backup is trusted.
func TestSlowLossWords(t *testing.T) {
	t.Parallel()
	a := newApp()
	list := repeat(30, 10000)
	for n := 8500; n > 3700; n = n * 85 / 100 {
		list = append(list, int64(n))
	}
	a.rows(list...)
	problems, trusted := Review(a.in)
	i := slices.IndexFunc(problems, func(p core.Problem) bool { return p.Object == "table tickets" })
	if i < 0 {
		t.Fatalf("problems: %v", names(problems))
	}
	if want := "table tickets has 3,770 rows; 10,000 were there not long ago, and it became less by and by; since backup 00000031 of 2026-01-31 23:30 UTC"; problems[i].Message != want {
		t.Errorf("it says %q, want %q", problems[i].Message, want)
	}
	if want := "backstay restore helpdesk 00000030 --table tickets"; !strings.Contains(problems[i].Hint, want) {
		t.Errorf("hint: %s", problems[i].Hint)
	}
	if trusted == nil || trusted.ID != "00000030" {
		t.Errorf("trusted is %+v", trusted)
	}
}

// TestSlowNoise: files that turn into noise a few at a time are found.
func TestSlowNoise(t *testing.T) {
	t.Parallel()
	a := newApp()
	add := func(noise float64) string {
		return a.backup(holds{files: 100, sample: &core.Sample{Files: 400, Noise: int(4 * noise), Total: 400}})
	}
	for range 15 {
		add(2)
	}
	found := 0
	for i := 1; i <= 60 && found == 0; i++ {
		add(2 + 0.75*float64(i))
		if len(Judge(a.in)) > 0 {
			found = i
		}
	}
	if found == 0 || found > 36 {
		t.Fatalf("found in backup %d", found)
	}
	if _, trusted := Review(a.in); trusted == nil || trusted.ID < "00000015" || trusted.ID > "00000024" {
		t.Errorf("trusted is %+v", trusted)
	}
	for range 120 {
		add(30)
	}
	a.want(t, "for long", "noise files")
	last := add(30)
	a.in.Accepted = &Accepted{Backup: last}
	a.want(t, "accepted")
	a.in.Accepted = nil
	add(2)
	a.want(t, "as before")
}
