// Package client is the Go client of the queue's HTTP door. It links nothing
// of the queue's engine.
//
//	id, err := c.Enqueue(ctx, event)                     // durable once it returns
//	messages, err := c.Receive(ctx, 10, 20*time.Second, 0) // long poll
//	for _, m := range messages {
//		if handle(m) == nil {
//			err = c.Ack(ctx, m.Receipt)
//		}
//	}
//
// Delivery is at least once: a message that is not acknowledged within its
// visibility timeout comes again, so that handling must be idempotent.
package client

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"minicloud.internal/kit"
)

// A Message is one delivery of a message.
type Message struct {
	// ID is the same in every delivery.
	ID string `json:"id"`
	// Receipt acknowledges this delivery; a later delivery has another.
	Receipt string `json:"receipt"`
	// Message is what was enqueued.
	Message json.RawMessage `json:"message"`
	// Receives counts the deliveries, this one included.
	Receives int `json:"receives"`
	// EnqueuedAt is when the queue took the message, by its own clock.
	EnqueuedAt time.Time `json:"enqueued_at"`
	// DeadSince is when the message was moved to a dead-letter queue, in
	// messages from such a queue.
	DeadSince *time.Time `json:"dead_since,omitempty"`
}

// A Client calls one queue of one server. It may be used concurrently.
type Client struct {
	base, queue string
	http        *http.Client
}

// New returns a client of the queue "default" at baseURL, as in
// "http://message-queue:8006", which calls with hc. A timeout of hc must leave
// room for the longest wait that is passed to Receive.
func New(baseURL string, hc *http.Client) *Client {
	return &Client{base: strings.TrimRight(baseURL, "/"), http: hc}
}

// Queue returns a client of the queue of that name at the same server; the
// dead-letter queue of "x" is "x.dead".
func (c *Client) Queue(name string) *Client {
	return &Client{base: c.base, queue: name, http: c.http}
}

// Enqueue sends message as JSON and returns its id. A nil error means that the
// message is on stable storage. After an error it may have been taken all the
// same. A refusal is a *[kit.Problem].
func (c *Client) Enqueue(ctx context.Context, message any) (id string, err error) {
	in := struct {
		Message any    `json:"message"`
		Queue   string `json:"queue,omitempty"`
	}{message, c.queue}
	var out struct {
		ID string `json:"id"`
	}
	err = kit.CallJSON(ctx, c.http, http.MethodPost, c.base+"/enqueue", in, &out)
	return out.ID, err
}

// Receive takes up to max messages (1 to 10). Where there is none it waits up
// to wait (at most 20 s) for the first; an empty answer is no error. The
// messages stay invisible to other receivers for visibility; 0 means the
// server's default.
func (c *Client) Receive(ctx context.Context, max int, wait, visibility time.Duration) ([]Message, error) {
	in := struct {
		Max        int     `json:"max"`
		Wait       float64 `json:"wait"`
		Visibility float64 `json:"visibility_timeout,omitempty"`
		Queue      string  `json:"queue,omitempty"`
	}{max, wait.Seconds(), visibility.Seconds(), c.queue}
	var out struct {
		Messages []Message `json:"messages"`
	}
	err := kit.CallJSON(ctx, c.http, http.MethodPost, c.base+"/receive", in, &out)
	return out.Messages, err
}

// Ack acknowledges a delivery: the message is gone for good, durably. A
// *[kit.Problem] of status 404 means that the message was delivered again since,
// or acknowledged before.
func (c *Client) Ack(ctx context.Context, receipt string) error {
	in := struct {
		Receipt string `json:"receipt"`
	}{receipt}
	return kit.CallJSON(ctx, c.http, http.MethodPost, c.base+"/ack", in, nil)
}
