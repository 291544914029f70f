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
	for _, program := range []string{"mariadb-dump", "mysqldump"} {
		if _, err := exec.LookPath(program); err != nil {
			r.t.Log("left out:", err)
			continue
		}
		for _, args := range [][]string{
			{"--opt", "--default-character-set=utf8mb4", "--add-drop-database", "--single-transaction", r.name}, // iTop's manual
			{r.name}, // ITFlow's
			{"--single-transaction", "--quick", "--hex-blob", "--routines", "--events", "--triggers", "--default-character-set=utf8mb4", "--databases", r.name},
		} {
			what := program + " " + args[0] + " … " + args[len(args)-1]
			file := filepath.Join(r.t.TempDir(), r.name+".sql.gz")
			dump := r.dumpByHand(program, args...)
			r.ok(os.WriteFile(file, gzipped(r.t, dump), 0o600))
			want := r.reference(strings.ReplaceAll(string(dump), "`"+r.name+"`", "`reference`"))
			r.t.Logf("%s: the dump differs from the database in %v", what, unlike(want, r.sums(r.name)))
			damage()
			r.restoreArchive(file)
			r.same("restored from "+what, want, r.sums(r.name), "later")
			works("after the restore from " + what)
		}
	}
}

// dumpByHand dumps the database as the account of the application.
func (r *running) dumpByHand(program string, args ...string) []byte {
	r.t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		r.t.Skip(err)
	}
	cmd := exec.CommandContext(r.t.Context(), path, append([]string{"--no-defaults", "--user=" + r.user, "--host=127.0.0.1", "--protocol=tcp", "--port=" + strconv.Itoa(r.server.Port)}, args...)...)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+r.password)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("%s: %v\n%s", program, err, &said)
	}
	r.t.Logf("%s %v: %d bytes %s", program, args, out.Len(), &said)
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
