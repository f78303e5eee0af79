package engine

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// tunnel passes bytes both ways once the target has switched protocols, until
// both sides have ended, or neither has sent anything for too long. The end of
// one direction is passed on alone.
func (c *client) tunnel(u *upstreamConn) error {
	w := c.w
	x := &w.x
	x.status, x.reason, x.keep, x.started = 101, Tunnelled, false, true
	x.at = now()
	x.firstByte = x.at
	w.out = c.appendSwitch(w.out[:0])
	c.state.CompareAndSwap(active, inTunnel)
	c.e.left.Broadcast() // a drain counts those that are none
	if err := c.writeBoth(u, u.w-u.r); err != nil {
		return err
	}
	u.drop()
	t := &tunnel{idle: x.s.TunnelIdle}
	t.alive()
	c.readNever()
	u.readNever()
	var up sync.WaitGroup
	up.Go(func() {
		first := w.in[w.r:w.w]
		w.r = w.w
		x.in = t.copy(&u.socket, &c.socket, first)
	})
	x.out += t.copy(&c.socket, &u.socket, nil)
	up.Wait()
	return nil
}

// appendSwitch appends the head that tells the client of the switch.
func (c *client) appendSwitch(b []byte) []byte {
	b = c.appendResponse(b, noFraming)
	b = b[:len(b)-2-len("Connection: close\r\n")]
	b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
	b = append(b, c.w.res.Upgrade...)
	return append(b, "\r\n\r\n"...)
}

// A tunnel is what its two directions share.
type tunnel struct {
	idle time.Duration
	last atomic.Int64 // when a byte last went either way, on the engine's clock
}

func (t *tunnel) alive() { t.last.Store(int64(now())) }

// copy passes on what src sends, first before it, and then its end. It returns
// the number of bytes. A fault of either side ends both.
func (t *tunnel) copy(dst, src *socket, first []byte) (passed int64) {
	if len(first) > 0 {
		n, err := dst.writeAll(first, t.idle)
		if passed += int64(n); err != nil {
			closeBoth(dst, src)
			return passed
		}
	}
	buf := bodies.get()
	defer bodies.put(buf)
	for {
		last := time.Duration(t.last.Load())
		src.readWithin(last, t.idle)
		n, err := src.Read(buf.b)
		if n > 0 {
			t.alive()
			written, err := dst.writeAll(buf.b[:n], t.idle)
			if passed += int64(written); err != nil {
				closeBoth(dst, src)
				return passed
			}
			continue
		}
		switch {
		case err == io.EOF:
			_ = dst.CloseWrite()
			return passed
		case isTimeout(err) && now()-time.Duration(t.last.Load()) < t.idle:
			continue // the other direction was busy
		}
		closeBoth(dst, src)
		return passed
	}
}

func closeBoth(a, b *socket) {
	_ = a.Close()
	_ = b.Close()
}
