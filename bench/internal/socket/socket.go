//go:build linux

// Package socket calls the kernel itself, on sockets that never block: a raw
// system call leaves out the scheduler's part, which at the rates of a generator
// of load is a measurable share of a core that the measured program could have
// used. The errors are of type syscall.Errno; EAGAIN is one of them.
package socket

import (
	"syscall"
	"time"
	"unsafe"
)

// Recv reads into b; n is 0 at the end of the stream.
func Recv(fd int, b []byte) (n int, err error) {
	return recvfrom(fd, unsafe.Pointer(unsafe.SliceData(b)), len(b), 0)
}

// Discard takes up to n received bytes off the socket without copying them,
// which TCP does with MSG_TRUNC (tcp(7)).
func Discard(fd, n int) (int, error) {
	return recvfrom(fd, nil, n, syscall.MSG_TRUNC)
}

func recvfrom(fd int, p unsafe.Pointer, size, flags int) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(p), uintptr(size), uintptr(flags), 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// Send writes what fits into the socket's buffer.
func Send(fd int, b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// Wait waits for events of an epoll instance, for as long as timeout says at most;
// n may be 0 earlier, since signals end it too. The thread that calls it is no use
// to other goroutines meanwhile.
func Wait(epoll int, events []syscall.EpollEvent, timeout time.Duration) (n int, err error) {
	ms := max(0, (timeout+time.Millisecond-1)/time.Millisecond)
	r, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(ms), 0, 0)
	switch errno {
	case 0:
		return int(r), nil
	case syscall.EINTR:
		return 0, nil
	default:
		return 0, errno
	}
}
