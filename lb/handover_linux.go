package lb

import (
	"errors"

	"golang.org/x/sys/unix"
)

// steer has the kernel give every new connection to the address of a socket, which
// control leads to, to one of the sockets that share it, by its number among them
// (socket(7), SO_ATTACH_REUSEPORT_CBPF). A number that none has changes nothing.
func steer(control func(func(fd uintptr)) error, number int) (err error) {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: uint32(number)}}
	controlErr := control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	return errors.Join(err, controlErr)
}
