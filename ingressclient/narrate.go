package ingressclient

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// A narrator writes to standard error, a whole line at a time: the steps of -v
// come from several goroutines.
type narrator struct {
	verbose bool
	mu      sync.Mutex
	w       io.Writer
}

// say prints a step: "* Trying 127.0.0.1:80...".
func (n *narrator) say(format string, args ...any) {
	if n.verbose {
		n.raw("* " + printable(fmt.Sprintf(format, args...)) + "\n")
	}
}

// head prints the head of a message, each line behind "> " or "< ".
func (n *narrator) head(mark string, head []byte) {
	if !n.verbose {
		return
	}
	var b strings.Builder
	for line := range strings.Lines(string(head)) {
		b.WriteString(strings.TrimRight(mark+printable(strings.TrimRight(line, "\r\n")), " "))
		b.WriteByte('\n')
	}
	n.raw(b.String())
}

// raw prints text as it stands. An error of standard error has nowhere to go.
func (n *narrator) raw(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, _ = io.WriteString(n.w, text)
}

// printable replaces control characters, which a server could use to play with
// the reader's terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}

// phases is how long the parts of a run took, added up over redirects.
type phases struct {
	resolve, connect, handshake, firstByte, body time.Duration
	requests                                     int
}

// summary is the last line of -v: the phases add up to the total.
func (p phases) summary(received int64) string {
	parts := []string{"dns " + millis(p.resolve), "connect " + millis(p.connect)}
	total := p.resolve + p.connect + p.handshake + p.firstByte + p.body
	if p.handshake > 0 {
		parts = append(parts, "tls "+millis(p.handshake))
	}
	parts = append(parts, "first byte "+millis(p.firstByte), "body "+millis(p.body))
	s := fmt.Sprintf("Time: %s = total %s; %d bytes of body", strings.Join(parts, " + "), millis(total), received)
	if p.requests > 1 {
		s += fmt.Sprintf("; %d requests", p.requests)
	}
	return s
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
