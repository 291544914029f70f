package drill_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/drill"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository/memory"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

func run(t *testing.T, e *engine.Engine, req drill.Request) evidence.Drill {
	t.Helper()
	if req.Dir == "" {
		req.Dir = t.TempDir()
	}
	d, err := drill.Run(t.Context(), e, req)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range entries(t, req.Dir) {
		t.Errorf("the drill left %s in %s", name, req.Dir)
	}
	if len(d.Left) > 0 {
		t.Errorf("the drill says that it left %v", d.Left)
	}
	return d
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func outcomes(d evidence.Drill) string {
	text, _ := json.MarshalIndent(d, "", " ")
	return string(text)
}

func proof(d evidence.Drill, name string) *core.Proof {
	for i := range d.Proofs {
		if d.Proofs[i].Name == name {
			return &d.Proofs[i]
		}
	}
	return nil
}

func TestPasses(t *testing.T) {
	app := enginetest.NewApp(t)
	e := enginetest.New(t, memory.New())
	enginetest.Backup(t, e, app.Target)
	before := app.State(t)
	rec := enginetest.Find(t, e, app.Target.App.Name+"@latest")
	d := run(t, e, drill.Request{App: rec.App, Record: rec, RPO: time.Hour, RTO: time.Hour})
	if !d.Passed || d.Failure != "" {
		t.Fatalf("the drill failed: %s", outcomes(d))
	}
	rows, files := proof(d, drill.ProofRows), proof(d, drill.ProofFiles)
	if rows == nil || rows.Outcome != core.ProofOK || rows.Count != rec.Components[core.ComponentDatabase].Rows {
		t.Errorf("rows: %+v of %d", rows, rec.Components[core.ComponentDatabase].Rows)
	}
	if files == nil || files.Outcome != core.ProofOK || files.Count == 0 {
		t.Errorf("files: %+v", files)
	}
	if !d.Place.Private || d.Place.Server == "" || d.RTO.MeasuredMS <= 0 || d.RTO.Missed || d.RPO.TargetMS != time.Hour.Milliseconds() {
		t.Errorf("place and times: %s", outcomes(d))
	}
	var recovery int64
	for _, s := range d.Steps {
		if s.Recovery {
			recovery += s.DurationMS
		}
	}
	if recovery != d.RTO.MeasuredMS {
		t.Errorf("the time to recover is %d ms, its steps %d ms", d.RTO.MeasuredMS, recovery)
	}
	if after := app.State(t); len(after) != len(before) {
		t.Error("the drill changed the live app")
	}
}

// damage copies the newest backup into a repository of its own, with one file of
// it changed, and drills that.
func damage(t *testing.T, which string, change func([]byte) []byte) evidence.Drill {
	t.Helper()
	app := enginetest.NewApp(t)
	store := memory.New()
	e := enginetest.New(t, store)
	enginetest.Backup(t, e, app.Target)
	rec := enginetest.Find(t, e, app.Target.App.Name+"@latest")
	hit := ""
	bad := enginetest.Tampered(t, store, rec, enginetest.Tamper{Change: func(p string, data []byte) []byte {
		if hit == "" && strings.HasPrefix(p, which) && len(data) > 0 {
			hit = p
			return change(data)
		}
		return data
	}})
	if hit == "" {
		t.Fatalf("the backup has nothing that begins with %s", which)
	}
	e = enginetest.New(t, bad)
	d := run(t, e, drill.Request{App: rec.App, Record: enginetest.Find(t, e, rec.ID)})
	if d.Passed {
		t.Fatalf("the drill passed with %s damaged", hit)
	}
	named := false
	for _, p := range d.Failed() {
		named = named || strings.Contains(p.Object, hit)
	}
	if !named {
		t.Errorf("no failed proof names %s: %s", hit, outcomes(d))
	}
	if enginetest.Find(t, e, rec.ID).Damaged == nil {
		t.Error("the backup is not marked as damaged")
	}
	return d
}

func TestDamageIsNamed(t *testing.T) {
	flip := func(data []byte) []byte {
		data = append([]byte{}, data...)
		data[len(data)/2] ^= 1
		return data
	}
	gone := func([]byte) []byte { return nil }
	t.Run("chunk", func(t *testing.T) { damage(t, "database/data/", flip) })
	t.Run("chunk gone", func(t *testing.T) { damage(t, "database/data/", gone) })
	t.Run("schema object gone", func(t *testing.T) { damage(t, "database/schema/", gone) })
	t.Run("index", func(t *testing.T) { damage(t, "database/index.json", flip) })
}

func TestSample(t *testing.T) {
	app := enginetest.NewApp(t)
	e := enginetest.New(t, memory.New())
	enginetest.Backup(t, e, app.Target)
	rec := enginetest.Find(t, e, app.Target.App.Name+"@latest")
	d := run(t, e, drill.Request{App: rec.App, Record: rec, Sample: 0.5, Seed: 7})
	if !d.Passed || d.Mode != evidence.DrillSample || d.Sampled == nil || !d.Sampled.SchemaWhole {
		t.Fatalf("got %s", outcomes(d))
	}
	if rows := proof(d, drill.ProofRows); !strings.Contains(rows.Message, "sample") || rows.Count != d.Sampled.Rows {
		t.Errorf("rows: %+v, sampled %+v", rows, d.Sampled)
	}
	if d.Sampled.FilesOf != rec.Components[core.ComponentFiles].Files {
		t.Errorf("files: %+v of %d", d.Sampled, rec.Components[core.ComponentFiles].Files)
	}
}

func TestCannotBegin(t *testing.T) {
	app := enginetest.NewApp(t)
	e := enginetest.New(t, memory.New())
	enginetest.Backup(t, e, app.Target)
	rec := enginetest.Find(t, e, app.Target.App.Name+"@latest")
	for name, c := range map[string]struct {
		req  drill.Request
		want string
	}{
		"no server program": {drill.Request{Program: filepath.Join(t.TempDir(), "mariadbd")}, "mariadbd"},
		"no room":           {drill.Request{Disk: 1}, "drill.disk"},
		"no folder":         {drill.Request{Dir: filepath.Join(t.TempDir(), "missing")}, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			c.req.App, c.req.Record = rec.App, rec
			d, err := drill.Run(t.Context(), e, c.req)
			if err != nil {
				t.Fatal(err)
			}
			if d.Passed || !strings.Contains(d.Failure, c.want) || d.Hint == "" {
				t.Errorf("got %s", outcomes(d))
			}
		})
	}
}
