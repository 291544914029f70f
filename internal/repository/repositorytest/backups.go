package repositorytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// small commits a backup of one file.
func small(t testing.TB, s repository.Store, n int) repository.Record {
	t.Helper()
	ss := begin(t, s)
	root := writeDir(t, ss, file("f", put(t, ss, fmt.Appendf(nil, "content %d", n))))
	return commit(t, ss, root, NewBackup(n))
}

func testInvisible(t *testing.T, h Harness) {
	s, other := open(t, h), open(t, h)
	ss := begin(t, s)
	root := writeDir(t, ss, file("f", put(t, ss, Random(1, 25<<20))))
	for _, st := range []repository.Store{s, other} {
		if got := list(t, st); len(got) != 0 {
			t.Errorf("%v is listed before its commit", ids(got))
		}
	}
	commit(t, ss, root, NewBackup(1))
	for _, st := range []repository.Store{s, other} {
		if got := list(t, st); len(got) != 1 {
			t.Errorf("%d backups after the commit, want 1", len(got))
		}
	}
}

func testAbort(t *testing.T, h Harness) {
	s := open(t, h)
	ss := begin(t, s)
	o := put(t, ss, Random(1, 25<<20))
	root := writeDir(t, ss, file("f", o))
	f, err := ss.Create(t.Context(), "unfinished")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(Random(2, 5<<20)); err != nil {
		t.Fatal(err)
	}
	ss.Abort()
	ss.Abort()
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("an aborted session takes bytes")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := ss.Create(t.Context(), "late"); err == nil {
		t.Error("an aborted session takes files")
	}
	if _, err := ss.WriteDir(t.Context(), nil); err == nil {
		t.Error("an aborted session takes folders")
	}
	if _, err := ss.Commit(t.Context(), root, NewBackup(1)); err == nil {
		t.Error("an aborted session commits")
	}
	if got := list(t, open(t, h)); len(got) != 0 {
		t.Errorf("%v is listed after abort", ids(got))
	}
	small(t, s, 2)
	if got := list(t, s); len(got) != 1 {
		t.Errorf("%d backups after abort and another backup, want 1", len(got))
	}
}

func testDiscard(t *testing.T, h Harness) {
	s := open(t, h)
	ss := begin(t, s)
	f, err := ss.Create(t.Context(), "thrown away")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(Random(9, 6<<20)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Fatalf("close: %v", err)
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("a closed file takes bytes")
	}
	if _, err := f.Finish(); err == nil {
		t.Error("a closed file finishes")
	}
	commit(t, ss, writeDir(t, ss, file("kept", put(t, ss, []byte("kept")))), NewBackup(1))
	ss.Abort()
	if got := list(t, s); len(got) != 1 {
		t.Errorf("abort after commit: %d backups, want 1", len(got))
	}
	if _, err := ss.Create(t.Context(), "late"); err == nil {
		t.Error("a committed session takes files")
	}
}

func testList(t *testing.T, h Harness) {
	s := open(t, h)
	if got := list(t, s); len(got) != 0 {
		t.Fatalf("a new repository lists %v", ids(got))
	}
	var want []repository.Record
	for _, n := range []int{5, 1, 9, 3} {
		ss := begin(t, s)
		root := writeDir(t, ss, file("f", put(t, ss, fmt.Appendf(nil, "%d", n))))
		b := NewBackup(n)
		if n == 9 {
			b.App, b.Host, b.Note = "docs", "web2", ""
			b.Warnings, b.Components = nil, nil
		}
		r := commit(t, ss, root, b)
		if r.StoredBytes <= 0 {
			t.Errorf("stored %d bytes", r.StoredBytes)
		}
		want = append(want, r)
	}
	want = []repository.Record{want[1], want[3], want[0], want[2]}
	for _, st := range []repository.Store{s, open(t, h)} {
		if diff := cmp.Diff(want, list(t, st)); diff != "" {
			t.Errorf("list differs (-want +got):\n%s", diff)
		}
	}
}

