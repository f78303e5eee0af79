package server

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/miekg/dns"

	"minicloud.internal/kit"
)

const (
	dohPath = "/dns-query"
	dohType = "application/dns-message"
)

// doh returns the handler of DNS over HTTPS (RFC 8484). Of what goes the general
// way it has as many queries in flight as UDP may have: a connection may carry
// hundreds at once.
func (run *serving) doh() http.Handler {
	slots := make(chan struct{}, run.limits.MaxInFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wire, problem := dohQuery(w, r)
		if problem != nil {
			kit.WriteProblem(w, r, problem)
			return
		}
		client, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			kit.WriteProblem(w, r, kit.Problemf(http.StatusInternalServerError, "the client has no address"))
			return
		}
		client = netip.AddrPortFrom(client.Addr().Unmap().WithZone(""), client.Port())
		answer, _ := run.respondFast(wire, client, transportHTTPS)
		if answer == nil {
			select {
			case slots <- struct{}{}:
			default:
				run.metrics.drop(transportHTTPS, reasonOverload)
				w.Header().Set("Retry-After", "1")
				kit.WriteProblem(w, r, kit.Problemf(http.StatusServiceUnavailable, "too many queries are being answered"))
				return
			}
			answer = func() []byte {
				defer func() { <-slots }() // before the client takes the answer, at leisure
				return run.respondWhole(r.Context(), wire, client, transportHTTPS)
			}()
		}
		if answer == nil {
			kit.WriteProblem(w, r, kit.Problemf(http.StatusBadRequest, "the message is no DNS query"))
			return
		}
		h := w.Header()
		h.Set("Content-Type", dohType)
		h.Set("Content-Length", strconv.Itoa(len(answer)))
		h.Set("Cache-Control", "max-age="+strconv.FormatUint(uint64(freshness(answer)), 10))
		_, _ = w.Write(answer) // the client may be gone
	})
}

// dohQuery takes the message from a request (RFC 8484, section 4.1).
func dohQuery(w http.ResponseWriter, r *http.Request) ([]byte, *kit.Problem) {
	if r.URL.Path != dohPath {
		return nil, kit.Problemf(http.StatusNotFound, "DNS is asked at %s", dohPath)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		values := r.URL.Query()["dns"]
		if len(values) != 1 {
			return nil, kit.Problemf(http.StatusBadRequest, "expected one parameter dns, with a message in base64url")
		}
		wire, err := base64.RawURLEncoding.Strict().DecodeString(values[0])
		if err != nil {
			return nil, kit.Problemf(http.StatusBadRequest, "the parameter dns is not base64url without padding")
		}
		return wire, nil
	case http.MethodPost:
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != dohType {
			return nil, kit.Problemf(http.StatusUnsupportedMediaType, "expected a body of type %s", dohType)
		}
		wire, err := io.ReadAll(http.MaxBytesReader(w, r.Body, dns.MaxMsgSize))
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return nil, kit.Problemf(http.StatusRequestEntityTooLarge, "a DNS message has at most %d octets", dns.MaxMsgSize)
		} else if err != nil {
			return nil, kit.Problemf(http.StatusBadRequest, "the body was cut off")
		}
		return wire, nil
	}
	return nil, kit.NotAllowed(w, r, http.MethodGet, http.MethodHead, http.MethodPost)
}

// freshness returns how many seconds an answer of ours may be kept: the lowest
// TTL of its answer section, without one that of its authority section (RFC
// 8484, section 5.1), and 0 for what has neither, or failed.
func freshness(answer []byte) uint32 {
	rcode := answer[3] & 0xF
	if rcode != dns.RcodeSuccess && rcode != dns.RcodeNameError {
		return 0
	}
	off := headerSize
	for range binary.BigEndian.Uint16(answer[4:]) {
		off = skipName(answer, off) + 4
	}
	n := int(binary.BigEndian.Uint16(answer[6:]))
	if n == 0 {
		n = int(binary.BigEndian.Uint16(answer[8:]))
	}
	if n == 0 {
		return 0
	}
	lowest := uint32(math.MaxInt32)
	for range n {
		off = skipName(answer, off)
		lowest = min(lowest, binary.BigEndian.Uint32(answer[off+4:]))
		off += 10 + int(binary.BigEndian.Uint16(answer[off+8:]))
	}
	return lowest
}
