//go:build linux && !386 && !s390x

package engine

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"
)

// The calls on sockets that never wait, made past Go's scheduler. A plain system
// call is announced to it, so that it can give the processor's place away while
// the call waits. Within these the kernel may do enough for a packet to be taken
// for waiting: then two threads change places for nothing, and the thread that
// looks for such calls never sleeps longer than 20 µs. Together that was a fifth
// of a request's CPU time.
//
// They are recv and send, as read and write go by the file system's layer first.

// recv reads what there is; n is 0 at the end of the stream.
func recv(fd uintptr, p []byte, flags uintptr) (int, error) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags|syscall.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// more is the flag of a send that another one, or the end of the stream, follows at
// once: what it sends may leave with that.
const more = syscall.MSG_MORE

// send writes what fits.
func send(fd uintptr, p []byte, flags uintptr) (int, error) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags|syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// acceptFD takes a connection that waits at a listening socket. Its descriptor
// does not block, and is not inherited by programs that are started.
func acceptFD(fd uintptr) (conn uintptr, remote netip.AddrPort, err error) {
	var from syscall.RawSockaddrAny
	size := uint32(syscall.SizeofSockaddrAny)
	n, _, e := syscall.RawSyscall6(syscall.SYS_ACCEPT4, fd, uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return 0, remote, e
	}
	return n, addrPort(&from), nil
}

func addrPort(from *syscall.RawSockaddrAny) netip.AddrPort {
	port := func(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }
	switch from.Addr.Family {
	case syscall.AF_INET:
		in := (*syscall.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), port(&in.Port))
	case syscall.AF_INET6:
		in := (*syscall.RawSockaddrInet6)(unsafe.Pointer(from))
		addr := netip.AddrFrom16(in.Addr)
		if in.Scope_id != 0 {
			addr = addr.WithZone(zone(int(in.Scope_id)))
		}
		return netip.AddrPortFrom(addr, port(&in.Port))
	}
	return netip.AddrPort{}
}

// zone is the name of a link that an address is local to, or its number.
func zone(index int) string {
	if link, err := net.InterfaceByIndex(index); err == nil {
		return link.Name
	}
	return strconv.Itoa(index)
}

func closeFD(fd uintptr) error {
	if _, _, e := syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0); e != 0 {
		return e
	}
	return nil
}
