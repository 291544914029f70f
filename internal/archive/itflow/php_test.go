package itflow_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/archivetest"
	"github.com/backstay/backstay/internal/core"
)

// php runs a script with PHP's own zip library, which is the one that ITFlow
// reads and writes archives with.
func php(t *testing.T, script string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("php"); err != nil {
		t.Skip("there is no php here")
	}
	if out, err := exec.Command("php", "-m").Output(); err != nil || !strings.Contains(string(out), "\nzip\n") {
		t.Skip("php has no zip extension here")
	}
	cmd := exec.Command("php", append([]string{"-d", "error_reporting=-1", "-d", "display_errors=stderr", "-r", script, "--"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("php: %v\n%s", err, out)
	}
	return string(out)
}

// TestPHPReadsWhatIsWritten unpacks an archive as ITFlow's restore does.
func TestPHPReadsWhatIsWritten(t *testing.T) {
	large := strings.Repeat("a large file that is streamed\n", 100_000)
	noise := pseudorandom(2 << 20)
	sql := strings.Repeat("INSERT INTO `t` VALUES ('1');\n", 50_000)
	data, warnings := write(t, backup(sql, map[string]string{
		"a.txt": "x", "empty": "", "large.txt": large, "noise.bin": noise, "Ünïcode 漢字.txt": "unicode", "index.php": "\n",
	}))
	if len(warnings) != 1 || warnings[0].Object != "uploads" {
		t.Error(warnings)
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "backup.zip")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out := php(t, `
		[, $name, $password, $dir] = $argv;
		$zip = new ZipArchive();
		if ($zip->open($name, ZipArchive::CHECKCONS) !== true) { die("cannot open"); }
		$zip->setPassword($password);
		for ($i = 0; $i < $zip->numFiles; $i++) { echo $zip->getNameIndex($i), "\n"; }
		if (!$zip->extractTo($dir)) { die("cannot extract: " . $zip->getStatusString()); }
		$uploads = new ZipArchive();
		if ($uploads->open("$dir/uploads.zip", ZipArchive::CHECKCONS) !== true) { die("cannot open uploads"); }
		if (!$uploads->extractTo("$dir/uploads")) { die("cannot extract uploads: " . $uploads->getStatusString()); }
		echo hash_file('sha256', "$dir/db.sql") === trim(explode("db.sql:", file_get_contents("$dir/version.txt"))[1] ? substr(explode("db.sql: ", file_get_contents("$dir/version.txt"))[1], 0, 64) : "") ? "same" : "differs";
	`, name, password, dir)
	if want := "db.sql\nuploads.zip\nversion.txt\nsame"; out != want {
		t.Errorf("php says %q instead of %q", out, want)
	}
	got := map[string]string{}
	for _, name := range []string{"db.sql", "uploads/a.txt", "uploads/empty", "uploads/large.txt", "uploads/noise.bin", "uploads/Ünïcode 漢字.txt", "uploads/index.php"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		got[name] = string(b)
	}
	want := map[string]string{
		"db.sql": sql, "uploads/a.txt": "x", "uploads/empty": "", "uploads/large.txt": large, "uploads/noise.bin": noise,
		"uploads/Ünïcode 漢字.txt": "unicode", "uploads/index.php": "\n",
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s differs: %d bytes instead of %d", name, len(got[name]), len(want[name]))
		}
	}
}

// TestPHPReadsFolders has folders, empty ones too, and awkward names.
func TestPHPReadsFolders(t *testing.T) {
	content := archivetest.Sample(t, "itflow")
	data, _ := write(t, content)
	dir := t.TempDir()
	name := filepath.Join(dir, "backup.zip")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out := php(t, `
		[, $name, $password, $dir] = $argv;
		$zip = new ZipArchive();
		$zip->open($name);
		$zip->setPassword($password);
		echo json_encode($zip->extractTo($dir));
		$uploads = new ZipArchive();
		echo json_encode($uploads->open("$dir/uploads.zip", ZipArchive::CHECKCONS));
		echo json_encode($uploads->extractTo("$dir/uploads"));
	`, name, password, dir)
	if out != "truetruetrue" {
		t.Fatalf("php says %s", out)
	}
	files, _ := readAll(t, mustOpen(t, data, options()))
	folders := 0
	for path, body := range files {
		if !utf8.ValidString(path) {
			continue // libzip takes it for CP437; the warnings say so
		}
		info, err := os.Stat(filepath.Join(dir, path))
		switch {
		case err != nil:
			t.Error(err)
		case info.IsDir():
			folders++
		case info.Size() != int64(len(body)):
			t.Errorf("%q has %d bytes instead of %d", path, info.Size(), len(body))
		}
	}
	if folders == 0 {
		t.Error("there are no folders")
	}
}

// TestReadsWhatPHPWrites makes archives as ITFlow's backupSealArchive and
// backupZipUploads do.
func TestReadsWhatPHPWrites(t *testing.T) {
	const script = `
		[, $name, $password, $dir, $encrypt] = $argv;
		file_put_contents("$dir/sql", str_repeat("INSERT INTO t VALUES ('1');\n", 1000));
		$uploads = new ZipArchive();
		$uploads->open("$dir/u.zip", ZipArchive::CREATE | ZipArchive::OVERWRITE);
		file_put_contents("$dir/a", "x"); chmod("$dir/a", 0640);
		file_put_contents("$dir/b", str_repeat("b", 100000)); chmod("$dir/b", 0644);
		$uploads->addFile("$dir/a", "clients/1/Ünïcode.txt");
		$uploads->addFile("$dir/b", "b");
		$uploads->close();
		$names = ["db.sql" => "$dir/sql", "uploads.zip" => "$dir/u.zip", "version.txt" => "$dir/v"];
		$v = "ITFlow Backup Metadata\n-----------------------------\n" . ($encrypt ? "Backup Type: full\n" : "") . "Generated: " . date("Y-m-d H:i:s") . "\nHost: vm\nITFlow Version: 25.1\nDatabase Version: 2.6.7\n";
		$v .= "Checksums (SHA256):\n  db.sql: " . hash_file("sha256", "$dir/sql") . "\n  uploads.zip: " . hash_file("sha256", "$dir/u.zip") . "\n";
		file_put_contents("$dir/v", $v);
		$zip = new ZipArchive();
		$zip->open($name, ZipArchive::CREATE | ZipArchive::OVERWRITE);
		$zip->setPassword($password);
		foreach ($names as $n => $path) {
			chmod($path, 0600);
			$zip->addFile($path, $n);
			if ($encrypt) { $zip->setEncryptionName($n, ZipArchive::EM_AES_256); }
		}
		echo json_encode($zip->close());
	`
	for name, encrypt := range map[string]string{"encrypted": "1", "as before August 2026": ""} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			archivePath := filepath.Join(dir, "itflow.zip")
			if out := php(t, script, archivePath, password, dir, encrypt); out != "true" {
				t.Fatalf("php says %q", out)
			}
			data, err := os.ReadFile(archivePath)
			if err != nil {
				t.Fatal(err)
			}
			a := mustOpen(t, data, options())
			files, sql := readAll(t, a)
			want := map[string]string{"uploads/clients/1/Ünïcode.txt": "x", "uploads/b": strings.Repeat("b", 100000)}
			if diff := cmp.Diff(want, files); diff != "" {
				t.Error(diff)
			}
			if sql != strings.Repeat("INSERT INTO t VALUES ('1');\n", 1000) {
				t.Errorf("the dump has %d other bytes", len(sql))
			}
			if info := a.Info(); info.Kind != "full" || info.Host != "vm" || info.Versions["application"] != "25.1" || len(info.Notes) > 0 == (encrypt != "") {
				t.Errorf("%+v", info)
			}
		})
	}
}

