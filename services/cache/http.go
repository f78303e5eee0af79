package cache

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"minicloud.internal/kit"
)

// leaseHeader carries the lease of a miss.
const leaseHeader = "X-Cache-Lease"

// A door is the HTTP door of a store.
type door struct {
	store   *Store
	metrics *metrics
	cfg     Config
}

// ServeHTTP routes on the path as it was sent: a key may hold any character,
// slashes (as %2F, or as they are) and dots included, and [http.ServeMux] would
// clean it.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := d.route(w, r); err != nil {
		var p *kit.Problem
		if !errors.As(err, &p) {
			p = kit.Problemf(http.StatusConflict, "a set or delete of the key came since the lease was given, or it has ended; nothing was stored")
		}
		kit.WriteProblem(w, r, p)
	}
}

func (d *door) route(w http.ResponseWriter, r *http.Request) error {
	path := r.URL.EscapedPath()
	var method string
	var handle func(w http.ResponseWriter, r *http.Request, escaped string) error
	escaped := ""
	switch {
	case strings.HasPrefix(path, "/get/"):
		method, handle, escaped = http.MethodGet, d.get, strings.TrimPrefix(path, "/get/")
	case strings.HasPrefix(path, "/delete/"):
		method, handle, escaped = http.MethodDelete, d.delete, strings.TrimPrefix(path, "/delete/")
	case path == "/set":
		method, handle = http.MethodPost, d.set
	case path == "/stats":
		method, handle = http.MethodGet, d.stats
	default:
		return kit.Problemf(http.StatusNotFound,
			"there is nothing at this path; the cache's doors are GET /get/{key}, POST /set, DELETE /delete/{key} and GET /stats")
	}
	if r.Method != method && (method != http.MethodGet || r.Method != http.MethodHead) {
		if method == http.MethodGet {
			return kit.NotAllowed(w, r, method, http.MethodHead)
		}
		return kit.NotAllowed(w, r, method)
	}
	return handle(w, r, escaped)
}

// key decodes a key from a path.
func (d *door) key(escaped string) (string, error) {
	key, err := url.PathUnescape(escaped)
	if err != nil {
		return "", kit.Problemf(http.StatusBadRequest, "the key in the path is not percent-encoded rightly: %v", err)
	}
	return key, d.checkKey(key)
}

func (d *door) checkKey(key string) error {
	switch {
	case key == "":
		return kit.Problemf(http.StatusBadRequest, "the key is absent or empty")
	case len(key) > int(d.cfg.MaxKeySize):
		return kit.Problemf(http.StatusBadRequest, "the key has %d bytes, over the limit of %d", len(key), d.cfg.MaxKeySize)
	case !utf8.ValidString(key):
		return kit.Problemf(http.StatusBadRequest, "the key is not UTF-8")
	}
	return nil
}

func (d *door) get(w http.ResponseWriter, _ *http.Request, escaped string) error {
	key, err := d.key(escaped)
	if err != nil {
		return err
	}
	value, ttl, lease, ok := d.store.GetOrLease(key)
	if !ok {
		w.Header().Set(leaseHeader, strconv.FormatUint(lease, 10))
		return kit.Problemf(http.StatusNotFound, "the key is not in the cache; the header %s allows one set of what you load instead", leaseHeader)
	}
	kit.WriteJSON(w, http.StatusOK, struct {
		Key   string `json:"key"`
		Value string `json:"value"`
		TTL   int64  `json:"ttl"`
	}{key, value, wholeSeconds(ttl)})
	return nil
}

// wholeSeconds rounds up: 0 means without an end.
func wholeSeconds(ttl time.Duration) int64 { return int64((ttl + time.Second - 1) / time.Second) }

func (d *door) set(w http.ResponseWriter, r *http.Request, _ string) error {
	var in struct {
		Key   string   `json:"key"`
		Value *string  `json:"value"`
		TTL   *float64 `json:"ttl"`
		Lease uint64   `json:"lease"`
	}
	// JSON may write a byte as six, "\u0000".
	limit := 6*int64(d.cfg.MaxValueSize+d.cfg.MaxKeySize) + 1024
	if err := kit.ReadJSON(w, r, limit, &in); err != nil {
		return err
	}
	if err := d.checkKey(in.Key); err != nil {
		return err
	}
	if in.Value == nil {
		return kit.InvalidFields(kit.FieldError{Field: "value", Detail: "is absent, expected a string"})
	}
	if len(*in.Value) > int(d.cfg.MaxValueSize) {
		return kit.Problemf(http.StatusRequestEntityTooLarge, "the value has %d bytes, over the limit of %d", len(*in.Value), d.cfg.MaxValueSize)
	}
	ttl := d.cfg.DefaultTTL
	if in.TTL != nil {
		if !(*in.TTL >= 0 && *in.TTL <= maxTTL.Seconds()) {
			return kit.InvalidFields(kit.FieldError{Field: "ttl",
				Detail: fmt.Sprintf("is %v, expected 0 (no end) to %.0f seconds", *in.TTL, maxTTL.Seconds())})
		}
		// Up: a positive number must not become 0, which has no end.
		ttl = time.Duration(math.Ceil(*in.TTL * float64(time.Second)))
	}
	if err := d.store.Set(in.Key, *in.Value, ttl, in.Lease); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *door) delete(w http.ResponseWriter, _ *http.Request, escaped string) error {
	key, err := d.key(escaped)
	if err != nil {
		return err
	}
	d.store.Delete(key)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// stats answers with the counters of the metrics, since the start.
func (d *door) stats(w http.ResponseWriter, _ *http.Request, _ string) error {
	entries, bytes := d.store.Size()
	kit.WriteJSON(w, http.StatusOK, map[string]uint64{
		"entries":         uint64(entries),
		"bytes":           bytes,
		"max_bytes":       uint64(d.cfg.MaxMemory),
		"leases":          uint64(d.store.Leases()),
		"hits":            count(d.metrics.hits),
		"misses":          count(d.metrics.misses),
		"sets":            count(d.metrics.sets),
		"deletes":         count(d.metrics.deletes),
		"lease_refused":   count(d.metrics.leaseRefused),
		"evicted_size":    count(d.metrics.evictedSize),
		"evicted_expired": count(d.metrics.evictedExpired),
	})
	return nil
}

// count reads a counter, so that the two views cannot differ.
func count(c prometheus.Counter) uint64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		return 0
	}
	return uint64(m.GetCounter().GetValue())
}
