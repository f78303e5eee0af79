package conformance

import "slices"

const (
	key       = "dGhlIHNhbXBsZSBub25jZQ==" // of RFC 6455, section 1.3
	accept    = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	upgrade   = "GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n\r\n"
	switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + "Sec-WebSocket-Accept: " + accept + "\r\n\r\n"
)

func tunnels() []behaviour {
	const rfc = "9110 7.8"
	return []behaviour{
		{name: "an upgrade opens a tunnel both ways", rfc: rfc, script: func(x *exchange) {
			c, u := x.tunnel("", "")
			c.send("ping")
			u.expect("ping")
			u.send("pong")
			c.expect("pong")
		}},
		{name: "what is sent together with the heads goes through the tunnel", rfc: rfc, script: func(x *exchange) {
			c, u := x.tunnel("early", "first")
			u.expect("early")
			c.expect("first")
		}},
		{name: "a client's half-close goes through the tunnel", rfc: rfc, script: func(x *exchange) {
			c, u := x.tunnel("", "")
			c.send("bye")
			c.halfClose()
			u.expect("bye")
			u.endsClean()
			u.send("bye, too")
			c.expect("bye, too")
			u.close()
			c.endsClean()
		}},
		{name: "an upstream's half-close goes through the tunnel", rfc: rfc, script: func(x *exchange) {
			c, u := x.tunnel("", "")
			u.send("bye")
			u.halfClose()
			c.expect("bye")
			c.endsClean()
			c.send("bye, too")
			u.expect("bye, too")
			c.close()
			u.endsClean()
		}},
		{name: "a tunnel whose client is gone ends at the upstream", rfc: rfc, script: func(x *exchange) {
			c, u := x.tunnel("", "")
			c.reset()
			u.ends()
		}},
		{name: "a tunnel whose upstream is gone ends at the client", rfc: rfc, script: func(x *exchange) {
			c, u := x.tunnel("", "")
			u.reset()
			c.ends()
		}},
		{name: "much goes through a tunnel, both ways at once", rfc: rfc, script: func(x *exchange) {
			c, u := x.tunnel("", "")
			up := x.meanwhile(func() { c.sendMuch(false, func() {}) })
			down := x.meanwhile(func() { u.sendMuch(false, func() {}) })
			got := x.meanwhile(func() { u.getMuch(&message{}) })
			c.getMuch(&message{})
			up()
			down()
			got()
		}},
		{name: "a tunnel's connection to the upstream is never used again", rfc: rfc, script: func(x *exchange) {
			c, u := x.tunnel("", "")
			c.close()
			u.ends()
			x.goesOn(x.client())
		}},
		{name: "a tunnel that is silent is cut on both sides", settings: settings{tunnelIdle: short}, script: func(x *exchange) {
			c, u := x.tunnel("", "")
			c.ends()
			u.ends()
		}},
		{name: "an upgrade may follow another request", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			x.asks(c, get("/a"), ok("a"), "a")
			u := x.upgrades(c, "", "")
			c.send("ping")
			u.expect("ping")
		}},
		{name: "an interim answer may come before 101", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			c.send(upgrade)
			u := x.next()
			u.request()
			u.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + switching)
			for _, status := range []int{103, 101} {
				if m := c.response("GET"); m.status != status {
					x.differs("the client gets %d, expected %d", m.status, status)
				}
			}
			c.send("ping")
			u.expect("ping")
		}},
		{name: "an upgrade may be ignored", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			x.asks(c, upgrade, ok("no"), "no")
			x.goesOn(c)
		}},
		{name: "an upgrade may be refused", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			c.send(upgrade)
			u := x.next()
			u.request()
			u.send("HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: other\r\nContent-Length: 2\r\n\r\nno")
			x.gets(c.response("GET"), 426, "no")
			x.goesOn(c)
		}},
		{name: "101 to a protocol that was not asked for is a 502", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			c.send(upgrade)
			u := x.next()
			u.request()
			u.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
			x.isOwn(c.response("GET"), 502)
			u.ends()
		}},
	}
}

// tunnel opens one; early is sent together with the request, first with the
// answer.
func (x *exchange) tunnel(early, first string) (c, u *conn) {
	c = x.client()
	return c, x.upgrades(c, early, first)
}

func (x *exchange) upgrades(c *conn, early, first string) (u *conn) {
	c.send(upgrade + early)
	u = x.next()
	m := u.request()
	if got := m.list("Upgrade"); !slices.Equal(got, []string{"websocket"}) || !slices.Contains(m.list("Connection"), "upgrade") {
		x.differs("the upstream gets Upgrade %q and Connection %q", got, m.list("Connection"))
	}
	if got := m.values("Sec-WebSocket-Key"); !slices.Equal(got, []string{key}) {
		x.differs("the upstream gets Sec-WebSocket-Key %q", got)
	}
	u.send(switching + first)
	m = c.response("GET")
	if m.status != 101 || !slices.Equal(m.list("Upgrade"), []string{"websocket"}) || !slices.Contains(m.list("Connection"), "upgrade") ||
		!slices.Equal(m.values("Sec-WebSocket-Accept"), []string{accept}) {
		x.differs("the client gets %q with %q", m.line, m.fields)
	}
	return u
}
