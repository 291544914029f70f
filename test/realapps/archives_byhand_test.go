package realapps

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// byHand restores what people dump by hand: in the ways that the manuals of iTop
// and of ITFlow have it, and more carefully.
func (r *running) byHand(damage func(), works func(when string)) {
	r.t.Helper()
	for _, args := range [][]string{
		{"--opt", "--default-character-set=utf8mb4", "--add-drop-database", "--single-transaction", r.name}, // iTop's manual
		{r.name}, // ITFlow's
		{"--single-transaction", "--quick", "--hex-blob", "--routines", "--events", "--triggers", "--default-character-set=utf8mb4", "--databases", r.name},
	} {
		what := strings.Join(args, " ")
		file := filepath.Join(r.t.TempDir(), r.name+".sql.gz")
		dump := r.dumpByHand(args...)
		r.ok(os.WriteFile(file, gzipped(r.t, dump), 0o600))
		want := r.reference(strings.ReplaceAll(string(dump), "`"+r.name+"`", "`reference`"))
		r.t.Logf("dumped with %s: %d bytes, which differ from the database in %v", what, len(dump), unlike(want, r.sums(r.name)))
		damage()
		r.restoreArchive(file)
		r.same("restored from what was dumped with "+what, want, r.sums(r.name), "later")
		works("after the restore from what was dumped with " + what)
	}
}

// dumpByHand dumps the database as the account of the application.
func (r *running) dumpByHand(args ...string) []byte {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), tool(r.t, "mariadb-dump", "mysqldump"), append([]string{"--no-defaults", "--user=" + r.user, "--host=127.0.0.1", "--protocol=tcp", "--port=" + strconv.Itoa(r.server.Port)}, args...)...)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+r.password)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("%v: %v\n%s", args, err, &said)
	}
	return out.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
