package server

import (
	"net/netip"
	"time"
)

// oneDatagram returns an emitter for what goes the general way over UDP: it
// sends one message, unless the rate limit objects.
func (c *core) oneDatagram(client netip.AddrPort, send func([]byte) error) emitter {
	sent := false
	return func(answer []byte, trusted bool) error {
		if sent {
			return errOneMessage
		}
		sent = true
		if c.limiter != nil && !trusted {
			act := c.limiter.judge(client.Addr(), kindOf(answer), time.Now().UnixNano())
			c.metrics.shared.limit(act)
			switch act {
			case shed:
				return nil
			case slip:
				answer = truncateAny(answer)
			}
		}
		err := send(answer)
		if err != nil {
			c.logger.Debug("an answer was not sent", "client", client, "error", err)
		}
		return err
	}
}

// truncateAny is truncate for an answer whose parts are not known.
func truncateAny(answer []byte) []byte {
	question := headerSize
	if answer[5] > 0 {
		question = skipName(answer, headerSize) + 4
	}
	shape, _ := walk(answer) // it is ours
	if shape.opt == 0 {
		return truncate(answer, question, 0)
	}
	return truncate(answer[:shape.optEnd], question, shape.opt-1)
}