func testCommitRefuses(t *testing.T, h Harness) {
	s := open(t, h)
	small(t, s, 1)
	refuses := func(why string, change func(*core.Backup, *core.Object)) {
		t.Helper()
		ss := begin(t, s)
		root := writeDir(t, ss)
		b := NewBackup(2)
		change(&b, &root)
		if _, err := ss.Commit(t.Context(), root, b); err == nil {
			t.Errorf("%s: committed", why)
		}
		if _, err := ss.Create(t.Context(), "late"); err == nil {
			t.Errorf("%s: the session lives on after a failed commit", why)
		}
	}
	refuses("an id that is taken", func(b *core.Backup, _ *core.Object) { b.ID = NewBackup(1).ID })
	refuses("no id", func(b *core.Backup, _ *core.Object) { b.ID = "" })
	refuses("an id with a slash", func(b *core.Backup, _ *core.Object) { b.ID = "../x" })
	refuses("no app", func(b *core.Backup, _ *core.Object) { b.App = "" })
	refuses("no root", func(_ *core.Backup, o *core.Object) { *o = core.Object{} })
	refuses("a root that is not there", func(_ *core.Backup, o *core.Object) { o.ID = "kffffffffffffffffffffffffffffffff" })
	if got := list(t, s); len(got) != 1 {
		t.Errorf("%v listed, want only the first", ids(got))
	}
}

func testDelete(t *testing.T, h Harness) {
	s, other := open(t, h), open(t, h)
	a, b := small(t, s, 1), small(t, s, 2)
	pinned := true
	if err := s.Mark(t.Context(), a.ID, repository.Mark{Pinned: &pinned}); err != nil {
		t.Fatal(err)
	}
	if got := list(t, other); len(got) != 2 {
		t.Fatalf("%d backups, want 2", len(got))
	}
	if err := other.Delete(t.Context(), a.ID); err != nil {
		t.Fatalf("delete: %v", err)
	}
	for _, st := range []repository.Store{s, other, open(t, h)} {
		if got := ids(list(t, st)); !cmp.Equal(got, []string{b.ID}) {
			t.Errorf("after delete %v are listed, want %s", got, b.ID)
		}
	}
	if err := s.Delete(t.Context(), a.ID); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("second delete: %v", err)
	}
	// The id is free again, and nothing of the former backup sticks to it.
	again := small(t, s, 1)
	if got := list(t, other); len(got) != 2 || got[0].ID != again.ID || got[0].Pinned {
		t.Errorf("after a new backup with the id: %v", got)
	}
}

// testLost: a backup that was lost keeps nobody from the others, and deleting
// it settles the matter.
func testLost(t *testing.T, h Harness) {
	if h.Lose == nil {
		t.Skip("this repository cannot lose the record of a backup")
	}
	s := open(t, h)
	a, lost, b := small(t, s, 1), small(t, s, 2), small(t, s, 3)
	h.Lose(t, lost.ID)
	for _, st := range []repository.Store{s, open(t, h)} {
		records, err := st.List(t.Context())
		if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), lost.ID) || core.HintOf(err) == "" {
			t.Fatalf("list: %v (hint %q), want damage that names %s", err, core.HintOf(err), lost.ID)
		}
		if diff := cmp.Diff([]repository.Record{a, b}, records); diff != "" {
			t.Errorf("records that came with the damage (-want +got):\n%s", diff)
		}
	}
	if _, err := s.Maintain(t.Context()); core.CodeOf(err) != core.CodeDamage {
		t.Errorf("maintain: %v, want damage: it would remove the lost backup's data", err)
	}
	c := small(t, s, 4)
	if err := s.Delete(t.Context(), a.ID); err != nil {
		t.Errorf("delete another backup: %v", err)
	}
	if err := s.Delete(t.Context(), lost.ID[:len(lost.ID)-1]); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("delete by a part of the id: %v, want not_found", err)
	}
	if err := s.Delete(t.Context(), lost.ID); err != nil {
		t.Fatalf("delete the lost backup: %v", err)
	}
	for _, st := range []repository.Store{s, open(t, h)} {
		if diff := cmp.Diff([]repository.Record{b, c}, list(t, st)); diff != "" {
			t.Errorf("after the deletion (-want +got):\n%s", diff)
		}
	}
	if _, err := s.Maintain(t.Context()); err != nil {
		t.Errorf("maintain after the deletion: %v", err)
	}
	if err := s.Delete(t.Context(), lost.ID); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("delete it again: %v, want not_found", err)
	}
}

