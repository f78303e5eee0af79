package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"minicloud.internal/kit"
)

// The types of events.
const (
	spellSaved   = "spell.saved"
	spellDeleted = "spell.deleted"
)

// An event says that a spell changed. It is written to the outbox in the
// transaction of the change, travels through the message queue as JSON, and may
// arrive more than once, late, and beside others.
type event struct {
	Type    string `json:"type"`
	SpellID int64  `json:"spell_id"`
	// Invalidate is set where a reader may have cached the spell as it was.
	Invalidate bool      `json:"invalidate,omitempty"`
	At         time.Time `json:"at"`
	// RequestID and Traceparent continue the trace of the request.
	RequestID   string `json:"request_id,omitempty"`
	Traceparent string `json:"traceparent,omitempty"`
}

// newEvent returns an event of the request in ctx.
func newEvent(ctx context.Context, kind string, id int64, invalidate bool, at time.Time) event {
	trace := kit.TraceFrom(ctx)
	if trace.RequestID == "" {
		trace = kit.TraceOf(http.Header{})
	}
	h := http.Header{}
	trace.Set(h)
	return event{Type: kind, SpellID: id, Invalidate: invalidate, At: at.UTC(),
		RequestID: h.Get(kit.RequestIDHeader), Traceparent: h.Get("Traceparent")}
}

// parseEvent reads an event from the queue. It takes unknown fields, so that a
// newer replica may add one, and refuses what it could not act on.
func parseEvent(message []byte) (event, error) {
	var e event
	if err := json.Unmarshal(message, &e); err != nil {
		return event{}, fmt.Errorf("read event: %w", err)
	}
	if e.Type != spellSaved && e.Type != spellDeleted {
		return event{}, fmt.Errorf("read event: unknown type %.100q", e.Type)
	}
	if e.SpellID < 1 {
		return event{}, fmt.Errorf("read event: spell_id is %d, expected 1 or more", e.SpellID)
	}
	return e, nil
}

// trace returns a context that continues the event's trace.
func (e event) trace(ctx context.Context) context.Context {
	h := http.Header{}
	h.Set(kit.RequestIDHeader, e.RequestID)
	h.Set("Traceparent", e.Traceparent)
	return kit.WithTrace(ctx, kit.TraceOf(h))
}
