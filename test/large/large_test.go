// Package large exports, reads and imports archives that are larger than what
// other programs get wrong (4 GiB in plain zip files, 8 GiB in plain tar, 64 GiB
// in iTop's), and measures the memory of each process. It is for `make
// test-large`. Content is made up as it is read and compresses well, so that
// archives of 71 GiB need little disk.
package large

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	longVariable = "BACKSTAY_TEST_LONG"
	// sizeVariable is the size of what is archived, in GiB.
	sizeVariable = "BACKSTAY_TEST_LARGE_GIB"
	defaultGiB   = 71
	// zipGiB is enough for zip files: they have one border, at 4 GiB.
	zipGiB = 5

	goalMemory = 300 << 20 // of each process of backstay's
)

// ratio is what the configuration has to allow: content that is made up
// compresses better than any that is not.
const ratio = 1_000_000

func TestMain(m *testing.M) {
	if os.Getenv(stepVariable) != "" {
		os.Exit(m.Run()) // TestWrite, as a process of its own
	}
	os.Exit(run(m))
}

var program string // the built backstay

func run(m *testing.M) int {
	if os.Getenv(longVariable) == "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "backstay-built-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "backstay")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "github.com/backstay/backstay/cmd/backstay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build backstay: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// sizeOf returns how large an archive's content is to be, in bytes, and skips
// the test where it is not asked for.
func sizeOf(t *testing.T) int64 {
	t.Helper()
	if os.Getenv(longVariable) == "" {
		t.Skip("it takes an hour; " + longVariable + "=1 runs it, " + sizeVariable + "=2 with less")
	}
	gib, err := strconv.ParseInt(cmp.Or(os.Getenv(sizeVariable), strconv.Itoa(defaultGiB)), 10, 32)
	if err != nil || gib < 1 {
		t.Fatalf("%s: how many GiB is %q?", sizeVariable, os.Getenv(sizeVariable))
	}
	return gib << 30
}

// TestFile backs a large file up and brings it into another repository through
// an archive of backstay's own format.
func TestFile(t *testing.T) {
	p := newPlace(t, sizeOf(t))
	data := filepath.Join(p.dir, "data")
	p.ok(os.Mkdir(data, 0o700))
	sum := p.stamped(filepath.Join(data, "large.bin"))
	for _, site := range []string{"one", "two"} {
		p.configure(site, "generic", fmt.Sprintf("root: %q, files: [{path: %q}]", data, data))
	}
	archive := filepath.Join(p.dir, "out.tar.zst")
	p.backstay("one", "backup", "app")
	p.backstay("one", "export", "app@latest", archive)
	p.sizeSaid(archive)

	listing := p.measured("tar -tv", 0, nil, "tar", "-I", "zstd", "-tvf", archive)
	p.listed(listing, p.size, "large.bin")
	name := entryOf(t, listing, "large.bin")
	p.same("what tar reads", sum, p.hashed("tar -xO", 0, "tar", "-I", "zstd", "-xOf", archive, name))

	p.backstay("two", "import", "app", archive, "--dry-run")
	p.backstay("two", "import", "app", archive)
	p.backstay("two", "verify", "--all")
	stored := p.measured("backstay ls", goalMemory, nil, p.args("two", "ls", "app@latest", "files/app")...)
	if !strings.Contains(stored, "large.bin") {
		t.Errorf("the imported backup holds:\n%s", stored)
	}
	p.same("the imported file", sum, p.hashed("backstay cat", goalMemory, p.args("two", "cat", "app@latest", "files/app/large.bin")...))
}

// TestITop writes an archive of iTop's with a large dump.
func TestITop(t *testing.T) {
	p := newPlace(t, sizeOf(t))
	p.configure("one", "itop", fmt.Sprintf("root: %q", p.dir))
	archive := filepath.Join(p.dir, "itop.tar.gz")
	p.write("itop", archive)
	d := dumpOf(p.size, itopHead, itopTail)
	p.listed(p.measured("tar -tvz", 0, nil, "tar", "-tvzf", archive), d.bytes(), "itop-dump.sql")
	want := sha256.New()
	p.ok(d.write(t.Context(), want))
	p.same("the dump that tar reads", hex.EncodeToString(want.Sum(nil)), p.hashed("tar -xOz", 0, "tar", "-xOzf", archive, "itop-dump.sql"))
	p.wholeDump(d, p.backstay("one", "import", "app", archive, "--dry-run", "--json"))
}

// TestITFlow writes an archive of ITFlow's in which both the dump and a file
// are too large for a plain zip file.
func TestITFlow(t *testing.T) {
	p := newPlace(t, min(sizeOf(t), zipGiB<<30))
	p.configure("one", "itflow", fmt.Sprintf("root: %q", p.dir))
	archive, password := filepath.Join(p.dir, "itflow.zip"), filepath.Join(p.dir, "archive.pw")
	p.ok(os.WriteFile(password, []byte(zipPassword+"\n"), 0o600))
	p.write("itflow", archive)
	d := dumpOf(p.size, itflowHead, itflowTail)
	if _, err := exec.LookPath("unzip"); err == nil {
		p.listed(p.measured("unzip -l", 0, nil, "unzip", "-l", archive), d.bytes(), "db.sql")
	}
	p.wholeDump(d, p.backstay("one", "import", "app", archive, "--dry-run", "--json", "--password-file", password))
}

