//go:build !linux

package phpserver

import (
	"context"
	"net"
	"os/exec"
)

// room is where PHP runs. This system has no namespaces.
type room struct{}

func newRoom(Options, string, means) (*room, error) { return &room{}, nil }

func (r *room) offNetwork() bool { return false }

func (r *room) port() (int, error) { return freePort() }

func (r *room) launch(build func(own bool) *exec.Cmd) (*exec.Cmd, bool, error) {
	cmd := build(false)
	return cmd, false, cmd.Start()
}

func (r *room) dial(ctx context.Context, port int) (net.Conn, error) { return dialLoopback(ctx, port) }

func (r *room) means() []string {
	return []string{"no network namespace on this system: PHP's own functions for the network are switched off"}
}

func (r *room) close() error { return nil }
