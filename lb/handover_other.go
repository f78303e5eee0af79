//go:build !linux

package lb

import "errors"

// steer is for Linux only. Elsewhere connections that wait to be accepted are
// lost in a handover.
func steer(func(func(fd uintptr)) error, int) error {
	return errors.New("this system cannot be told who gets new connections")
}
