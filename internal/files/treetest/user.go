package treetest

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const Nobody = 65534

// AsOrdinaryUser returns true in a process that is not root. As root it runs
// the calling test again in a process of the user nobody, whose outcome becomes
// that of the test, and returns false.
func AsOrdinaryUser(t *testing.T) bool {
	t.Helper()
	if !IsRoot() {
		return true
	}
	temp, err := os.MkdirTemp("", "ordinary-user-")
	OK(t, err)
	t.Cleanup(func() { OK(t, os.RemoveAll(temp)) })
	OK(t, os.Chown(temp, Nobody, Nobody))
	// The program is opened by us, because nobody may not reach the folder it is in.
	self, err := os.Executable()
	OK(t, err)
	program, err := os.Open(self)
	OK(t, err)
	defer func() { OK(t, program.Close()) }()
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.ExtraFiles = []*os.File{program}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: Nobody, Gid: Nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")) {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
	return false
}
