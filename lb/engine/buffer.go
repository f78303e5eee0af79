package engine

import "sync"

const (
	// inSize holds the head of nearly every request with a small body. A larger
	// head, up to the limit, gets a larger buffer for as long as it needs it.
	inSize = 16 << 10
	// outSize holds the heads that are written.
	outSize = 8 << 10
	// bodySize is what is read of an answer at once: its head, and with it the
	// whole of a small body.
	bodySize = 32 << 10
	// headroom is kept free in front of what is read of an answer. The head that
	// the client gets is put there, right before the first bytes of the body,
	// and both leave in one write.
	headroom = 2 << 10
)

// A buffer is memory that is read into.
type buffer struct{ b []byte }

// buffers of one size. A connection holds one only while bytes are under way.
type buffers struct {
	pool sync.Pool
	size int
}

func newBuffers(size int) *buffers {
	p := &buffers{size: size}
	p.pool.New = func() any { return &buffer{make([]byte, size)} }
	return p
}

func (p *buffers) get() *buffer { return p.pool.Get().(*buffer) }

func (p *buffers) put(b *buffer) { p.pool.Put(b) }

// tailroom is kept free behind it, for the end of a chunk.
const tailroom = 16

var bodies = newBuffers(headroom + bodySize + tailroom)
