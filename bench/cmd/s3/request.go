//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"minicloud.internal/objectstorage/sigv4"
)

// credential is what every server is started with. It guards nothing but the data
// of one run, on the loopback interface.
var credential = sigv4.Credential{AccessKey: "benchmark", SecretKey: "benchmark-secret"}

const region = "us-east-1"

// A request is all of one, ready to be sent, and what has to come back.
type request struct {
	head, body []byte
	want       want
}

// A want is what the answer to a request has to be; its status is 200 always.
type want struct {
	etag   string // with its quotes; empty: any
	length int    // of the body; negative: any
	body   []byte // nil: any
	// Of a listing: the first and the last of its keys, and how many there are.
	first, last string
	keys        int
}

// A signer makes requests to one server.
type signer struct{ address string }

// request signs. The payload's hash is signed too, as SDKs do over HTTP, so that
// every server has to compute it. hash may be empty where the body is.
func (s signer) request(method, path string, query url.Values, b []byte, hash string) request {
	r := &http.Request{
		Method: method, Host: s.address, Header: make(http.Header, 4), ContentLength: int64(len(b)),
		URL: &url.URL{Scheme: "http", Host: s.address, Path: path, RawQuery: query.Encode()},
	}
	if hash == "" {
		sum := sha256.Sum256(b)
		hash = hex.EncodeToString(sum[:])
	}
	sigv4.Sign(r, credential, region, time.Now(), hash)
	head := make([]byte, 0, 512)
	head = fmt.Appendf(head, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, r.URL.RequestURI(), s.address)
	for name, values := range r.Header {
		for _, value := range values {
			head = fmt.Appendf(head, "%s: %s\r\n", name, value)
		}
	}
	if method != http.MethodGet {
		head = fmt.Appendf(head, "Content-Length: %d\r\n", len(b))
	}
	return request{head: append(head, "\r\n"...), body: b, want: want{length: -1}}
}

// put writes an object.
func (s signer) put(bucket, key string, b body) request {
	r := s.request(http.MethodPut, "/"+bucket+"/"+key, nil, b.bytes, b.sha256)
	r.want.etag = b.etag
	return r
}

// get reads one. What serves files knows no ETag as S3 has it.
func (s signer) get(bucket, key string, b body, etags bool) request {
	r := s.request(http.MethodGet, "/"+bucket+"/"+key, nil, nil, "")
	r.want.length, r.want.body = len(b.bytes), b.bytes
	if etags {
		r.want.etag = b.etag
	}
	return r
}

// list asks for the page of objects that follows an object.
func (s signer) list(bucket string, after int) request {
	query := url.Values{"list-type": {"2"}, "max-keys": {strconv.Itoa(pageSize)}, "start-after": {key(after)}}
	r := s.request(http.MethodGet, "/"+bucket, query, nil, "")
	r.want.first, r.want.last, r.want.keys = key(after+1), key(after+pageSize), pageSize
	return r
}

// checkBody says what is wrong with the body of an answer.
func (w *want) checkBody(b []byte) error {
	if w.body != nil && !bytes.Equal(b, w.body) {
		at := 0
		for at < min(len(b), len(w.body)) && b[at] == w.body[at] {
			at++
		}
		return fmt.Errorf("a body that differs from the expected from byte %d on", at)
	}
	if w.keys == 0 {
		return nil
	}
	open, end := []byte("<Key>"), []byte("</Key>")
	n := bytes.Count(b, open)
	first, last := "", ""
	if n > 0 {
		before, _, _ := bytes.Cut(b[bytes.Index(b, open)+len(open):], end)
		first = string(before)
		before, _, _ = bytes.Cut(b[bytes.LastIndex(b, open)+len(open):], end)
		last = string(before)
	}
	if n != w.keys || first != w.first || last != w.last {
		return fmt.Errorf("a listing of %d keys from %q to %q, expected %d from %q to %q", n, first, last, w.keys, w.first, w.last)
	}
	return nil
}
