package profiletest

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/profile"
)

// scheduler: a profile whose application has a schedule gives it only when it
// understood all of it, and changes nothing by asking.
func (s Subject) scheduler(t *testing.T) {
	p, ok := s.Profile.(profile.Scheduler)
	if !ok {
		t.Skip("the application has no schedule")
	}
	none := func(t *testing.T, got profile.AppSchedule, err error) {
		t.Helper()
		refused(t, err, "subject")
		if diff := cmp.Diff(profile.AppSchedule{}, got); diff != "" {
			t.Error("a schedule beside the error:", diff)
		}
	}
	if p.ScheduleNeedsDatabase() {
		_, app := s.install(t, PlainAccount())
		got, err := p.AppSchedule(t.Context(), nil, app)
		none(t, got, err)
		odd := "\xff\n" + strings.Repeat("9", 10_000)
		for name, answer := range map[string]queryFunc{
			"refuses":    func() ([][]*string, error) { return nil, errors.New("table is not there") },
			"nothing":    func() ([][]*string, error) { return nil, nil },
			"no columns": func() ([][]*string, error) { return [][]*string{{}}, nil },
			"nulls":      func() ([][]*string, error) { return [][]*string{{nil, nil, nil}}, nil },
			"hostile":    func() ([][]*string, error) { return [][]*string{{&odd, &odd, &odd}}, nil },
		} {
			t.Run(name, func(t *testing.T) {
				got, err := p.AppSchedule(t.Context(), answer, app)
				none(t, got, err)
			})
		}
		return
	}
	root, app := s.install(t, PlainAccount())
	before := tree(t, root)
	want, err := p.AppSchedule(t.Context(), nil, app)
	if err != nil {
		t.Fatal(err)
	}
	if want.Source == "" || (want.Enabled && want.Every == 0 && (want.Hour > 23 || want.Minute > 59)) {
		t.Errorf("got %+v", want)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Error(diff)
	}
	for name, content := range map[string]string{
		"empty": "", "broken": "<?php $password = 'x' 'x';", "sets nothing": "<?php $unrelated = 1;", "exits": "<?php exit;", "binary": "\x00\xff\xfe\x01",
	} {
		t.Run(name, func(t *testing.T) {
			root, app := s.install(t, PlainAccount())
			Write(t, root, map[string]string{s.Config: content})
			got, err := p.AppSchedule(t.Context(), nil, app)
			if refused(t, err, s.Config); got.Enabled {
				t.Errorf("a schedule beside the error: %+v", got)
			}
		})
	}
	t.Run("wrong root", func(t *testing.T) {
		got, err := p.AppSchedule(t.Context(), nil, profile.App{Name: "subject", Root: t.TempDir()})
		none(t, got, err)
	})
}
