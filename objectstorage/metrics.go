package objectstorage

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/objectstorage/store/disk"
)

// The two doors, as the label of a metric.
const (
	doorFiles = "files"
	doorS3    = "s3"
)

type metrics struct {
	requests *prometheus.CounterVec
	received prometheus.Counter
	sent     prometheus.Counter
	put      prometheus.Histogram
	expired  *prometheus.CounterVec
	disk     atomic.Pointer[disk.Store] // nil while none is open
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const ns, sub = "minicloud", "objectstorage"
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "requests_total",
			Help: "Requests answered, by door, operation and class of status."}, []string{"door", "operation", "class"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "received_bytes_total",
			Help: "Bytes of request bodies read."}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "sent_bytes_total",
			Help: "Bytes of answers' bodies sent."}),
		put: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "put_duration_seconds",
			Help:    "Time from the first byte of an object or a part to its being durable, of those stored.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 4, 10)}), // 0.25 ms to 65 s
		expired: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "expired_total",
			Help: "What lifecycle rules removed: objects, versions (also delete markers), uploads."}, []string{"what"}),
	}
	stat := func(name, help string, value func(disk.Stats) int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, func() float64 {
			if d := m.disk.Load(); d != nil {
				return float64(value(d.Stats()))
			}
			return 0
		})
	}
	for _, c := range []prometheus.Collector{m.requests, m.received, m.sent, m.put, m.expired,
		stat("objects", "Versions of objects in the store, delete markers aside; 0 with the driver s3.", func(s disk.Stats) int64 { return s.Objects }),
		stat("object_bytes", "Bytes of all of them; 0 with the driver s3.", func(s disk.Stats) int64 { return s.Bytes }),
		stat("damaged_objects", "Objects found damaged since the start and not replaced.", func(s disk.Stats) int64 { return s.Damaged }),
		stat("scrubbed_bytes", "Bytes of bodies that the scrub has verified since the start.", func(s disk.Stats) int64 { return s.Scrubbed }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics: %w", err)
		}
	}
	return m, nil
}

// classes of status, by their first digit.
var classes = [...]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"}

// count counts a request that has been answered. operation is one of few: a
// label is never a client's choice.
func (m *metrics) count(door, operation string, status int) {
	if status == 0 {
		status = http.StatusOK // as net/http does
	}
	class := "other"
	if n := status / 100; n < len(classes) {
		class = classes[n]
	}
	m.requests.WithLabelValues(door, operation, class).Inc()
}

// operationOf names what a request to /files wants.
func operationOf(r *http.Request) string {
	key, _ := keyOf(r.URL.Path)
	switch r.Method {
	case http.MethodGet:
		if key == "" {
			return "list"
		}
		return "get"
	case http.MethodHead:
		return "head"
	case http.MethodPut:
		return "put"
	case http.MethodDelete:
		return "delete"
	case http.MethodPost:
		return "form"
	}
	return "other"
}

// measured counts the bytes that pass through a handler.
func (m *metrics) measured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, body := &meter{ResponseWriter: w}, &meteredBody{ReadCloser: r.Body}
		r.Body = body
		defer func() {
			m.received.Add(float64(body.bytes.Load()))
			m.sent.Add(float64(out.bytes))
		}()
		h.ServeHTTP(out, r)
	})
}

// meter counts what passes through a ResponseWriter, and keeps sendfile.
type meter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap serves [http.ResponseController].
func (w *meter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *meter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *meter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom lets the writer below take a file as a file.
func (w *meter) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, src)
	w.bytes += n
	return n, err
}

// meteredBody counts what is read of a request's body, which the server may go
// on reading by itself.
type meteredBody struct {
	io.ReadCloser
	bytes atomic.Int64
}

func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}
