package http1

import (
	"bytes"
	"testing"
)

// browser is a head of the size that browsers send.
const browser = "GET /api/spells?limit=20&after=1042 HTTP/1.1\r\n" +
	"Host: example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:138.0) Gecko/20100101 Firefox/138.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
	"Accept-Language: en-GB,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br\r\n" +
	"Connection: keep-alive\r\n" +
	"Cookie: session=6f1ed002ab5595859014ebf0951522d9; theme=dark\r\n" +
	"Sec-Fetch-Dest: document\r\n" +
	"Sec-Fetch-Mode: navigate\r\n" +
	"Cache-Control: max-age=0\r\n\r\n"

const small = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: bench\r\n\r\n"

const answer = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 04 Aug 2025 09:12:55 GMT\r\n" +
	"Content-Type: application/json\r\nContent-Length: 114\r\nConnection: keep-alive\r\n" +
	"ETag: \"68907637-72\"\r\nCache-Control: no-store\r\nVary: Accept-Encoding\r\n\r\n"

var limits = Limits{Line: 8 << 10, Head: 64 << 10, Fields: 100}

func BenchmarkRequest(b *testing.B) {
	for name, head := range map[string]string{"small": small, "browser": browser} {
		b.Run(name, func(b *testing.B) {
			var r Request
			buf := []byte(head)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := r.Parse(buf, &limits); n == 0 {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkResponse(b *testing.B) {
	var r Response
	buf := []byte(answer)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := r.Parse(buf, &limits); n == 0 {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecoder(b *testing.B) {
	var d Decoder
	var body []byte
	for range 8 {
		body = append(AppendChunkSize(body, 4<<10), bytes.Repeat([]byte("x"), 4<<10)...)
		body = append(body, "\r\n"...)
	}
	body = append(body, "0\r\n\r\n"...)
	buf := make([]byte, len(body))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, body)
		d.Reset(0)
		if _, _, done, err := d.Decode(buf); !done {
			b.Fatal(err)
		}
	}
}