// TestFixtures reads archives that an ITFlow install made. BACKSTAY_TEST_ITFLOW_ARCHIVES
// names a folder with them and their FACTS.json.
func TestFixtures(t *testing.T) {
	dir := os.Getenv("BACKSTAY_TEST_ITFLOW_ARCHIVES")
	if dir == "" {
		t.Skip("BACKSTAY_TEST_ITFLOW_ARCHIVES names no folder with archives of ITFlow")
	}
	text, err := os.ReadFile(filepath.Join(dir, "FACTS.json"))
	if err != nil {
		t.Fatal(err)
	}
	var facts struct {
		Key string `json:"backup_key"`
	}
	if err := json.Unmarshal(text, &facts); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.zip"))
	if err != nil || len(names) == 0 {
		t.Fatal("there are no archives", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		a := mustOpen(t, data, archive.OpenOptions{Passwords: []core.Secret{core.NewSecret(facts.Key)}})
		files, sql := readAll(t, a)
		t.Logf("%s: %+v, %d files, %d bytes of SQL", filepath.Base(name), a.Info(), len(files), len(sql))
		if full := strings.Contains(name, "_full_"); full != (len(files) > 0) || full != (a.Info().Kind == "full") {
			t.Errorf("%s: %d files, kind %s", name, len(files), a.Info().Kind)
		}
		if !strings.HasSuffix(sql, "SET UNIQUE_CHECKS = 1;\n") {
			t.Errorf("%s: the dump ends with %q", name, sql[max(0, len(sql)-40):])
		}
		if a.Info().Kind == "full" {
			refuseTampered(t, data)
		}
	}
}

// refuseTampered changes three bytes inside uploads.zip, in some places, and
// single bits in 200 places.
func refuseTampered(t *testing.T, data []byte) {
	t.Helper()
	middle := len(data) / 2 // it is by far the largest entry
	tampered(t, data, 220, func(i int, data []byte) func() {
		at, n := i*(len(data)-3)/200, 1
		if i >= 200 {
			at, n = middle+(i-200)*50_021, 3
		}
		before := bytes.Clone(data[at : at+n])
		for j := range n {
			data[at+j] ^= 1 << (i % 8)
		}
		return func() { copy(data[at:], before) }
	})
}

// pseudorandom returns text that does not compress.
func pseudorandom(n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	if _, err := r.Read(b); err != nil {
		panic(err) // it has none
	}
	return string(b)
}
