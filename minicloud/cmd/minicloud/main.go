// Command minicloud starts and stops the whole cloud.
package main

import (
	"context"
	"os"

	"minicloud.internal/minicloud"
)

func main() {
	os.Exit(minicloud.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
