package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"minicloud.internal/kit"
)

// methods are those that a request may be counted under, and that a 405 looks
// for.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// handler returns the service's routes. /healthz is kit's.
func (a *API) handler() http.Handler {
	r := chi.NewRouter()
	r.Use(a.measure, a.servedBy, middleware.GetHead)
	r.NotFound(a.answer(func(http.ResponseWriter, *http.Request) error {
		return kit.Problemf(http.StatusNotFound, "nothing is here; the spells are at /api/spells")
	}))
	r.MethodNotAllowed(a.answer(func(w http.ResponseWriter, req *http.Request) error {
		return notAllowed(w, req, r)
	}))
	r.Get("/api/spells", a.answer(a.list))
	r.Post("/api/spells", a.answer(a.create))
	r.Get("/api/spells/{id}", a.answer(a.get))
	r.Put("/api/spells/{id}", a.answer(a.replace))
	r.Delete("/api/spells/{id}", a.answer(a.delete))
	return r
}

// measure counts requests by the pattern of their route, never by their path,
// which anybody may choose.
func (a *API) measure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		seen := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(seen, r)
		a.metrics.observe(chi.RouteContext(r.Context()).RoutePattern(), r.Method, seen.Status(), time.Since(start))
	})
}

// servedBy names the replica on every answer.
func (a *API) servedBy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Served-By", a.name)
		next.ServeHTTP(w, r)
	})
}

// answer makes a handler of a function that returns its error.
func (a *API) answer(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := f(w, r)
		if err == nil {
			return
		}
		p := problemOf(err, r)
		switch p.Status {
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", retryAfter)
		case http.StatusInternalServerError:
			a.logger.Error("request not answered", "error", err, "request_id", kit.TraceFrom(r.Context()).RequestID)
		}
		kit.WriteProblem(w, r, p)
	}
}

// retryAfter is in seconds: a data store restarts in about that.
const retryAfter = "2"

// statusClosed is for a client that went away; nobody reads it but the log.
const statusClosed = 499

// problemOf is where an error of this service becomes one of HTTP.
func problemOf(err error, r *http.Request) *kit.Problem {
	var p *kit.Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, errNotFound):
		return kit.Problemf(http.StatusNotFound, "there is no spell %s; GET /api/spells lists those that are", chi.URLParam(r, "id"))
	case errors.Is(err, errStoreDown) && r.Method == http.MethodPost:
		return kit.Problemf(http.StatusServiceUnavailable, "the book of spells is out of reach at the moment; "+
			"look in a few seconds whether the spell is in GET /api/spells, and send it again if it is not")
	case errors.Is(err, errStoreDown):
		return kit.Problemf(http.StatusServiceUnavailable, "the book of spells is out of reach at the moment; send the same request again in a few seconds")
	case errors.Is(err, context.Canceled):
		p := kit.Problemf(statusClosed, "the request was given up before its answer was ready")
		p.Title = "Client Closed Request"
		return p
	}
	return kit.Problemf(http.StatusInternalServerError, "the request met a bug in this service; its log has it under the request id")
}

// notAllowed is a 405 with the methods that the path has (RFC 9110, section
// 15.5.6), or a 404 where it has none and only the method is unknown.
func notAllowed(w http.ResponseWriter, r *http.Request, routes chi.Routes) error {
	path := r.URL.RawPath
	if path == "" {
		path = r.URL.Path
	}
	var allowed []string
	for _, m := range methods {
		if routes.Match(chi.NewRouteContext(), m, path) {
			allowed = append(allowed, m)
			if m == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
	}
	if len(allowed) == 0 {
		return kit.Problemf(http.StatusNotFound, "nothing is here; the spells are at /api/spells")
	}
	return kit.NotAllowed(w, r, allowed...)
}
