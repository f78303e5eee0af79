//go:build !linux

package cache

// A region is memory without pointers; see memory_linux.go.
type region struct{ bytes []byte }

func newRegion(size int) *region { return &region{make([]byte, size)} }
