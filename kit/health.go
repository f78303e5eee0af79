package kit

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Health is what a service says of itself. It begins as starting, and answers
// 200 from [Health.OK] on until [Health.Fail] or [Health.Drain]. All methods may
// be called concurrently.
type Health struct {
	mu       sync.Mutex
	reason   string            // why it answers 503; empty: 200
	draining bool              // set once, for ever
	reduced  map[string]string // part that is missing -> why
	asked    time.Time         // the last time that anyone asked
	noticed  chan struct{}     // closed when an asker was told of the drain
}

const starting = "starting"

// NewHealth returns a Health that answers 503 "starting".
func NewHealth() *Health {
	return &Health{reason: starting, reduced: map[string]string{}, noticed: make(chan struct{})}
}

// OK says that the service serves.
func (h *Health) OK() { h.set("") }

// accepts says that the listener is served, which is OK unless the service has
// said by now what else it waits for.
func (h *Health) accepts() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reason == starting {
		h.reason = ""
	}
}

// Fail says that the service cannot serve, and why, in words for its operator.
func (h *Health) Fail(reason string) { h.set(reason) }

func (h *Health) set(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.draining {
		h.reason = reason
	}
}

// Reduce says that the service goes on without a part of itself, such as its
// cache. Health stays 200 and names the part. It reports whether this is news.
func (h *Health) Reduce(part, why string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, known := h.reduced[part]
	h.reduced[part] = why
	return !known
}

// Restore takes back [Health.Reduce]. It reports whether this is news.
func (h *Health) Restore(part string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, known := h.reduced[part]
	delete(h.reduced, part)
	return known
}

// Drain turns health to 503 "draining" for good. It returns a channel that is
// closed once somebody has been told so, and how long ago health was last asked
// for: a service that nobody watches need not wait to be noticed.
func (h *Health) Drain() (noticed <-chan struct{}, lastAsked time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining, h.reason = true, "draining"
	return h.noticed, time.Since(h.asked)
}

// Status returns the HTTP status and the sentence that go with it now: "OK",
// "OK, reduced: cache-store: connection refused", or the reason for a 503.
func (h *Health) Status() (int, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reason != "" {
		return http.StatusServiceUnavailable, h.reason
	}
	if len(h.reduced) == 0 {
		return http.StatusOK, "OK"
	}
	var parts []string
	for _, part := range slices.Sorted(maps.Keys(h.reduced)) {
		parts = append(parts, part+": "+h.reduced[part])
	}
	return http.StatusOK, "OK, reduced: " + strings.Join(parts, "; ")
}

// ServeHTTP answers a health check with [Health.Status] as plain text.
func (h *Health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	status := h.write(w)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = time.Now()
	if h.draining && status != http.StatusOK {
		select {
		case <-h.noticed:
		default:
			close(h.noticed)
		}
	}
}

// write answers without counting as a check.
func (h *Health) write(w http.ResponseWriter) int {
	status, sentence := h.Status()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, sentence)
	return status
}
