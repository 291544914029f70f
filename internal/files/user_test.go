package files

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const nobody = 65534

// asOrdinaryUser returns true in a process that is not root. As root it runs
// the calling test again in a process of the user nobody, whose outcome becomes
// that of the test, and returns false.
func asOrdinaryUser(t *testing.T) bool {
	t.Helper()
	if !isRoot() {
		return true
	}
	temp, err := os.MkdirTemp("", "ordinary-user-")
	ok(t, err)
	t.Cleanup(func() { ok(t, os.RemoveAll(temp)) })
	ok(t, os.Chown(temp, nobody, nobody))
	// The program is opened by us, because nobody may not reach the folder it is in.
	self, err := os.Executable()
	ok(t, err)
	program, err := os.Open(self)
	ok(t, err)
	defer func() { ok(t, program.Close()) }()
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.ExtraFiles = []*os.File{program}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")) {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
	return false
}
