//go:build linux

package main

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
)

const megabyte = 1 << 20

// smallAnswer is the 114-byte JSON document.
const smallAnswer = `{"id":1,"name":"Accio","description":"Summons any objects.","level":3,"school":"charms","incantation":"ah-kee-oh"}`

// A workload is what the clients do. They are a closed loop: each connection
// sends its next request when it has the whole answer to the last.
type workload struct {
	name        string
	connections int
	path        string
	upload      int  // bytes of the request body; 0 means GET
	fresh       bool // a new connection for each request
	// check is of how many requests of a connection one has its body compared;
	// status and length are compared always. Every request of the small ones;
	// of the large ones few, so that the generator leaves its core to the proxy.
	check int
	// threads of the generator; 0 means one. A new connection costs its client more
	// than the proxy: one thread would be what is measured.
	threads int
}

// steadyWorkload is the one under which our allocations per request are measured.
const steadyWorkload = "GET 114 B, 64 connections"

var workloads = []workload{
	{name: "GET 114 B, 1 connection", connections: 1, path: "/small", check: 1},
	{name: steadyWorkload, connections: 64, path: "/small", check: 1},
	{name: "GET 114 B, 1,000 connections", connections: 1000, path: "/small", check: 1},
	{name: "GET 16 KB, 64 connections", connections: 64, path: "/16k", check: 1},
	{name: "GET 1 MB, 16 connections", connections: 16, path: "/1m", check: 16},
	{name: "POST 1 MB, 16 connections", connections: 16, path: "/sink", upload: megabyte, check: 16},
	{name: "GET 114 B, new connection per request, 64 at once", connections: 64, path: "/small", fresh: true, check: 1, threads: 2},
}

// payload is n bytes, always the same, that no two offsets share for long: a
// body that is shifted, cut or mixed with another one compares as different.
func payload(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte([]byte("the body of every large exchange"))).Read(b)
	return b
}

// answer is the body that a path answers with. For an upload it is that of the
// sink, which was asked to compare, or not to.
func (w workload) answer(checked bool) []byte {
	switch w.path {
	case "/small":
		return []byte(smallAnswer)
	case "/16k":
		return payload(16 << 10)
	case "/1m":
		return payload(megabyte)
	default:
		return sinkAnswer(w.upload, crc32.ChecksumIEEE(payload(w.upload)), checked)
	}
}

// sinkAnswer tells what the sink has read. A sum that was not asked for is
// zero, so that all answers have the same length.
func sinkAnswer(n int, sum uint32, checked bool) []byte {
	if !checked {
		sum = 0
	}
	return fmt.Appendf(nil, "%d bytes, CRC-32 %08x\n", n, sum)
}

// request is the whole of a request, head and body.
func (w workload) request(host string, checked bool) []byte {
	var b strings.Builder
	method, query := "GET", ""
	if w.upload > 0 {
		method = "POST"
		if checked {
			query = "?check"
		}
	}
	fmt.Fprintf(&b, "%s %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n", method, w.path, query, host)
	if w.upload > 0 {
		fmt.Fprintf(&b, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", w.upload)
	}
	if w.fresh {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	b.Write(payload(w.upload))
	return []byte(b.String())
}

// workloadNamed finds a workload for a process that was given its name.
func workloadNamed(name string) (workload, error) {
	for _, w := range workloads {
		if w.name == name {
			return w, nil
		}
	}
	return workload{}, fmt.Errorf("no workload is named %q", name)
}
