package engine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/repository/memory"
)

// chunkOf returns the path of a table's first chunk.
func chunkOf(t *testing.T, o *engine.Open, table string) string {
	t.Helper()
	for _, tb := range o.Index.Tables {
		if tb.Name == table {
			return tb.Chunks[0].File
		}
	}
	t.Fatalf("no table %s", table)
	return ""
}

// TestVerifyFindsDamage tampers with a backup in every way that the store
// itself could not notice, because what it has is what was written, and expects
// verify to name the place.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	store := memory.New()
	e := enginetest.New(t, store)
	rec := enginetest.Find(t, e, enginetest.Backup(t, e, a.Target).ID)
	whole := enginetest.Whole(t, e, rec.ID)
	if whole.Rows != 250 || whole.Bytes == 0 {
		t.Errorf("verified %+v", whole)
	}
	if v := enginetest.Find(t, e, rec.ID).Verified; v == nil {
		t.Error("the verification is not recorded")
	}
	o := mustOpen(t, e, rec.ID)
	chunkA, chunkB, chunkBag := chunkOf(t, o, "a"), chunkOf(t, o, "b"), chunkOf(t, o, "bag")
	content := map[string][]byte{}
	for p, entry := range enginetest.PathsOf(t, store, rec) {
		if entry.Type != core.TypeDir {
			content[p] = enginetest.Read(t, store, entry.Object.ID)
		}
	}
	schemaA := o.Index.Tables[0].Schema
	view := o.Index.Objects[0].File
	set := func(at string, to func([]byte) []byte) enginetest.Tamper {
		return enginetest.Tamper{Change: func(p string, data []byte) []byte {
			if p == at {
				return to(data)
			}
			return data
		}}
	}
	remove := func(at string) enginetest.Tamper { return set(at, func([]byte) []byte { return nil }) }
	manifest := func(change func(*core.Manifest)) enginetest.Tamper {
		return set("manifest.json", func(data []byte) []byte {
			var m core.Manifest
			if err := json.Unmarshal(data, &m); err != nil {
				t.Fatal(err)
			}
			change(&m)
			out, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			return out
		})
	}
	swapped := enginetest.Tamper{Change: func(p string, data []byte) []byte {
		switch p {
		case chunkA:
			return content[chunkB]
		case chunkB:
			return content[chunkA]
		}
		return data
	}}
	firstLine := func(data []byte) []byte { line, _, _ := bytes.Cut(data, []byte("\n")); return append(line, '\n') }
	for _, c := range []struct {
		name  string
		how   enginetest.Tamper
		paths []string
	}{
		{"a byte of a chunk", set(chunkA, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), []string{chunkA}},
		{"a row twice", set(chunkA, func(b []byte) []byte { return append(firstLine(b), b...) }), []string{chunkA}},
		{"a row lost", set(chunkBag, func(b []byte) []byte { return b[len(firstLine(b)):] }), []string{chunkBag}},
		{"the last line end lost", set(chunkA, func(b []byte) []byte { return b[:len(b)-1] }), []string{chunkA}},
		{"an empty chunk", set(chunkA, func([]byte) []byte { return []byte{} }), []string{chunkA}},
		{"a missing chunk", remove(chunkB), []string{chunkB}},
		{"two chunks swapped", swapped, []string{chunkA, chunkB}},
		{"a missing definition", remove(schemaA), []string{schemaA}},
		{"a missing view", remove(view), []string{view}},
		{"the index changed", set("database/index.json", func(b []byte) []byte { return append(b, '\n') }), []string{"database/index.json"}},
		{"the index missing", remove("database/index.json"), []string{"database/index.json"}},
		{"the manifest missing", remove("manifest.json"), []string{"manifest.json"}},
		{"the manifest of another backup", manifest(func(m *core.Manifest) { m.ID = "another" }), []string{"manifest.json"}},
		{"the manifest cut", set("manifest.json", func(b []byte) []byte { return b[:len(b)/2] }), []string{"manifest.json"}},
		{"a missing file", remove("files/app/uploads/a.txt"), []string{"files/app"}},
		{"a missing link", remove("files/app/uploads/link"), []string{"files/app"}},
		{"a file too many", enginetest.Tamper{More: map[string]string{"files/app/uploads/more.txt": "x"}}, []string{"files/app"}},
		{"a longer file", set("files/app/uploads/a.txt", func(b []byte) []byte { return append(b, 'x') }), []string{"files/app"}},
		{"another count of files", manifest(func(m *core.Manifest) { m.Trees[1].Files++ }), []string{""}},
		{"another count of folders", manifest(func(m *core.Manifest) { m.Trees[0].Dirs-- }), []string{""}},
		{"another count of bytes", manifest(func(m *core.Manifest) { m.Trees[0].Bytes++ }), []string{""}},
		{"another count of rows", manifest(func(m *core.Manifest) { m.Database.Rows++ }), []string{"database"}},
		{"another count of tables", manifest(func(m *core.Manifest) { m.Database.Tables-- }), []string{"database"}},
		{"a tree that is not there", manifest(func(m *core.Manifest) {
			m.Trees = append(m.Trees, core.Tree{Component: "code", Place: "app", Files: 1})
		}), []string{"code/app"}},
		{"extras that are not there", manifest(func(m *core.Manifest) { m.Trees[0].Extra = "files.extra.jsonl" }), []string{"files.extra.jsonl"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := enginetest.New(t, enginetest.Tampered(t, store, rec, c.how))
			v, err := e.Verify(t.Context(), enginetest.Find(t, e, rec.ID))
			if err != nil {
				t.Fatal(err)
			}
			var paths []string
			for _, d := range v.Damaged {
				paths = append(paths, d.Path)
				if d.Message == "" {
					t.Errorf("%s: no message", d.Path)
				}
				if strings.HasPrefix(d.Path, "database/data/") && d.Table == "" {
					t.Errorf("%s: no table is named", d.Path)
				}
			}
			want := slices.Sorted(slices.Values(c.paths))
			if c.paths[0] == "" && len(paths) == 1 {
				want = paths // which of the trees it is depends on their order
			}
			if diff := cmp.Diff(want, paths); diff != "" {
				t.Errorf("damaged (-want +got):\n%s\n%+v", diff, v.Damaged)
			}
			if enginetest.Find(t, e, rec.ID).Verified != nil {
				t.Error("a damaged backup is marked as verified")
			}
		})
	}
}

