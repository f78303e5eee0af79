// Command ingressclient enters the cloud: a small curl that asks the cloud's
// own resolver. ingressclient --help lists its flags.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"minicloud.internal/ingressclient"
)

func main() {
	// A closed pipe is a write error with curl's exit code, not a death.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal kills, should a write to the output stand still.
	context.AfterFunc(ctx, stop)
	os.Exit(ingressclient.Main(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}
