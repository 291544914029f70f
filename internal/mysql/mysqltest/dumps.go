package mysqltest

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// dumperVariable names the dump program to use in place of mariadb-dump.
const dumperVariable = "BACKSTAY_TEST_MYSQLDUMP"

// Dump returns what the dump program writes of a database of the test server.
// The test is skipped where there is no such program, or where it fails.
func Dump(t *testing.T, database string, options ...string) []byte {
	t.Helper()
	program := os.Getenv(dumperVariable)
	if program == "" {
		program = "mariadb-dump"
	}
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("there is no dump program: %v; name one in %s", err, dumperVariable)
	}
	config := Config(t, "")
	args := append([]string{"--no-defaults", "--socket=" + config.Socket, "--user=" + config.User}, options...)
	cmd := exec.CommandContext(t.Context(), program, append(args, database)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Skipf("the dump program does not dump this: %s: %v: %s", program, err, problems.String())
	}
	return out.Bytes()
}
