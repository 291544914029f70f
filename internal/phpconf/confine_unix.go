//go:build unix

package phpconf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// nobody is the user that owns nothing, on every Linux and most other systems.
const nobody = 65534

// confine lets cmd run in a process group of its own and, where this process is
// root, as the file's owner: whoever may write the file decides what runs, and
// must not become root by it.
func confine(cmd *exec.Cmd, file string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) { // its content was given
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		return nil
	}
	if err != nil {
		return fmt.Errorf("learn the owner: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("learn the owner of %s: not known on this system", file)
	}
	uid, gid := stat.Uid, stat.Gid
	if uid == 0 {
		uid = nobody
	}
	if gid == 0 {
		gid = nobody
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	return nil
}
