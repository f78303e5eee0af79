package engine

import (
	"net/netip"
	"time"

	"minicloud.internal/lb/route"
)

// A Reason says how a request ended.
type Reason uint8

// The reasons.
const (
	Answered      Reason = iota // by a target
	Local                       // by the load balancer, as it was asked to
	Refused                     // it is malformed, or against a limit
	Limited                     // the client came too often
	NoTarget                    // none is healthy
	QueueFull                   // every target is full, and so is the queue
	QueueTimeout                // no target had a free place in time
	ConnectFailed               // no target could be connected to
	TargetTimeout               // the target did not begin to answer in time
	TargetFailed                // its answer is malformed, or did not begin
	TargetAborted               // its answer broke off
	ClientAborted               // the client went away
	ClientTimeout               // the client's body stood still
	Stopped                     // by the end of a drain
	Tunnelled                   // it became a tunnel, which has ended
)

var reasons = [...]string{"answered", "local", "refused", "rate_limited", "no_target", "queue_full",
	"queue_timeout", "connect_failed", "target_timeout", "target_failed", "target_aborted",
	"client_aborted", "client_timeout", "stopped", "tunnel"}

// String returns the reason as logs have it.
func (r Reason) String() string { return reasons[r] }

// A Record is what is known of a request at its end. Slices are valid until
// [Recorder.Done] returns. Times that did not come are 0.
type Record struct {
	Client    netip.Addr
	Method    []byte
	Host      []byte
	Path      []byte // as received; nil if the request could not be read
	Query     []byte
	Minor     int // of HTTP/1.x
	RequestID []byte
	Route     *route.Route // nil before there was one
	Target    string       // the last that it was given to, or ""
	Attempts  int
	Status    int // meter.Aborted where there was no answer, or not all of it
	Reason    Reason
	In, Out   int64 // bytes of the bodies

	Start     time.Time
	Queue     time.Duration // waiting for a place at a target
	Connect   time.Duration // to have a connection, new or kept
	FirstByte time.Duration // from Start to the head of the answer
	Total     time.Duration
}

// A Recorder is told of every request. Its methods are called from many
// goroutines and must not block; what they are given is valid until they return.
type Recorder interface {
	// Arrived is called when a request has its route.
	Arrived(path, requestID []byte)
	// Given is called for each target that a request is given to.
	Given(r *route.Route, target string, requestID []byte)
	// Done is called at the end.
	Done(*Record)
}
