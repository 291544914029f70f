// Command backstay backs up and restores self-hosted business applications.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/backstay/backstay/internal/cli"
	"github.com/backstay/backstay/internal/core"
)

// version is set by the build.
var version = "dev"

// garbage is the share of the memory in use that may be garbage, in per cent.
// Half of Go's own choice: a backup of a million files holds an index of them
// until its end, and the time it costs could not be measured.
const garbage = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		// The first signal ends the work in order; a second one ends the
		// process as if backstay had no handler.
		<-ctx.Done()
		stop()
	}()
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Environment{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Clock: core.SystemClock{}, Version: version,
	}))
}
