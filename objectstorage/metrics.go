package objectstorage

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/objectstorage/store/disk"
)

type metrics struct {
	requests *prometheus.CounterVec
	received prometheus.Counter
	sent     prometheus.Counter
	put      prometheus.Histogram
	disk     atomic.Pointer[disk.Store] // nil while no store is open
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const ns, sub = "minicloud", "objectstorage"
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "requests_total",
			Help: "Requests answered, by method and class of status."}, []string{"method", "class"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "received_bytes_total",
			Help: "Bytes of request bodies read."}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "sent_bytes_total",
			Help: "Bytes of answers' bodies sent."}),
		put: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "put_duration_seconds",
			Help:    "Time from the first byte of an object to its being durable, of those stored.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9)}), // 1 ms to 65 s
	}
	gauge := func(name, help string, value func(*disk.Store) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, func() float64 {
			if d := m.disk.Load(); d != nil {
				return float64(value(d))
			}
			return 0
		})
	}
	for _, c := range []prometheus.Collector{m.requests, m.received, m.sent, m.put,
		gauge("objects", "Objects in the store.", (*disk.Store).Len),
		gauge("damaged_objects", "Files found damaged when the store was opened.", (*disk.Store).Damaged),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics: %w", err)
		}
	}
	return m, nil
}

// watch sets the store that the gauges speak of.
func (m *metrics) watch(d *disk.Store) { m.disk.Store(d) }

// count counts a request that has been answered.
func (m *metrics) count(r *http.Request, w *meter, body *meteredBody) {
	method := r.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete:
	default:
		method = "other" // a label is never a client's choice
	}
	m.requests.WithLabelValues(method, fmt.Sprintf("%dxx", max(w.status, 200)/100)).Inc()
	m.received.Add(float64(body.bytes.Load()))
	m.sent.Add(float64(w.bytes))
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
