package lb

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"minicloud.internal/lb/engine"
	routing "minicloud.internal/lb/route"
)

// An accessLog writes what the engine records of requests: in text form the
// sentences that its users look for, as things happen; in JSON one line for each
// request, at its end. The engine's goroutines copy what they know into a ring,
// and [accessLog.run] makes lines of it and writes them, one by one and at once.
// Where it does not keep up, lines are dropped and counted, and nobody waits.
type accessLog struct {
	log        *slog.Logger
	structured bool
	ring       *ring[entry]
	dropped    atomic.Uint64 // lines
}

// accessLogSize is the length of the ring, in lines. It bounds what a burst may
// be ahead of the writing: some milliseconds of full load, in about 1 MB.
const accessLogSize = 4096

// An entry is a line that is still to be written. Its record's texts are in buf.
type entry struct {
	kind   lineKind
	at     time.Time
	record engine.Record
	buf    []byte
}

type lineKind uint8

const (
	arrivedLine lineKind = iota
	givenLine
	doneLine
)

// newAccessLog writes to logger, in its form.
func newAccessLog(logger *slog.Logger) *accessLog {
	_, structured := logger.Handler().(*slog.JSONHandler)
	return &accessLog{log: logger, structured: structured, ring: newRing[entry](accessLogSize)}
}

// recorder returns what the engine is to tell, or nil where nobody would see it.
func (a *accessLog) recorder() engine.Recorder {
	switch {
	case !a.log.Enabled(context.Background(), slog.LevelInfo):
		return nil
	case a.structured:
		return structuredLog{a}
	}
	return sentences{a}
}

// sentences and structuredLog are the two forms, as the engine sees them.
type (
	sentences     struct{ *accessLog }
	structuredLog struct{ *accessLog }
)

func (s sentences) Arrived(path, requestID []byte) {
	s.push(arrivedLine, &engine.Record{Path: path, RequestID: requestID})
}

func (s sentences) Given(r *routing.Route, target string, requestID []byte) {
	s.push(givenLine, &engine.Record{Route: r, Target: target, RequestID: requestID})
}

func (sentences) Done(*engine.Record) {}

func (structuredLog) Arrived(_, _ []byte)                        {}
func (structuredLog) Given(_ *routing.Route, _ string, _ []byte) {}

func (s structuredLog) Done(r *engine.Record) { s.push(doneLine, r) }

// push copies a record into the ring.
func (a *accessLog) push(kind lineKind, r *engine.Record) {
	s, n := a.ring.claim()
	if s == nil {
		a.dropped.Add(1)
		return
	}
	e := &s.value
	e.kind, e.at, e.record = kind, time.Now(), *r
	texts := [...]*[]byte{&e.record.Method, &e.record.Host, &e.record.Path, &e.record.RequestID}
	e.record.Query = nil
	b := e.buf[:0]
	for _, t := range texts {
		b = append(b, *t...)
	}
	e.buf = b
	for _, t := range texts {
		n := len(*t)
		*t, b = b[:n:n], b[n:]
	}
	a.ring.publish(s, n)
}

// keptLine is the largest buffer, in bytes, that a slot keeps: a rare path of many
// KiB shall not be held 4096 times.
const keptLine = 1 << 10

// run writes the lines until ctx ends, and those that are there then.
func (a *accessLog) run(ctx context.Context) {
	var reported uint64
	for {
		for e := a.ring.next(); e != nil; e = a.ring.next() {
			a.write(e)
			a.clear(e)
		}
		if dropped := a.dropped.Load(); dropped != reported {
			a.log.Warn("access log lines dropped, they come faster than they can be written", "lines", dropped-reported)
			reported = dropped
		}
		if ctx.Err() != nil {
			return
		}
		a.ring.wait(ctx.Done())
	}
}

// clear gives an entry's slot back.
func (a *accessLog) clear(e *entry) {
	e.record = engine.Record{}
	if cap(e.buf) > keptLine {
		e.buf = nil
	}
	a.ring.release()
}

// write makes the line and writes it, with the time at which it was true. What
// comes from a client is escaped where it could pass for the end of a line or move
// a terminal's cursor.
func (a *accessLog) write(e *entry) {
	d := &e.record
	var msg string
	switch e.kind {
	case arrivedLine:
		msg = "Request path: " + printable(d.Path)
	case givenLine:
		msg = "Forwarding connection to backend: " + d.Target
		if d.Route.Specific {
			msg = "Routing to specific path-based backend: " + d.Target
		}
	case doneLine:
		msg = "request"
	}
	line := slog.NewRecord(e.at, slog.LevelInfo, msg, 0)
	if e.kind == doneLine {
		line.AddAttrs(attributes(d)...)
	}
	line.AddAttrs(slog.String("request_id", printable(d.RequestID)))
	_ = a.log.Handler().Handle(context.Background(), line) // there is nowhere to say that the log is gone
}

// attributes are what the structured line says. Times are in seconds, as in the
// metrics; one that did not come is absent.
func attributes(d *engine.Record) []slog.Attr {
	route := noRoute
	if d.Route != nil {
		route = d.Route.Name
	}
	client := ""
	if d.Client != (netip.Addr{}) {
		client = d.Client.String()
	}
	all := []slog.Attr{
		slog.String("method", printable(d.Method)),
		slog.String("host", printable(d.Host)),
		slog.String("path", printable(d.Path)),
		slog.Int("status", d.Status),
		slog.String("reason", d.Reason.String()),
		slog.String("route", route),
		slog.String("target", d.Target),
		slog.String("client", client),
		slog.Int64("bytes_in", d.In),
		slog.Int64("bytes_out", d.Out),
		slog.Int("attempts", d.Attempts),
		slog.Float64("total", seconds(d.Total)),
	}
	for _, t := range []struct {
		name string
		took time.Duration
	}{{"queue", d.Queue}, {"connect", d.Connect}, {"first_byte", d.FirstByte}} {
		if t.took > 0 {
			all = append(all, slog.Float64(t.name, seconds(t.took)))
		}
	}
	return all
}

// seconds are rounded to microseconds.
func seconds(d time.Duration) float64 { return d.Round(time.Microsecond).Seconds() }

// printable returns text with an escape for each byte that is no printable ASCII.
func printable(text []byte) string {
	const digits = "0123456789abcdef"
	var out []byte
	for i, c := range text {
		plain := c >= ' ' && c <= '~'
		switch {
		case !plain && out == nil:
			out = append(make([]byte, 0, 2*len(text)+4), text[:i]...)
			fallthrough
		case !plain:
			out = append(out, '\\', 'x', digits[c>>4], digits[c&15])
		case out != nil:
			out = append(out, c)
		}
	}
	if out == nil {
		return string(text)
	}
	return string(out)
}
