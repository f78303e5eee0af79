//go:build linux

package main

import (
	"net/netip"
	"syscall"
)

// ipBindAddressNoPort (linux/in.h) lets the kernel choose the port at connect,
// when it knows the destination, so that one port serves several of them.
const ipBindAddressNoPort = 24

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
