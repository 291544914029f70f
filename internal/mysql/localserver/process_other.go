//go:build !linux

package localserver

import "syscall"

// dieWithParent does nothing here: the watchdog alone ends the server.
func dieWithParent(*syscall.SysProcAttr) {}