// wholeDump holds what a dry run says of a dump against what was written.
func (p *place) wholeDump(want *dump, said string) {
	p.t.Helper()
	var got struct {
		Imports []struct {
			Dump struct{ Rows, Bytes int64 }
		}
	}
	p.ok(json.Unmarshal([]byte(said), &got))
	if len(got.Imports) != 1 || got.Imports[0].Dump.Rows != want.lines*rowsPerLine || got.Imports[0].Dump.Bytes != want.bytes() {
		p.t.Errorf("a dump of %d rows in %d bytes is said to be:\n%s", want.lines*rowsPerLine, want.bytes(), said)
	}
}

// place is a folder with two sites, each with a repository of its own.
type place struct {
	t    *testing.T
	dir  string
	size int64
}

func newPlace(t *testing.T, size int64) *place {
	t.Helper()
	return &place{t: t, dir: t.TempDir(), size: size}
}

func (p *place) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// configure makes a site and its repository. more are fields of the app.
func (p *place) configure(site, profile, more string) {
	p.t.Helper()
	dir := filepath.Join(p.dir, site)
	p.ok(os.Mkdir(dir, 0o700))
	text := fmt.Sprintf("repository: {url: %q, password_file: %q}\nstate_dir: %q\narchives: {max_bytes: 2TiB, max_ratio: %d}\napps:\n  - {name: app, profile: %s, %s}\n",
		"file://"+dir+"/repository", dir+"/key", dir+"/state", ratio, profile, more)
	p.ok(os.WriteFile(dir+"/backstay.yaml", []byte(text), 0o600))
	p.backstay(site, "init")
}

func (p *place) args(site string, args ...string) []string {
	return append([]string{program, "--config", filepath.Join(p.dir, site, "backstay.yaml"), "--no-progress"}, args...)
}

// backstay runs a command of a site, whose memory is bounded.
func (p *place) backstay(site string, args ...string) string {
	p.t.Helper()
	return p.measured("backstay "+args[0]+strings.Repeat(" --dry-run", strings.Count(strings.Join(args, " "), " --dry-run")), goalMemory, nil, p.args(site, args...)...)
}

// measured runs a process, says what it took and returns what it printed. Its
// memory may reach most, 0 is any.
func (p *place) measured(what string, most int64, env []string, args ...string) string {
	p.t.Helper()
	var out strings.Builder
	p.process(what, most, env, &out, args)
	return out.String()
}

// hashed returns the SHA-256 of what a process prints.
func (p *place) hashed(what string, most int64, args ...string) string {
	p.t.Helper()
	sum := sha256.New()
	p.process(what, most, nil, sum, args)
	return hex.EncodeToString(sum.Sum(nil))
}

func (p *place) process(what string, most int64, env []string, out io.Writer, args []string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), args[0], args[1:]...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = out, &said
	cmd.Env = append(os.Environ(), env...)
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("%s: %v\n%s\n%v", what, err, &said, out)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		p.t.Fatal("this system does not tell how much memory a process took")
	}
	peak := usage.Maxrss << 10 // Linux gives kB
	p.t.Logf("%-26s %8.1f s %8.1f s of CPU %6d MiB at most", what, time.Since(begin).Seconds(),
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), peak>>20)
	if most > 0 && peak > most {
		p.t.Errorf("%s: %d MiB of memory, the goal is %d", what, peak>>20, most>>20)
	}
}

func (p *place) same(what, want, got string) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("%s has the SHA-256 %s instead of %s", what, got, want)
	}
}

// listed looks for an entry of that size in the listing of another program.
func (p *place) listed(listing string, size int64, name string) {
	p.t.Helper()
	for line := range strings.Lines(listing) {
		if strings.HasSuffix(strings.TrimSpace(line), name) && strings.Contains(" "+line, " "+strconv.FormatInt(size, 10)+" ") {
			return
		}
	}
	p.t.Errorf("there is no %s of %d bytes in:\n%s", name, size, listing)
}

// entryOf returns the full name of an entry in tar's listing.
func entryOf(t *testing.T, listing, name string) string {
	t.Helper()
	for line := range strings.Lines(listing) {
		fields := strings.Fields(line)
		if len(fields) > 0 && filepath.Base(fields[len(fields)-1]) == name {
			return fields[len(fields)-1]
		}
	}
	t.Fatalf("there is no %s in:\n%s", name, listing)
	return ""
}

func (p *place) sizeSaid(path string) {
	p.t.Helper()
	info, err := os.Stat(path)
	p.ok(err)
	p.t.Logf("%s: %d MiB of %d MiB", filepath.Base(path), info.Size()>>20, p.size>>20)
}

// stamped makes a sparse file that says at each MiB where that is, and returns
// its SHA-256.
func (p *place) stamped(path string) string {
	p.t.Helper()
	const every = 1 << 20
	f, err := os.Create(path)
	p.ok(err)
	p.ok(f.Truncate(p.size))
	sum := sha256.New()
	block := make([]byte, every)
	for at := int64(0); at < p.size; at += every {
		stamp := fmt.Appendf(block[:0], "%020d", at)
		_, err := f.WriteAt(stamp, at)
		p.ok(err)
		sum.Write(block)
	}
	p.ok(f.Close())
	return hex.EncodeToString(sum.Sum(nil))
}
