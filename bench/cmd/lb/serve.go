//go:build linux

package main

import (
	"context"
	"hash/crc32"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// reverseProxy is the peer made of the standard library.
func reverseProxy(target string) http.Handler {
	to := &url.URL{Scheme: "http", Host: target}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		// The transport's defaults keep two idle connections per target, with
		// which most requests of 64 clients would open one.
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
			MaxIdleConnsPerHost: keptConnections,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		},
		BufferPool: &bufferPool{},
		ErrorLog:   log.New(io.Discard, "", 0),
	}
}

// A bufferPool spares the proxy 32 KB of garbage per request.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }

// sink is the backend of the uploads, since nginx reads a request body only
// where it passes it on.
func sink() http.Handler {
	buffers := sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /sink", func(w http.ResponseWriter, r *http.Request) {
		b := buffers.Get().(*[]byte)
		defer buffers.Put(b)
		n, sum, err := readAll(r.Body, *b, r.URL.RawQuery == "check")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer := sinkAnswer(n, sum, true)
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer)
	})
	return mux
}

// readAll reads a body to its end, in large pieces; the sum is 0 unless asked for.
func readAll(r io.Reader, buf []byte, check bool) (n int, sum uint32, err error) {
	for {
		m, err := r.Read(buf)
		if n += m; check {
			sum = crc32.Update(sum, crc32.IEEETable, buf[:m])
		}
		if err == io.EOF {
			return n, sum, nil
		}
		if err != nil {
			return n, sum, err
		}
	}
}

// serve serves in a process of its own until ctx ends. What is in flight then
// is nobody's: the clients have their answers.
func serve(ctx context.Context, listen string, h http.Handler) error {
	server := &http.Server{Addr: listen, Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}
