package kopia

import (
	"context"
	"fmt"
	"testing"
	"time"

	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/snapshot"

	"github.com/backstay/backstay/internal/core"
)

// BenchmarkLook is what a check does each hour: open a repository of 2,000
// backups of 50 apps, list them, measure it. Run it with -benchtime=3x.
func BenchmarkLook(b *testing.B) {
	ctx := b.Context()
	opts := Options{URL: "file://" + b.TempDir() + "/r", Password: core.NewSecret("key"), Hostname: "h", StateDir: b.TempDir()}
	if err := Create(ctx, opts); err != nil {
		b.Fatal(err)
	}
	s, err := Open(ctx, opts)
	if err != nil {
		b.Fatal(err)
	}
	first, err := s.Begin(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer first.Abort()
	root, err := first.WriteDir(ctx, nil)
	if err != nil {
		b.Fatal(err)
	}
	sum, err := first.(*session).summary(ctx, root.ID)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := first.Commit(ctx, root, core.Backup{ID: "first", App: "a"}); err != nil {
		b.Fatal(err)
	}
	const backups, each = 2000, 20 // 20 are committed at once, since the last maintenance has put them together
	for n := 0; n < backups; n += each {
		err := kopiarepo.WriteSession(ctx, s.rep, kopiarepo.WriteSessionOptions{}, func(ctx context.Context, w kopiarepo.RepositoryWriter) error {
			for i := range each {
				m, err := newSnapshot(root, sum, core.Backup{
					ID: fmt.Sprintf("%05d", n+i), App: fmt.Sprintf("app%d", i%50), Profile: "itop", Host: "host",
					Time: time.Date(2026, 1, 1, n+i, 0, 0, 0, time.UTC),
				})
				if err != nil {
					return err
				}
				if _, err := snapshot.SaveSnapshot(ctx, w, m); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if _, err := s.Maintain(ctx); err != nil { // enters them in the ledger
		b.Fatal(err)
	}
	if err := s.Close(ctx); err != nil {
		b.Fatal(err)
	}
	var open, list, space time.Duration
	for b.Loop() {
		at := time.Now()
		s, err := Open(ctx, opts)
		if err != nil {
			b.Fatal(err)
		}
		opened := time.Now()
		if got, err := s.List(ctx); err != nil || len(got) != backups+1 {
			b.Fatal(len(got), err)
		}
		listed := time.Now()
		if _, err := s.Space(ctx); err != nil {
			b.Fatal(err)
		}
		open, list, space = open+opened.Sub(at), list+listed.Sub(opened), space+time.Since(listed)
		if err := s.Close(ctx); err != nil {
			b.Fatal(err)
		}
	}
	for what, d := range map[string]time.Duration{"ms-open": open, "ms-list": list, "ms-space": space} {
		b.ReportMetric(float64(d.Milliseconds())/float64(b.N), what)
	}
}
