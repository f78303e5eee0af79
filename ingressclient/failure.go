package ingressclient

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Exit codes, which are curl's (curl(1), EXIT CODES), and 130 for SIGINT as a
// shell reports it.
const (
	exitUnsupported = 1   // a scheme other than http and https, an answer that is not HTTP/1
	exitUsage       = 2   // a flag that is unknown, or has a bad value
	exitURL         = 3   // a malformed URL
	exitResolve     = 6   // the name has no address, or the resolver does not answer
	exitConnect     = 7   // no address accepted a connection
	exitWeird       = 8   // the head of the answer is broken
	exitPartial     = 18  // the body ended before it was complete
	exitHTTP        = 22  // status 400 or above, with -f
	exitWrite       = 23  // the output cannot be written
	exitRead        = 26  // a file to send cannot be read
	exitTimeout     = 28  // --max-time or --connect-timeout
	exitTLS         = 35  // the TLS handshake failed
	exitRedirects   = 47  // more than --max-redirs
	exitEmpty       = 52  // the server closed without a byte
	exitSend        = 55  // the request could not be sent
	exitReceive     = 56  // the answer could not be received
	exitCertificate = 60  // the server's certificate is not trusted
	exitRewind      = 65  // a redirect asks for a body again that can be read once only
	exitInterrupted = 130 // SIGINT
)

// A failure ends the command: with a code, a sentence and, where there is
// something to do about it, a hint.
type failure struct {
	code int
	msg  string
	hint string
}

func (f *failure) Error() string { return f.msg }

func failf(code int, format string, args ...any) *failure {
	return &failure{code: code, msg: fmt.Sprintf(format, args...)}
}

// withHint sets the hint and returns f.
func (f *failure) withHint(format string, args ...any) *failure {
	f.hint = fmt.Sprintf(format, args...)
	return f
}

func usagef(format string, args ...any) *failure {
	return failf(exitUsage, format, args...).withHint("ingressclient --help lists the flags")
}

// The causes for which a context of the command ends, besides a signal.
var (
	errMaxTime     = errors.New("--max-time passed")
	errConnectTime = errors.New("--connect-timeout passed")
)

// ended returns why ctx ended, or nil. A deadline on a socket may fire a moment
// before the context's own timer: ended waits for that one.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	return context.Cause(ctx)
}

// cutShort returns the failure of whatever was under way when ctx ended, or nil
// where ctx has not ended. doing begins the sentence: "Resolving example.com".
func (c *command) cutShort(ctx context.Context, doing string) error {
	cause := ended(ctx)
	took := time.Since(c.start).Round(time.Millisecond)
	switch {
	case cause == nil:
		return nil
	case errors.Is(cause, errMaxTime):
		return failf(exitTimeout, "%s timed out after %v", doing, took).
			withHint("--max-time allows %v for the whole; -v shows where the time goes", c.maxTime)
	case errors.Is(cause, errConnectTime):
		return failf(exitTimeout, "%s timed out after %v", doing, took).
			withHint("--connect-timeout allows %v until the connection stands; -v shows where the time goes", c.connectTimeout)
	}
	return failf(exitInterrupted, "%s was interrupted after %v", doing, took)
}
