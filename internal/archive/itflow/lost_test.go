package itflow_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/archivetest"
	"github.com/backstay/backstay/internal/archive/itflow"
	"github.com/backstay/backstay/internal/core"
)

// TestWhatIsNotCarried names each kind of loss once, with its number.
func TestWhatIsNotCarried(t *testing.T) {
	_, warnings := write(t, archivetest.Sample(t, "itflow"))
	var got []string
	for _, w := range warnings {
		never := strings.HasPrefix(w.Message, "owners") || strings.Contains(w.Message, "not below uploads/") || strings.Contains(w.Message, "carries no config") || strings.Contains(w.Message, "carries no code")
		if w.Code != map[bool]string{true: archive.NeverCarried, false: "not-carried"}[never] || w.Object == "" {
			t.Errorf("%+v", w)
		}
		message, _, _ := strings.Cut(w.Message, " (and ")
		got = append(got, message)
	}
	want := []string{
		"it is not below uploads/, and ITFlow's archive carries nothing else",
		"extended attributes are not carried",
		"hard links are carried as files of their own",
		"its name is one that readers of zip files refuse",
		"its name is not UTF-8, and ITFlow's restore will give it another",
		"ITFlow's archive carries no links",
		"ITFlow's archive carries no config",
		"ITFlow's archive carries no code",
		"owners are not carried: what ITFlow restores belongs to the account that runs its restore",
	}
	sorted := cmp.Transformer("set", func(s []string) map[string]int {
		m := map[string]int{}
		for _, x := range s {
			m[x]++
		}
		return m
	})
	if diff := cmp.Diff(want, got, sorted); diff != "" {
		t.Error(diff)
	}
}

func TestNoFilesMakeADatabaseArchive(t *testing.T) {
	data, warnings := write(t, backup("SET NAMES 'utf8mb4';\n", nil))
	if len(warnings) != 1 || !strings.Contains(warnings[0].Message, "delete all uploads") {
		t.Error(warnings)
	}
	a := mustOpen(t, data, options())
	if files, sql := readAll(t, a); len(files) != 0 || sql != "SET NAMES 'utf8mb4';\n" || a.Info().Kind != "database" {
		t.Errorf("%v, %q, %+v", files, sql, a.Info())
	}
}

func TestNamesThatITFlowRefuses(t *testing.T) {
	data, warnings := write(t, backup("", map[string]string{"a..b": "x", "c": "y"}))
	if files, _ := readAll(t, mustOpen(t, data, options())); len(files) != 1 || files["uploads/c"] != "y" {
		t.Errorf("%v", files)
	}
	if len(warnings) != 2 || warnings[0].Object != "files/app/uploads/a..b" {
		t.Errorf("%v", warnings)
	}
}

func TestWriteNeeds(t *testing.T) {
	w := &strings.Builder{}
	_, err := itflow.New().Write(t.Context(), w, backup("", nil), archive.WriteOptions{})
	if core.CodeOf(err) != core.CodeUsage || !strings.Contains(core.HintOf(err), "--password-file") {
		t.Errorf("without a password: %v", err)
	}
	content := backup("", nil)
	content.Dump, content.DumpSize = nil, nil
	_, err = itflow.New().Write(t.Context(), w, content, archive.WriteOptions{Password: core.NewSecret(password)})
	if core.CodeOf(err) != core.CodeUsage || core.HintOf(err) == "" {
		t.Errorf("without a database: %v", err)
	}
	if w.Len() > 0 {
		t.Errorf("%d bytes are written all the same", w.Len())
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(full(f, inner(f, member{name: "a", body: []byte("x")})))
	f.Add(streamed(f))
	f.Add(build(f, dump, versionOf("database", dump)))
	var plain []byte
	for _, h := range hostile() {
		if data := h.Build(f); len(data) < 10_000 {
			plain = data
			f.Add(data)
		}
	}
	f.Add(plain)
	f.Fuzz(func(t *testing.T, data []byte) {
		opt := options()
		opt.ScratchDir = t.TempDir()
		opt.Limits = archive.Limits{MaxBytes: 1 << 20, MaxEntries: 100}
		a, err := open(t, data, opt)
		if err != nil {
			return
		}
		defer func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}()
		if flaws, err := a.Check(t.Context()); err == nil && len(flaws) == 0 {
			readAll(t, a)
		}
	})
}