// TestVerifyReportsTheStore names what the store itself finds damaged, file or
// folder, and goes on to the rest.
func TestVerifyReportsTheStore(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	store := faulty.New(memory.New())
	e := enginetest.New(t, store)
	rec := enginetest.Find(t, e, enginetest.Backup(t, e, a.Target).ID)
	chunk := chunkOf(t, mustOpen(t, e, rec.ID), "b")
	paths := enginetest.PathsOf(t, store, rec)
	id := func(p string) string { return string(paths[p].Object.ID) }
	for _, c := range []struct {
		fault faulty.Fault
		want  []string
	}{
		{faulty.On(faulty.Open).Of(id(chunk)).Damage(), []string{chunk}},
		{faulty.On(faulty.Read).Of(id(chunk)).Damage(), []string{chunk}},
		{faulty.On(faulty.Read).Of(id("files/app/uploads/deep/b.txt")).Damage(), []string{"files/app/uploads/deep/b.txt"}},
		{faulty.On(faulty.Read).Of(id("files/app/uploads/link")).Damage(), []string{"files/app/uploads/link"}},
		{faulty.On(faulty.Read).Of(id("manifest.json")).Damage(), []string{"manifest.json"}},
		{faulty.On(faulty.Read).Of(id("database/index.json")).Damage(), []string{"database/index.json"}},
		{faulty.On(faulty.Read).Of(id(chunk)).Flip(), []string{chunk}},
		// What is below a folder is missing too.
		{faulty.On(faulty.ReadDir).Of(id("files/app/uploads/deep")).Damage(), []string{"files/app", "files/app/uploads/deep"}},
	} {
		store.Set(c.fault)
		v, err := e.Verify(t.Context(), rec)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range v.Damaged {
			got = append(got, d.Path)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("damaged (-want +got):\n%s", diff)
		}
	}

	// Short reads are no damage; a store that is gone is an error, not damage.
	store.Set(faulty.On(faulty.Read).Short())
	enginetest.Whole(t, e, rec.ID)
	store.Set(faulty.On(faulty.Open).Nth(5).Fail(errGone))
	if v, err := e.Verify(t.Context(), rec); !errors.Is(err, errGone) {
		t.Errorf("%+v, %v", v, err)
	}
	// That it cannot be recorded makes a backup no less whole.
	store.Set(faulty.On(faulty.Mark).Fail(errGone))
	enginetest.Whole(t, e, rec.ID)
}

