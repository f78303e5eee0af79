package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"minicloud.internal/kit"
)

// A network is a host table whose services can be cut off: nobody connects, and
// what was connected breaks.
type network struct {
	mu    sync.Mutex
	hosts map[string]string
	cut   map[string]bool
	conns map[string][]net.Conn
	dials map[string]int
}

func newNetwork() *network {
	return &network{hosts: map[string]string{}, cut: map[string]bool{}, conns: map[string][]net.Conn{}, dials: map[string]int{}}
}

func (n *network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	real, known := n.hosts[address]
	refused := n.cut[address]
	n.dials[address]++
	n.mu.Unlock()
	if !known || refused {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused by the test")}
	}
	conn, err := kit.DefaultDial(ctx, network, real)
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.conns[address] = append(n.conns[address], conn)
	}
	return conn, err
}

func (n *network) set(address, real string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[address] = real
}

func (n *network) stop(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[address] = true
	for _, c := range n.conns[address] {
		_ = c.Close()
	}
	n.conns[address] = nil
}

func (n *network) start(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[address] = false
}

func (n *network) dialed(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[address]
}

// fakeCache speaks the cache's HTTP contract, with leases and without expiry.
type fakeCache struct {
	mu     sync.Mutex
	values map[string]string
	leases map[string]uint64 // one for each key that was missed
	last   uint64
	gets   int
}

func newFakeCache() *fakeCache {
	return &fakeCache{values: map[string]string{}, leases: map[string]uint64{}}
}

func (c *fakeCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /get/{key}", func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.gets++
		key := r.PathValue("key")
		value, found := c.values[key]
		if !found {
			if c.leases[key] == 0 {
				c.last++
				c.leases[key] = c.last
			}
			w.Header().Set("X-Cache-Lease", strconv.FormatUint(c.leases[key], 10))
			kit.WriteProblem(w, r, kit.Problemf(http.StatusNotFound, "no such key"))
			return
		}
		kit.WriteJSON(w, http.StatusOK, map[string]any{"key": key, "value": value, "ttl": 0})
	})
	mux.HandleFunc("POST /set", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Key, Value string
			TTL        float64
			Lease      uint64
		}
		if err := kit.ReadJSON(w, r, 1<<20, &in); err != nil {
			kit.WriteProblem(w, r, err.(*kit.Problem))
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if in.Lease != 0 && c.leases[in.Key] != in.Lease {
			kit.WriteProblem(w, r, kit.Problemf(http.StatusConflict, "the lease was revoked"))
			return
		}
		delete(c.leases, in.Key)
		c.values[in.Key] = in.Value
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /delete/{key}", func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.values, r.PathValue("key"))
		delete(c.leases, r.PathValue("key"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.ServeHTTP(w, r)
}

func (c *fakeCache) value(key string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.values[key]
	return v, ok
}

func (c *fakeCache) put(key, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[key] = value
}

// fakeQueue speaks the queue's HTTP contract for one queue.
type fakeQueue struct {
	mu       sync.Mutex
	messages []*queued
	enqueued []event // everything that ever came
	headers  []http.Header
	last     int
	changed  chan struct{}
}

type queued struct {
	ID       string          `json:"id"`
	Receipt  string          `json:"receipt"`
	Message  json.RawMessage `json:"message"`
	Receives int             `json:"receives"`
	At       time.Time       `json:"enqueued_at"`
	until    time.Time
}

func newFakeQueue() *fakeQueue { return &fakeQueue{changed: make(chan struct{})} }

func (q *fakeQueue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Message    json.RawMessage `json:"message"`
		Receipt    string          `json:"receipt"`
		Max        int             `json:"max"`
		Wait       float64         `json:"wait"`
		Visibility float64         `json:"visibility_timeout"`
	}
	if err := kit.ReadJSON(w, r, 1<<20, &in); err != nil {
		kit.WriteProblem(w, r, err.(*kit.Problem))
		return
	}
	switch r.URL.Path {
	case "/enqueue":
		q.mu.Lock()
		q.headers = append(q.headers, r.Header.Clone())
		q.mu.Unlock()
		kit.WriteJSON(w, http.StatusCreated, map[string]string{"id": q.add(in.Message)})
	case "/receive":
		end := time.After(time.Duration(in.Wait * float64(time.Second)))
		for {
			got, changed := q.take(in.Max, time.Duration(in.Visibility*float64(time.Second)))
			if len(got) > 0 {
				kit.WriteJSON(w, http.StatusOK, map[string]any{"messages": got})
				return
			}
			select {
			case <-changed:
			case <-time.After(10 * time.Millisecond): // something may be visible again
			case <-r.Context().Done():
				return
			case <-end:
				kit.WriteJSON(w, http.StatusOK, map[string]any{"messages": []queued{}})
				return
			}
		}
	case "/ack":
		q.mu.Lock()
		defer q.mu.Unlock()
		i := slices.IndexFunc(q.messages, func(m *queued) bool { return m.Receipt == in.Receipt })
		if i < 0 {
			kit.WriteProblem(w, r, kit.Problemf(http.StatusNotFound, "no such receipt"))
			return
		}
		q.messages = slices.Delete(q.messages, i, i+1)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (q *fakeQueue) add(message json.RawMessage) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	m := &queued{ID: strconv.Itoa(q.last), Message: message, At: time.Now()}
	q.messages = append(q.messages, m)
	var e event
	_ = json.Unmarshal(message, &e)
	q.enqueued = append(q.enqueued, e)
	close(q.changed)
	q.changed = make(chan struct{})
	return m.ID
}

func (q *fakeQueue) take(most int, visibility time.Duration) (got []queued, changed chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, m := range q.messages {
		if len(got) < most && !now.Before(m.until) {
			m.Receives++
			m.Receipt = m.ID + "." + strconv.Itoa(m.Receives)
			m.until = now.Add(visibility)
			got = append(got, *m)
		}
	}
	return got, q.changed
}

// seen returns the ids of the spells of all events, in order of arrival.
func (q *fakeQueue) seen() (ids []int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.enqueued {
		ids = append(ids, e.SpellID)
	}
	return ids
}

// waiting returns the receives of each message that is not acknowledged.
func (q *fakeQueue) waiting() (receives []int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.messages {
		receives = append(receives, m.Receives)
	}
	return receives
}

// fakeObjects speaks PUT, GET and DELETE of /files/{key...}.
type fakeObjects struct {
	mu      sync.Mutex
	objects map[string]string
	types   map[string]string
	status  int // where set, PUTs are refused with it
}

func newFakeObjects() *fakeObjects {
	return &fakeObjects{objects: map[string]string{}, types: map[string]string{}}
}

func (o *fakeObjects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	key := r.URL.Path[len("/files/"):]
	o.mu.Lock()
	defer o.mu.Unlock()
	switch r.Method {
	case http.MethodPut:
		if o.status != 0 {
			kit.WriteProblem(w, r, kit.Problemf(o.status, "refused by the test"))
			return
		}
		o.objects[key], o.types[key] = string(body), r.Header.Get("Content-Type")
		w.WriteHeader(http.StatusCreated)
	case http.MethodDelete:
		delete(o.objects, key)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (o *fakeObjects) refuse(status int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status = status
}

func (o *fakeObjects) object(key string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.objects[key]
}
