package localserver

import "syscall"

// dieWithParent has the kernel kill the process when the thread that starts it
// dies (prctl(2), PR_SET_PDEATHSIG).
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