func testMarks(t *testing.T, h Harness) {
	s := open(t, h)
	a, b := small(t, s, 1), small(t, s, 2)
	yes, no := true, false
	verified := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	drilled := time.Date(2026, 3, 3, 4, 5, 6, 7, time.FixedZone("", 3600))
	later := verified.Add(time.Hour)
	steps := []struct {
		mark repository.Mark
		want func(*repository.Record)
	}{
		{repository.Mark{Pinned: &yes}, func(r *repository.Record) { r.Pinned = true }},
		{repository.Mark{Verified: &verified}, func(r *repository.Record) { r.Verified = &verified }},
		{repository.Mark{}, func(*repository.Record) {}},
		{repository.Mark{Drilled: &drilled, Verified: &later}, func(r *repository.Record) {
			u := drilled.UTC()
			r.Drilled, r.Verified = &u, &later
		}},
		{repository.Mark{Pinned: &no}, func(r *repository.Record) { r.Pinned = false }},
		{repository.Mark{Verified: &verified}, func(r *repository.Record) { r.Verified = &verified }}, // may go back
		{repository.Mark{Pinned: &yes}, func(r *repository.Record) { r.Pinned = true }},
		{repository.Mark{Damaged: &later}, func(r *repository.Record) { r.Damaged = &later }},
		{repository.Mark{Drilled: &later}, func(r *repository.Record) { r.Drilled = &later }},
		{repository.Mark{Damaged: &verified}, func(r *repository.Record) { r.Damaged = &verified }},
		{repository.Mark{Verified: &later}, func(r *repository.Record) { r.Verified, r.Damaged = &later, nil }},
		{repository.Mark{Damaged: &later, Verified: &verified}, func(r *repository.Record) {
			r.Verified, r.Damaged = &verified, &later
		}},
		{repository.Mark{Verified: &verified}, func(r *repository.Record) { r.Damaged = nil }},
	}
	want := a
	for i, step := range steps {
		if err := s.Mark(t.Context(), a.ID, step.mark); err != nil {
			t.Fatalf("mark %d: %v", i, err)
		}
		step.want(&want)
		for _, st := range []repository.Store{s, open(t, h)} {
			if diff := cmp.Diff([]repository.Record{want, b}, list(t, st)); diff != "" {
				t.Fatalf("after mark %d (-want +got):\n%s", i, diff)
			}
		}
	}
}

