package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"minicloud.internal/kit"
	"minicloud.internal/services/queue/client"
)

// defaultQueue is the queue of requests that name none.
const defaultQueue = "default"

// envelope is the room that a request has for all but its message.
const envelope = 4 << 10

// A door is the HTTP door of a store.
type door struct {
	store  *Store
	cfg    Config
	health *kit.Health
}

// ServeHTTP routes by hand: four exact paths, and answers that say what would
// have been right.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method, handle := http.MethodPost, (func(http.ResponseWriter, *http.Request) error)(nil)
	switch r.URL.Path {
	case "/enqueue":
		handle = d.enqueue
	case "/receive":
		handle = d.receive
	case "/ack":
		handle = d.ack
	case "/queues":
		method, handle = http.MethodGet, d.queues
	default:
		kit.WriteProblem(w, r, kit.Problemf(http.StatusNotFound,
			"there is nothing at this path; the queue's doors are POST /enqueue, POST /receive, POST /ack and GET /queues"))
		return
	}
	if r.Method != method && (method != http.MethodGet || r.Method != http.MethodHead) {
		methods := []string{method}
		if method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		kit.WriteProblem(w, r, kit.NotAllowed(w, r, methods...))
		return
	}
	if err := handle(w, r); err != nil {
		p := d.problem(err)
		if p.Status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		kit.WriteProblem(w, r, p)
	}
}

// problem maps the store's errors to HTTP.
func (d *door) problem(err error) *kit.Problem {
	var p *kit.Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, ErrDiskFull):
		return kit.Problemf(http.StatusInsufficientStorage,
			"the queue's disk is full; nothing was enqueued: retry later")
	case errors.Is(err, ErrReceipt):
		return kit.Problemf(http.StatusNotFound,
			"the receipt is not that of the message's latest delivery, or the message is gone")
	case errors.Is(err, ErrQueueFull):
		return kit.Problemf(http.StatusTooManyRequests,
			"the queue holds %d messages, its limit; retry when some are acknowledged", d.cfg.MaxMessages)
	case errors.Is(err, ErrTooManyQueues):
		return kit.Problemf(http.StatusTooManyRequests,
			"there are %d queues, the limit, and none is empty", d.cfg.MaxQueues)
	case errors.Is(err, ErrTooManyWaiters):
		return kit.Problemf(http.StatusTooManyRequests,
			"%d receivers wait on the queue already, the limit; retry later", d.cfg.MaxWaiters)
	case errors.Is(err, ErrTooManyInFlight):
		return kit.Problemf(http.StatusTooManyRequests,
			"%d messages of the queue are in flight, the limit; acknowledge some first", d.cfg.MaxInFlight)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// The client is gone, or the drain cut it off: mostly nobody reads this.
		return kit.Problemf(http.StatusServiceUnavailable, "the request ended before the queue could answer; retry")
	case errors.Is(err, ErrFailed):
		// Said again here: the failure may have come while the server started.
		d.health.Fail(failedSentence)
		return kit.Problemf(http.StatusServiceUnavailable,
			"the queue cannot use its disk and acknowledges nothing; retry when it has been restarted")
	}
	d.store.logger.Error("request not served", "error", err)
	return kit.Problemf(http.StatusServiceUnavailable, "the queue could not read its disk; retry later")
}

func (d *door) enqueue(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Message json.RawMessage `json:"message"`
		Queue   *string         `json:"queue"`
	}
	limit := int64(d.cfg.MaxMessageSize)
	if err := kit.ReadJSON(w, r, limit+envelope, &in); err != nil {
		return err
	}
	name, err := queueName(in.Queue)
	switch {
	case err != nil:
		return err
	case in.Message == nil:
		return fieldProblem("message", "is absent, expected any JSON value")
	case int64(len(in.Message)) > limit:
		return kit.Problemf(http.StatusRequestEntityTooLarge, "the message has %d bytes, over the limit of %d", len(in.Message), limit)
	}
	messageID, err := d.store.Enqueue(name, in.Message)
	if err != nil {
		return err
	}
	kit.WriteJSON(w, http.StatusCreated, struct {
		ID string `json:"id"`
	}{messageID})
	return nil
}

func (d *door) receive(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Max        *int     `json:"max"`
		Wait       *float64 `json:"wait"`
		Visibility *float64 `json:"visibility_timeout"`
		Queue      *string  `json:"queue"`
	}
	if err := kit.ReadJSON(w, r, envelope, &in); err != nil {
		return err
	}
	name, err := queueName(in.Queue)
	if err != nil {
		return err
	}
	limit := 1
	if in.Max != nil {
		limit = *in.Max
	}
	if limit < 1 || limit > maxBatch {
		return fieldProblem("max", fmt.Sprintf("is %d, expected 1 to %d", limit, maxBatch))
	}
	wait, err := seconds("wait", in.Wait, 0, d.cfg.MaxWait)
	if err != nil {
		return err
	}
	visibility, err := seconds("visibility_timeout", in.Visibility, d.cfg.VisibilityTimeout, maxVisibility)
	if err != nil {
		return err
	}
	taken, err := d.store.Receive(r.Context(), name, limit, wait, visibility)
	if err != nil {
		return err
	}
	messages := make([]client.Message, 0, len(taken))
	for _, t := range taken {
		m := client.Message{ID: t.ID, Receipt: t.Receipt, Message: t.Payload, Receives: t.Receives, EnqueuedAt: t.EnqueuedAt}
		if !t.DeadSince.IsZero() {
			m.DeadSince = &t.DeadSince
		}
		messages = append(messages, m)
	}
	kit.WriteJSON(w, http.StatusOK, struct {
		Messages []client.Message `json:"messages"`
	}{messages})
	return nil
}

func (d *door) ack(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Receipt string `json:"receipt"`
	}
	if err := kit.ReadJSON(w, r, envelope, &in); err != nil {
		return err
	}
	if in.Receipt == "" {
		return fieldProblem("receipt", "is absent or empty, expected the receipt of a received message")
	}
	if err := d.store.Ack(in.Receipt); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *door) queues(w http.ResponseWriter, _ *http.Request) error {
	if err := d.store.engine.Failure(); err != nil {
		return err
	}
	type row struct {
		Name     string `json:"name"`
		Ready    int    `json:"ready"`
		InFlight int    `json:"in_flight"`
	}
	rows := []row{}
	for _, q := range d.store.Stats() {
		rows = append(rows, row{q.Name, q.Ready, q.InFlight})
	}
	kit.WriteJSON(w, http.StatusOK, struct {
		Queues []row `json:"queues"`
	}{rows})
	return nil
}

func queueName(name *string) (string, error) {
	if name == nil {
		return defaultQueue, nil
	}
	if !validName(*name) {
		return "", fieldProblem("queue", "is no name of a queue, expected 1 to 80 of A-Z a-z 0-9 _ . -")
	}
	return *name, nil
}

// seconds reads a number of seconds from 0 to most; absent means fallback.
func seconds(field string, value *float64, fallback, most time.Duration) (time.Duration, error) {
	if value == nil {
		return fallback, nil
	}
	if !(*value >= 0 && *value <= most.Seconds()) {
		return 0, fieldProblem(field, fmt.Sprintf("is %v, expected 0 to %v seconds", *value, most.Seconds()))
	}
	return time.Duration(math.Round(*value * float64(time.Second))), nil
}

func fieldProblem(field, detail string) *kit.Problem {
	return kit.InvalidFields(kit.FieldError{Field: field, Detail: detail})
}
