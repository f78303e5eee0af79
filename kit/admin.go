package kit

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry returns a metrics registry with the Go runtime's and the
// process's own collectors in it.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Admin is the handler of the admin listener: /metrics, /healthz, /readyz and
// /debug/pprof/. extra adds a service's own patterns, and may be nil.
func Admin(h *Health, reg prometheus.Gatherer, extra map[string]http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	// Asking here must not count as the load balancer's asking: it ends a drain.
	status := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { h.write(w) })
	mux.Handle("GET /healthz", status)
	mux.Handle("GET /readyz", status)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	for pattern, handler := range extra {
		mux.Handle(pattern, handler)
	}
	return mux
}

// ServeAdmin serves [Admin] on ln until ctx ends. A profile that is still being
// taken then is cut off after a second.
func ServeAdmin(ctx context.Context, ln net.Listener, logger *slog.Logger, handler http.Handler) error {
	s := &HTTPServer{Handler: handler, Logger: logger, DrainTimeout: time.Second}
	return s.Serve(ctx, ln)
}
