//go:build !unix

package kit

import (
	"errors"
	"syscall"
)

// sharePort is a [net.ListenConfig] Control.
func sharePort(_, _ string, _ syscall.RawConn) error {
	return errors.New("this system has no shared ports")
}
