// Command backstay backs up and restores self-hosted business applications.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/backstay/backstay/internal/cli"
	"github.com/backstay/backstay/internal/core"
)

// version is set by the build.
var version = "dev"

func main() {
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
