package conformance

import (
	"encoding/binary"
	"net"
	"syscall"
)

// endWithParent has the kernel end a child whose parent was killed before it
// could.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}

// kernelView returns what the kernel knows of the socket at local, connected to
// remote and owned by any process: whether both ends are open, and how many bytes
// it has received that nobody has read. A socket that is gone is not open. It asks
// the socket diagnosis (sock_diag(7)); known is false where that does not answer.
func kernelView(local, remote net.Addr) (open bool, unread uint32, known bool) {
	const (
		sockDiag    = 4  // NETLINK_SOCK_DIAG
		byFamily    = 20 // SOCK_DIAG_BY_FAMILY
		established = 1  // TCP_ESTABLISHED
		headLen     = 16 // nlmsghdr
		requestLen  = 56 // inet_diag_req_v2
		stateAt     = headLen + 1
		unreadAt    = headLen + 56
	)
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, sockDiag)
	if err != nil {
		return false, 0, false
	}
	defer syscall.Close(fd)
	b := make([]byte, 0, 4096)
	b = binary.NativeEndian.AppendUint32(b, headLen+requestLen)
	b = binary.NativeEndian.AppendUint16(b, byFamily)
	b = binary.NativeEndian.AppendUint16(b, syscall.NLM_F_REQUEST)
	b = append(b, make([]byte, 8)...) // sequence number, port
	b = append(b, syscall.AF_INET, syscall.IPPROTO_TCP, 0, 0)
	b = append(b, 255, 255, 255, 255) // in any state
	from, to := local.(*net.TCPAddr), remote.(*net.TCPAddr)
	b = binary.BigEndian.AppendUint16(b, uint16(from.Port))
	b = binary.BigEndian.AppendUint16(b, uint16(to.Port))
	b = append(append(b, from.IP.To4()...), make([]byte, 12)...)
	b = append(append(b, to.IP.To4()...), make([]byte, 12)...)
	b = append(b, 0, 0, 0, 0)                             // any interface
	b = append(b, 255, 255, 255, 255, 255, 255, 255, 255) // no cookie
	if err := syscall.Sendto(fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return false, 0, false
	}
	n, _, err := syscall.Recvfrom(fd, b[:cap(b)], 0)
	if err != nil || n < headLen+4 {
		return false, 0, false
	}
	b = b[:n]
	if binary.NativeEndian.Uint16(b[4:]) == syscall.NLMSG_ERROR {
		code := syscall.Errno(-int32(binary.NativeEndian.Uint32(b[headLen:])))
		return false, 0, code == syscall.ENOENT
	}
	if n < unreadAt+4 {
		return false, 0, false
	}
	return b[stateAt] == established, binary.NativeEndian.Uint32(b[unreadAt:]), true
}
