//go:build linux

package main

import (
	"net/netip"
	"syscall"
	"unsafe"
)

// The generator calls the kernel itself, on sockets that never block: a raw
// system call leaves out the scheduler's part, which at these rates is a
// measurable share of a core that the proxy could have used.

// ipBindAddressNoPort (linux/in.h) lets the kernel choose the port at connect,
// when it knows the destination, so that one port serves several of them.
const ipBindAddressNoPort = 24

// recv reads into b; n is 0 at the end of the stream.
func recv(fd int, b []byte) (n int, err error) {
	return recvfrom(fd, unsafe.Pointer(unsafe.SliceData(b)), len(b), 0)
}

// discard takes up to n received bytes off the socket without copying them,
// which TCP does with MSG_TRUNC (tcp(7)).
func discard(fd, n int) (int, error) {
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

// send writes what fits into the socket's buffer.
func send(fd int, b []byte) (int, error) {
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

// localPorts is how many source ports a workload of new connections uses in
// turn. They are few, because each combination of addresses and ports occupies
// the kernel's connection tracking, where a firewall has switched it on, for
// minutes. And they may be, because the client always lets the proxy close
// first, so that none of them rests in TIME_WAIT on this side.
const (
	firstLocalPort = 10_000
	localPorts     = 4096
)

// connect begins a connection. It may be under way yet: send then answers
// EAGAIN until the socket is writable. The source address is 127.0.1.1 to
// 127.0.1.8 in turn, with number; its port is the kernel's choice, or also in
// turn.
func connect(to netip.AddrPort, number int, portsInTurn bool) (fd int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if portsInTurn {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
		if err == nil {
			err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 1, 1}, Port: firstLocalPort + number%localPorts})
		}
	} else {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
		if err == nil {
			err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(1 + number%8)}})
		}
	}
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	if err == nil {
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	}
	if err != nil && err != syscall.EINPROGRESS {
		_ = syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}