// TestRestoreOfDamaged restores damaged backups: it names what is affected and
// changes nothing; what is whole can be restored.
func TestRestoreOfDamaged(t *testing.T) {
	t.Parallel()
	a := enginetest.NewApp(t)
	store := faulty.New(memory.New())
	e := enginetest.New(t, store)
	rec := enginetest.Find(t, e, enginetest.Backup(t, e, a.Target).ID)
	o := mustOpen(t, e, rec.ID)
	chunk := chunkOf(t, o, "b")
	paths := enginetest.PathsOf(t, store, rec)
	id := func(p string) string { return string(paths[p].Object.ID) }
	a.Write(t, "uploads/a.txt", "live now\n")
	mysqltest.ExecIn(t, a.DB, "DELETE FROM a WHERE id > 50", "DROP TABLE b")
	before := a.State(t)
	put := func(req restore.Request) error {
		// A safety backup would share what is damaged.
		req.Target, req.Record, req.NoSafetyBackup = a.Target, rec, true
		r, err := restore.Make(t.Context(), e, req)
		if err != nil {
			return err
		}
		_, err = r.Run(t.Context())
		return err
	}
	for _, c := range []struct {
		fault faulty.Fault
		req   restore.Request
		parts []string
	}{
		{faulty.On(faulty.Read).Of(id(chunk)).Damage(), restore.Request{}, []string{"nothing was changed", "table b (" + chunk + ")", "--only, --table, --path"}},
		{faulty.On(faulty.Read).Of(id(chunk)).Flip(), restore.Request{Tables: []string{"a", "b"}}, []string{"nothing was changed", "table b (" + chunk + ")"}},
		{faulty.On(faulty.Open).Of(id("files/app/uploads/c.txt")).Damage(), restore.Request{}, []string{"nothing was changed", "files/app/uploads/c.txt"}},
		{faulty.On(faulty.ReadDir).Of(id("files/app/uploads/deep")).Damage(), restore.Request{Only: []core.Component{core.ComponentFiles}}, []string{"nothing was changed", "files/app/uploads/deep"}},
		{faulty.On(faulty.Read).Of(id("manifest.json")).Damage(), restore.Request{}, []string{"manifest.json"}},
		{faulty.On(faulty.Read).Of(id("database/index.json")).Damage(), restore.Request{}, []string{"database/index.json"}},
	} {
		store.Set(c.fault)
		enginetest.WantError(t, put(c.req), core.CodeDamage, c.parts...)
		store.Set()
		if diff := cmp.Diff(before, a.State(t)); diff != "" {
			t.Fatalf("the app was changed (-was +is):\n%s", diff)
		}
	}
	// A table beside the damaged one, a file beside the damaged one.
	store.Set(faulty.On(faulty.Read).Of(id(chunk)).Damage(), faulty.On(faulty.Open).Of(id("files/app/uploads/c.txt")).Damage())
	for _, req := range []restore.Request{{Tables: []string{"a"}}, {Paths: []string{"uploads/a.txt"}}, {Only: []core.Component{core.ComponentConfig}}} {
		if err := put(req); err != nil {
			t.Errorf("%+v: %v", req, err)
		}
	}
	if got := mysqltest.Query(t, a.DB, "SELECT COUNT(*) FROM a"); got[0][0].Text != "100" {
		t.Errorf("table a has %s rows", got[0][0].Text)
	}
	store.Set()
	if err := put(restore.Request{}); err != nil {
		t.Fatal(err)
	}
	if got := mysqltest.Query(t, a.DB, "SELECT COUNT(*) FROM b"); got[0][0].Text != "100" {
		t.Errorf("table b has %s rows", got[0][0].Text)
	}
}
