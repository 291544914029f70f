package realapps

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// sized is a file as FACTS.json describes it.
type sized struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func describe(data []byte) sized {
	sum := sha256.Sum256(data)
	return sized{int64(len(data)), hex.EncodeToString(sum[:])}
}

// facts is what was known of the install when it wrote its archives.
type facts struct {
	BackupKey  string `json:"backup_key"`
	DBPassword string `json:"db_password_in_config_php"`
	Archives   map[string]struct {
		File      string           `json:"file"`
		Entries   map[string]sized `json:"entries"`
		RowCounts map[string]int64 `json:"row_counts"`
		Uploads   map[string]sized `json:"uploads"`
	} `json:"archives"`
	Checksums map[string]int64 `json:"checksum_table_full_restored_mariadb_10_11"`
}

// TestITFlow restores an ITFlow from the data of each archive that ITFlow 26.08
// wrote.
func TestITFlow(t *testing.T) {
	dir := fixtures(t, "itflow")
	text, err := os.ReadFile(filepath.Join(dir, "FACTS.json"))
	if err != nil {
		t.Fatal(err)
	}
	var known facts
	if err := json.Unmarshal(text, &known); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(dir, "config.php.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"full", "database"} {
		t.Run(kind, func(t *testing.T) {
			archive := known.Archives[kind]
			entries := readEncryptedZip(t, filepath.Join(dir, archive.File), known.BackupKey)
			for name, want := range archive.Entries {
				if diff := cmp.Diff(want, describe(entries[name])); diff != "" {
					t.Fatalf("%s of the archive: %s", name, diff)
				}
			}
			a := newApp(t, "itflow", "itflow", known.DBPassword)
			a.loadSQL(entries["db.sql"])
			a.writeITFlow(string(config), entries["uploads.zip"])
			makeOdd(t, a.root)

			backup := a.roundTrip(0, "uploads/tmp/passing", "uploads/backups/itflow_own.zip")

			if got := backup.Components[core.ComponentDatabase].Tables; got != len(archive.RowCounts) {
				t.Errorf("%d tables, want %d", got, len(archive.RowCounts))
			}
			// What came back is not only what was loaded but what ITFlow had.
			for table, want := range archive.RowCounts {
				if got := mysqltest.Query(t, a.name, "SELECT COUNT(*) FROM "+mysql.QuoteName(table))[0][0].Text; got != strconv.FormatInt(want, 10) {
					t.Errorf("table %s has %s rows, ITFlow's had %d", table, got, want)
				}
			}
			for path, want := range archive.Uploads {
				data, err := os.ReadFile(filepath.Join(a.root, "uploads", path))
				if err != nil {
					t.Error(err)
				} else if diff := cmp.Diff(want, describe(data)); diff != "" {
					t.Errorf("uploads/%s: %s", path, diff)
				}
			}
			if kind == "full" {
				compareChecksums(t, a.name, known.Checksums)
			}
		})
	}
}

// compareChecksums compares with the checksums of ITFlow's own restore. They
// are those of one kind of server.
func compareChecksums(t *testing.T, database string, want map[string]int64) {
	t.Helper()
	version := mysqltest.Query(t, "", "SELECT VERSION()")[0][0].Text
	if !strings.HasPrefix(version, "10.11.") || !strings.Contains(version, "MariaDB") {
		t.Logf("not compared with the checksums of ITFlow's restore on MariaDB 10.11: this is %s", version)
		return
	}
	sums := map[string]string{}
	for table, sum := range want {
		sums[table] = strconv.FormatInt(sum, 10)
	}
	if diff := cmp.Diff(sums, mysqltest.Checksum(t, database)); diff != "" {
		t.Errorf("checksums of ITFlow's own restore (-) and of ours (+):\n%s", diff)
	}
}

// writeITFlow makes an install whose configuration points to the test's
// server, with the uploads of an archive; none are given for a database archive.
func (a *app) writeITFlow(config string, uploads []byte) {
	a.t.Helper()
	if !strings.Contains(config, "$dbhost = '127.0.0.1';") {
		a.t.Fatal("config.php does not set $dbhost as expected")
	}
	config = strings.Replace(config, "$dbhost = '127.0.0.1';", "$dbhost = '"+serverAddress(a.t)+"';", 1)
	for path, text := range map[string]string{
		"config.php":                       config,
		"functions.php":                    "<?php\n",
		"login.php":                        "<?php\n",
		"includes/app_version.php":         "<?php\nDEFINE(\"APP_VERSION\", \"26.08.2\");\n",
		"admin/database_updates/2.6.7.php": "<?php\n",
		".git/HEAD":                        "0262707ef029ffb294df197e10d9b918adb0c85d\n",
		"agent/custom/report.php":          "<?php // mine\n",
		"agent/tickets.php":                "<?php\n",
		"uploads/.htaccess":                "deny from all\n",
		"uploads/tmp/.htaccess":            "deny from all\n",
		"uploads/tmp/passing":              "passing",
		"uploads/backups/index.php":        "",
		"uploads/backups/itflow_own.zip":   "ITFlow's own backups",
	} {
		a.write(filepath.Join(a.root, path), text, 0o644)
	}
	if err := os.MkdirAll(filepath.Join(a.root, "uploads/users/3"), 0o755); err != nil { // empty, as ITFlow makes them
		a.t.Fatal(err)
	}
	if len(uploads) == 0 {
		return
	}
	r, err := zip.NewReader(bytes.NewReader(uploads), int64(len(uploads)))
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range r.File {
		if !filepath.IsLocal(f.Name) {
			a.t.Fatalf("uploads.zip holds the path %q", f.Name)
		}
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			a.t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			a.t.Fatal(err)
		}
		a.write(filepath.Join(a.root, "uploads", f.Name), string(data), 0o644)
	}
}