func testMarksAtOnce(t *testing.T, h Harness) {
	s := open(t, h)
	a := small(t, s, 1)
	stores := []repository.Store{s, open(t, h), open(t, h)}
	yes := true
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	marks := []repository.Mark{{Pinned: &yes}, {Verified: &at}, {Drilled: &at}}
	if err := s.Mark(t.Context(), a.ID, repository.Mark{Verified: &at, Damaged: &at}); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		errs := make([]error, len(stores))
		var wg sync.WaitGroup
		for i, st := range stores {
			wg.Go(func() { errs[i] = st.Mark(t.Context(), a.ID, marks[(i+round)%len(marks)]) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for _, st := range stores {
			r := list(t, st)
			if len(r) != 1 || !r[0].Pinned || r[0].Verified == nil || r[0].Damaged != nil || r[0].Drilled == nil {
				t.Fatalf("marks made at once got lost: %+v", r)
			}
		}
	}
}

func testListWhileMarking(t *testing.T, h Harness) {
	s, other := open(t, h), open(t, h)
	a := small(t, s, 1)
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := s.Mark(t.Context(), a.ID, repository.Mark{Verified: &at}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for n := range 15 {
			later := at.Add(time.Duration(n) * time.Hour)
			if err := s.Mark(t.Context(), a.ID, repository.Mark{Verified: &later}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		for _, st := range []repository.Store{s, other} {
			if r := list(t, st); len(r) != 1 || r[0].Verified == nil {
				t.Errorf("the mark is missing while it is changed: %v", r)
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

func testUnknown(t *testing.T, h Harness) {
	s := open(t, h)
	a := small(t, s, 1)
	yes := true
	for _, id := range []string{"", "nothing", a.ID[:8], a.ID + "x", "../" + a.ID} {
		if err := s.Delete(t.Context(), id); core.CodeOf(err) != core.CodeNotFound {
			t.Errorf("delete %q: %v, want not_found", id, err)
		}
		if err := s.Mark(t.Context(), id, repository.Mark{Pinned: &yes}); core.CodeOf(err) != core.CodeNotFound {
			t.Errorf("mark %q: %v, want not_found", id, err)
		}
	}
	for _, id := range []core.ObjectID{"", "nonsense", "../../etc/passwd", "ffffffffffffffffffffffffffffffff", "kffffffffffffffffffffffffffffffff"} {
		if _, err := Get(t.Context(), s, id); core.CodeOf(err) != core.CodeDamage {
			t.Errorf("open %q: %v, want damage", id, err)
		}
		if _, err := s.ReadDir(t.Context(), id); core.CodeOf(err) != core.CodeDamage {
			t.Errorf("read folder %q: %v, want damage", id, err)
		}
	}
	entries, err := s.ReadDir(t.Context(), a.Root.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadDir(t.Context(), entries[0].Object.ID); core.CodeOf(err) != core.CodeDamage {
		t.Errorf("a file read as a folder: %v, want damage", err)
	}
	if got := list(t, s); len(got) != 1 {
		t.Errorf("%d backups, want 1", len(got))
	}
}

func testCancel(t *testing.T, h Harness) {
	s := open(t, h)
	a := small(t, s, 1)
	entries, err := s.ReadDir(t.Context(), a.Root.ID)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ss, err := s.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Abort()
	f, err := ss.Create(ctx, "cut off")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(Random(1, 6<<20)); err != nil {
		t.Fatal(err)
	}
	in, err := s.Open(ctx, entries[0].Object.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cancel()
	cancelled := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) || core.CodeOf(err) != core.CodeCancelled {
			t.Errorf("%s: %v, want the context's error", what, err)
		}
	}
	_, err = f.Write(Random(2, 6<<20))
	cancelled("write", err)
	_, err = f.Finish()
	cancelled("finish", err)
	_, err = ss.Create(ctx, "late")
	cancelled("create", err)
	_, err = ss.WriteDir(ctx, nil)
	cancelled("write folder", err)
	_, err = ss.Commit(ctx, core.Object{}, NewBackup(2))
	cancelled("commit", err)
	_, err = in.Read(make([]byte, 10))
	cancelled("read", err)
	_, err = s.Open(ctx, entries[0].Object.ID)
	cancelled("open", err)
	_, err = s.ReadDir(ctx, a.Root.ID)
	cancelled("read folder", err)
	_, err = s.List(ctx)
	cancelled("list", err)
	_, err = s.Begin(ctx)
	cancelled("begin", err)
	cancelled("delete", s.Delete(ctx, a.ID))
	cancelled("mark", s.Mark(ctx, a.ID, repository.Mark{}))
	_, err = s.Maintain(ctx)
	cancelled("maintain", err)
	_, err = s.Space(ctx)
	cancelled("space", err)
	if got := ids(list(t, s)); !cmp.Equal(got, []string{a.ID}) {
		t.Errorf("%v listed, want only %s", got, a.ID)
	}
}

func testDeduplication(t *testing.T, h Harness) {
	if !h.Deduplicates {
		t.Skip("this store keeps every copy")
	}
	s := open(t, h)
	store := func(s repository.Store, n int) repository.Record {
		ss := begin(t, s)
		root := writeDir(t, ss, file("a", put(t, ss, Random(1, 12<<20))), file("b", put(t, ss, Random(2, 70_000))))
		return commit(t, ss, root, NewBackup(n))
	}
	first := store(s, 1)
	if first.StoredBytes < 12<<20 || first.StoredBytes > 13<<20 {
		t.Errorf("first backup of 12 MB that do not compress stored %d bytes", first.StoredBytes)
	}
	for i, st := range []repository.Store{s, open(t, h)} {
		if again := store(st, 2+i); again.StoredBytes*100 > first.StoredBytes {
			t.Errorf("equal backup stored %d bytes after %d, want under 1 %%", again.StoredBytes, first.StoredBytes)
		}
	}
}

func testMaintain(t *testing.T, h Harness) {
	s := open(t, h)
	ss := begin(t, s) // stays open over the maintenance
	during := put(t, ss, Random(5, 22<<20))
	var want []repository.Record
	for n := range 20 {
		want = append(want, small(t, s, n+1))
	}
	if err := s.Delete(t.Context(), want[0].ID); err != nil {
		t.Fatal(err)
	}
	want = want[1:]
	for range 2 {
		if _, err := s.Maintain(t.Context()); err != nil {
			t.Fatalf("maintain: %v", err)
		}
	}
	want = append(want, commit(t, ss, writeDir(t, ss, file("f", during)), NewBackup(100)))
	for _, st := range []repository.Store{s, open(t, h)} {
		got := list(t, st)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("after maintenance (-want +got):\n%s", diff)
		}
		for i, r := range got {
			entries, err := st.ReadDir(t.Context(), r.Root.ID)
			if err != nil {
				t.Fatal(err)
			}
			expect := fmt.Appendf(nil, "content %d", i+2)
			if i == len(got)-1 {
				expect = Random(5, 22<<20)
			}
			if !bytes.Equal(readAll(t, st, entries[0].Object.ID), expect) {
				t.Errorf("backup %s came back with other bytes", r.ID)
			}
		}
	}
}
