package evidence_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// hostile is what a name may be: it must be text on every page.
const hostile = `<script>alert("x")</script>&'` + "`" + `</svg>{{.App}}`

func store(t *testing.T) evidence.Store {
	t.Helper()
	return evidence.Store{Dir: filepath.Join(t.TempDir(), "evidence")}
}

// drillOf returns a report as a drill makes one.
func drillOf(app string, at time.Time) evidence.Drill {
	return evidence.Drill{
		ID: fmt.Sprintf("%s-%s-abc123", app, at.UTC().Format("20060102-150405")), Run: 7, App: app, Profile: "itflow", Backstay: "1.2.3", Host: "vault", Trigger: "schedule",
		Started: at, Finished: at.Add(95 * time.Second), Mode: evidence.DrillFull, Passed: true,
		Backup: evidence.DrilledBackup{
			ID: "0123456789abcdef", Time: at.Add(-9 * time.Hour), Host: "web", Trigger: "schedule", Bytes: 5 << 30, Server: "mariadb 10.11.19", Versions: map[string]string{"itflow": "25.11"},
			Components: core.ComponentSizes{core.ComponentDatabase: {Tables: 132, Rows: 4821733, Bytes: 4 << 30}, core.ComponentFiles: {Files: 812, Bytes: 1 << 30}},
		},
		Place: evidence.Place{Server: "mariadb 11.8.3, the installed one that fits best", Private: true, PHP: "8.4.1", Isolation: []string{"a network namespace without a way out"}, FreeBytes: 100 << 30, UsedBytes: 6 << 30},
		Steps: []evidence.Step{{Name: "server", DurationMS: 1800, Recovery: true}, {Name: "restore database", DurationMS: 61000, Bytes: 4 << 30, Recovery: true}, {Name: "read back", DurationMS: 12000}},
		Proofs: []core.Proof{
			{Name: "rows", Outcome: core.ProofOK, Message: "all rows are as captured", Count: 4821733},
			{Name: "login", Outcome: core.ProofSkipped, Message: "no account is configured", Hint: "drill: {login: …}"},
			{Name: "plan", Outcome: core.ProofNote, Message: "another version of the server"},
		},
		RPO: evidence.Objective{MeasuredMS: 9 * 3600_000, TargetMS: 24 * 3600_000},
		RTO: evidence.Objective{MeasuredMS: 62800, TargetMS: 60000, Missed: true},
	}
}

func save(t *testing.T, s evidence.Store, d evidence.Drill) {
	t.Helper()
	if err := s.Save(d); err != nil {
		t.Fatal(err)
	}
}

