//go:build !linux || 386 || s390x

package engine

import (
	"context"
	"net"
)

// A loop is an event loop, of which there are none here: every connection has its
// goroutine.
type loop struct{}

type door struct{}

func (e *Engine) acceptInLoops(context.Context, net.Listener) (ok bool, err error) { return false, nil }

// ControlListener calls f with the descriptor of the socket that Serve was given ln
// for, as [syscall.RawConn] does.
func (e *Engine) ControlListener(ln net.Listener, f func(fd uintptr)) error {
	return controlListener(ln, f)
}

func (e *Engine) reopen() {}

func (e *Engine) hasRoom() bool { return len(e.clients) < e.settings.Load().MaxConnections }

type loopClient struct{}

type loopUpstream struct{}

func (*loopUpstream) lane() int { return 0 }

func (e *Engine) openLoops() error { return nil }

func (e *Engine) closeLoops() { e.running.Wait() }

func (e *Engine) park(*client) bool { return false }

func (e *Engine) adopt(_ *client, u *upstreamConn) *upstreamConn { return u }

func (c *client) moveOut() {}

func (c *client) vacate() {}

func (u *upstreamConn) settle() error { return nil }
