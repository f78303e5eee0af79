//go:build !linux || 386 || s390x

package engine

import "syscall"

func recv(fd uintptr, p []byte, flags uintptr) (int, error) {
	if flags == 0 {
		return syscall.Read(int(fd), p)
	}
	n, _, err := syscall.Recvfrom(int(fd), p, int(flags))
	return n, err
}

const more = 0

func send(fd uintptr, p []byte, _ uintptr) (int, error) { return syscall.Write(int(fd), p) }