func TestSavedReportComesBack(t *testing.T) {
	s := store(t)
	d := drillOf("desk", noon)
	save(t, s, d)
	r, err := s.Report(d.ID)
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.Public()
	if err != nil {
		t.Fatal(err)
	}
	want := d
	want.Schema, want.Signer, want.PageSHA256 = evidence.DrillSchema, key.Fingerprint(), r.Drill.PageSHA256
	if diff := cmp.Diff(want, r.Drill); diff != "" {
		t.Error(diff)
	}
	if !key.Signed(r.JSON, r.JSONSignature) || !key.Signed(r.HTML, r.HTMLSignature) || r.Signer.Fingerprint() != key.Fingerprint() {
		t.Error("the report's signatures are not the key's")
	}
	if err := s.Save(d); err == nil {
		t.Error("a report was replaced")
	}
	if again, err := s.Report(d.ID); err != nil || !bytes.Equal(again.JSON, r.JSON) {
		t.Errorf("the second save changed the first: %v", err)
	}
	for path, mode := range map[string]os.FileMode{"instance.key": 0o600, "instance.pub": 0o600} {
		info, err := os.Stat(filepath.Join(s.Dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

func TestList(t *testing.T) {
	s := store(t)
	if none, err := s.Drills(""); err != nil || none != nil {
		t.Errorf("without reports: %v, %v", none, err)
	}
	for i, app := range []string{"desk", "desk-two", "desk", "wiki"} {
		save(t, s, drillOf(app, noon.Add(time.Duration(i)*time.Hour)))
	}
	for app, want := range map[string][]int{"": {12, 13, 14, 15}, "desk": {12, 14}, "desk-two": {13}, "none": nil} {
		list, err := s.Drills(app)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, d := range list {
			got = append(got, d.Started.Hour())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("app %q: %s", app, diff)
		}
	}
	latest, err := s.Latest("desk")
	if err != nil || latest == nil || latest.Started.Hour() != 14 {
		t.Errorf("the latest is %v, %v", latest, err)
	}
	for _, id := range []string{"", "../instance", "desk/x", "nothing"} {
		if _, err := s.Report(id); core.CodeOf(err) != core.CodeNotFound {
			t.Errorf("report %q: %v", id, err)
		}
	}
}

// TestEveryByteCounts changes each byte of a report and of its signatures, one
// at a time.
func TestEveryByteCounts(t *testing.T) {
	s := store(t)
	d := drillOf("desk", noon)
	d.Proofs = d.Proofs[:1]
	save(t, s, d)
	path := filepath.Join(s.Dir, "drills", d.ID)
	for _, end := range []string{".json", ".json.sig", ".html", ".html.sig"} {
		good, err := os.ReadFile(path + end)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			text := bytes.Clone(good)
			text[i] ^= 1 << (i % 8)
			if err := os.WriteFile(path+end, text, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := s.Report(d.ID)
			if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), d.ID) {
				t.Fatalf("byte %d of %s was changed: %v", i, end, err)
			}
			if strings.HasPrefix(end, ".json") {
				if list, err := s.Drills("desk"); len(list) != 0 || core.CodeOf(err) != core.CodeDamage {
					t.Fatalf("byte %d of %s was changed, and the list is %v, %v", i, end, list, err)
				}
			}
		}
		for _, text := range [][]byte{nil, good[:len(good)-1], append(bytes.Clone(good), '\n')} {
			if err := os.WriteFile(path+end, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Report(d.ID); core.CodeOf(err) != core.CodeDamage {
				t.Fatalf("%s of %d bytes: %v", end, len(text), err)
			}
		}
		if err := os.WriteFile(path+end, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Report(d.ID); err != nil {
		t.Errorf("with all bytes back: %v", err)
	}
}

// TestForged: reports that are well signed, and not what they are taken for.
func TestForged(t *testing.T) {
	rename := func(t *testing.T, s evidence.Store, from, to string, ends ...string) {
		t.Helper()
		for _, end := range ends {
			if err := os.Rename(filepath.Join(s.Dir, "drills", from+end), filepath.Join(s.Dir, "drills", to+end)); err != nil {
				t.Fatal(err)
			}
		}
	}
	good, other := drillOf("desk", noon), drillOf("desk", noon.Add(time.Hour))
	other.Passed = false
	for name, forge := range map[string]func(t *testing.T, s evidence.Store){
		"another report under its name": func(t *testing.T, s evidence.Store) {
			rename(t, s, good.ID, other.ID, ".json", ".json.sig", ".html", ".html.sig")
		},
		"another report's page":      func(t *testing.T, s evidence.Store) { rename(t, s, good.ID, other.ID, ".html", ".html.sig") },
		"another report's signature": func(t *testing.T, s evidence.Store) { rename(t, s, good.ID, other.ID, ".json.sig") },
		"no signature": func(t *testing.T, s evidence.Store) {
			if err := os.Remove(filepath.Join(s.Dir, "drills", other.ID+".json.sig")); err != nil {
				t.Fatal(err)
			}
		},
		"another installation's": func(t *testing.T, s evidence.Store) {
			foreign := store(t)
			d := other
			d.Passed = true
			save(t, foreign, d)
			for _, end := range []string{".json", ".json.sig", ".html", ".html.sig"} {
				if err := os.Rename(filepath.Join(foreign.Dir, "drills", d.ID+end), filepath.Join(s.Dir, "drills", d.ID+end)); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			save(t, s, good)
			save(t, s, other)
			forge(t, s)
			if r, err := s.Report(other.ID); core.CodeOf(err) != core.CodeDamage {
				t.Errorf("it was taken: %v, %v", r.Drill.ID, err)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	s := store(t)
	d := drillOf("desk", noon)
	save(t, s, d)
	move := func(from, to string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(s.Dir, to)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(s.Dir, from), filepath.Join(s.Dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	// The public half is written anew, as after a kill between the two.
	move("instance.pub", "aside.pub")
	if _, err := s.Report(d.ID); err != nil {
		t.Errorf("without the public key's file: %v", err)
	}
	before, err := os.ReadFile(filepath.Join(s.Dir, "aside.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if key, err := s.Public(); err != nil || !bytes.Equal(key.PEM(), before) {
		t.Errorf("the public key came back as another: %v", err)
	}
	// A key that is gone is not made anew in silence.
	move("instance.key", "aside.key")
	if err := s.Save(drillOf("desk", noon.Add(time.Hour))); core.CodeOf(err) != core.CodeDamage || core.HintOf(err) == "" {
		t.Errorf("without the key: %v", err)
	}
	if _, err := s.Report(d.ID); err != nil {
		t.Errorf("reports can be verified without the key: %v", err)
	}
	// Begun anew on purpose, former reports stay good.
	move("instance.pub", "former/2026.pub")
	save(t, s, drillOf("desk", noon.Add(time.Hour)))
	if list, err := s.Drills("desk"); err != nil || len(list) != 2 {
		t.Errorf("with a former key: %d, %v", len(list), err)
	}
	// A public key that somebody exchanged is noticed.
	if err := os.WriteFile(filepath.Join(s.Dir, "instance.pub"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Public(); core.CodeOf(err) != core.CodeDamage {
		t.Errorf("with another public key: %v", err)
	}
	for name, text := range map[string]string{"empty": "", "noise": "noise", "a public key": string(before)} {
		if err := os.WriteFile(filepath.Join(s.Dir, "instance.key"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Public(); core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), "instance.key") {
			t.Errorf("a key's file that is %s: %v", name, err)
		}
	}
}

// TestManyMakeOneKey has processes make the key at the same time.
func TestManyMakeOneKey(t *testing.T) {
	if dir := os.Getenv("EVIDENCE_TEST_KEY_IN"); dir != "" {
		key, err := evidence.Store{Dir: dir}.Public()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("key %s\n", key.Fingerprint())
		return
	}
	for range 5 {
		s := store(t)
		const many = 6
		var found [many]string
		var wait sync.WaitGroup
		for i := range many {
			wait.Add(1)
			go func() {
				defer wait.Done()
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestManyMakeOneKey$")
				cmd.Env = append(os.Environ(), "EVIDENCE_TEST_KEY_IN="+s.Dir)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Errorf("%v: %s", err, out)
				}
				found[i], _, _ = strings.Cut(string(out), "\n")
			}()
		}
		wait.Wait()
		for _, f := range found {
			if f != found[0] || !strings.HasPrefix(f, "key ") {
				t.Fatalf("they have %q", found)
			}
		}
		files, err := filepath.Glob(filepath.Join(s.Dir, ".new-*"))
		if err != nil || len(files) > 0 {
			t.Errorf("left: %v, %v", files, err)
		}
	}
}

// failing is a disk on which the nth change fails, by an error or by the end of
// the process: then what comes after it does not happen either.
type failing struct {
	n     int
	ended bool // nothing works any more
	end   bool
}

var errInjected = errors.New("injected")

func (f *failing) may() bool {
	if f.ended {
		return false
	}
	f.n--
	if f.n == 0 {
		f.ended = f.end
		return false
	}
	return true
}

func (f *failing) do(change func() error) error {
	if !f.may() {
		return errInjected
	}
	return change()
}

func (f *failing) Write(path string, text []byte) error {
	if !f.may() {
		if !f.ended || f.n == 0 { // a part of it came to disk
			f.n--
			if err := os.WriteFile(path, text[:len(text)/2], 0o600); err != nil {
				return err
			}
		}
		return errInjected
	}
	return os.WriteFile(path, text, 0o600)
}
func (f *failing) Rename(from, to string) error {
	return f.do(func() error { return os.Rename(from, to) })
}
func (f *failing) Remove(path string) error { return f.do(func() error { return os.Remove(path) }) }
func (f *failing) SyncDir(string) error     { return f.do(func() error { return nil }) }

// TestEndedAnywhere ends the saving of a report at each change to the disk: what
// is listed is whole, an error leaves nothing, and what a kill leaves is swept.
func TestEndedAnywhere(t *testing.T) {
	for _, kill := range []bool{false, true} {
		reached := false
		for n := 1; !reached; n++ {
			if n > 100 {
				t.Fatal("it never got to its end")
			}
			s := store(t)
			if _, err := s.Public(); err != nil {
				t.Fatal(err)
			}
			d := drillOf("desk", noon)
			s.Disk = &failing{n: n, end: kill}
			err := s.Save(d)
			reached = err == nil
			s.Disk = nil
			list, lerr := s.Drills("desk")
			if lerr != nil {
				t.Fatalf("kill %v at %d: %v", kill, n, lerr)
			}
			if len(list) == 1 {
				if _, err := s.Report(d.ID); err != nil {
					t.Fatalf("kill %v at %d: listed and not whole: %v", kill, n, err)
				}
			}
			if reached {
				if len(list) != 1 {
					t.Fatal("it was saved and is not listed")
				}
				break
			}
			if !errors.Is(err, errInjected) || core.CodeOf(err) != core.CodeDisk {
				t.Errorf("at %d: %v", n, err)
			}
			if !kill && len(list) != 0 {
				t.Errorf("at %d: it failed, and is listed", n)
			}
			if len(list) == 0 {
				if _, err := s.Trim(time.Now().Add(2 * time.Hour)); err != nil {
					t.Fatal(err)
				}
				files, err := os.ReadDir(filepath.Join(s.Dir, "drills"))
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				if len(files) > 0 {
					t.Errorf("kill %v at %d left %v", kill, n, files)
				}
				save(t, s, d) // and the next goes well
			}
		}
	}
}

// TestDiskFull fills a disk that is as small as it takes.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := evidence.Store{Dir: filepath.Join(dir, "evidence")}
	saved := 0
	for i := range 20 {
		d := drillOf("desk", noon.Add(time.Duration(i)*time.Hour))
		err := s.Save(d)
		if err == nil {
			saved++
			continue
		}
		if core.CodeOf(err) != core.CodeDisk || !errors.Is(err, syscall.ENOSPC) || core.HintOf(err) == "" {
			t.Errorf("a full disk: %v", err)
		}
		left, err := filepath.Glob(filepath.Join(s.Dir, "drills", d.ID+"*"))
		temps, terr := filepath.Glob(filepath.Join(s.Dir, "drills", ".new-*"))
		if err != nil || terr != nil || len(left)+len(temps) > 0 {
			t.Errorf("left: %v %v", left, temps)
		}
		break
	}
	if saved == 0 || saved == 20 {
		t.Fatalf("%d were saved: the disk has the wrong size", saved)
	}
	if list, err := s.Drills(""); err != nil || len(list) != saved {
		t.Errorf("%d were saved, %d are listed: %v", saved, len(list), err)
	}
}

// TestOpenSSL verifies as docs/evidence.md says that anybody can.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	s := store(t)
	d := drillOf("desk", noon)
	save(t, s, d)
	pub := filepath.Join(s.Dir, "instance.pub")
	key, err := s.Public()
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{".json", ".html"} {
		path := filepath.Join(s.Dir, "drills", d.ID+end)
		verify := func() ([]byte, error) {
			return exec.CommandContext(t.Context(), openssl, "pkeyutl", "-verify", "-pubin", "-inkey", pub, "-rawin", "-in", path, "-sigfile", path+".sig").CombinedOutput()
		}
		if out, err := verify(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := verify(); err == nil {
			t.Errorf("openssl takes a changed report: %s", out)
		}
	}
	der, err := exec.CommandContext(t.Context(), openssl, "pkey", "-pubin", "-in", pub, "-outform", "DER").Output()
	if err != nil {
		t.Fatal(err)
	}
	sum := exec.CommandContext(t.Context(), openssl, "dgst", "-sha256", "-r")
	sum.Stdin = bytes.NewReader(der)
	out, err := sum.Output()
	if err != nil || !strings.HasPrefix(string(out), key.Fingerprint()) {
		t.Errorf("openssl says %s of the fingerprint %s: %v", out, key.Fingerprint(), err)
	}
}

func TestTrim(t *testing.T) {
	s := store(t)
	for i := range 60 {
		save(t, s, drillOf("old", noon.AddDate(0, 0, -500-i)))
	}
	save(t, s, drillOf("wiki", noon.AddDate(0, 0, -500)))
	removed, err := s.Trim(noon)
	if err != nil || removed != 10 {
		t.Errorf("removed %d: %v", removed, err)
	}
	for app, want := range map[string]int{"old": 50, "wiki": 1} {
		if list, err := s.Drills(app); err != nil || len(list) != want {
			t.Errorf("%s: %d, %v", app, len(list), err)
		}
	}
	files, err := os.ReadDir(filepath.Join(s.Dir, "drills"))
	if err != nil || len(files) != 51*4 {
		t.Errorf("%d files: %v", len(files), err)
	}
}

func TestTrend(t *testing.T) {
	a, b := drillOf("desk", noon), drillOf("desk", noon.Add(-time.Hour))
	a.Passed = false
	got := evidence.Trend([]evidence.Drill{a, b})
	want := []evidence.Point{
		{Time: b.Started, Report: b.ID, Passed: true, RTOMS: 62800, RTOTargetMS: 60000, RPOMS: 9 * 3600_000, RPOTargetMS: 24 * 3600_000, DurationMS: 95000, Bytes: 5 << 30},
		{Time: a.Started, Report: a.ID, RTOTargetMS: 60000, RPOMS: 9 * 3600_000, RPOTargetMS: 24 * 3600_000, DurationMS: 95000, Bytes: 5 << 30},
	}
	if diff := cmp.Diff(map[string][]evidence.Point{"desk": want}, got); diff != "" {
		t.Error(diff)
	}
}
