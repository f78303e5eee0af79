package cache

import (
	"runtime"
	"syscall"
)

// A region is memory outside of the Go heap: the collector does not walk it, and
// does not take it for a reason to let as much garbage lie about.
type region struct{ bytes []byte }

// newRegion returns size octets of zeros, which become resident as they are used.
// Whoever reads or writes them must keep the region reachable meanwhile.
func newRegion(size int) *region {
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return &region{make([]byte, size)}
	}
	r := &region{b}
	runtime.AddCleanup(r, func(b []byte) { _ = syscall.Munmap(b) }, b)
	return r
}
