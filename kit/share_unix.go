//go:build unix

package kit

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// sharePort is a [net.ListenConfig] Control.
func sharePort(_, _ string, c syscall.RawConn) (err error) {
	controlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	if err == nil {
		err = controlErr
	}
	return err
}
