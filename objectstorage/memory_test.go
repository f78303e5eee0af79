package objectstorage

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"testing"
)

// generated is a body of so many bytes that looks at the heap as it goes.
type generated struct {
	left int64
	peak uint64
	last int64
}

func (g *generated) Read(p []byte) (int, error) {
	if g.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), g.left))
	for i := range p[:n] {
		p[i] = byte((g.left - int64(i)) >> 12)
	}
	g.left -= int64(n)
	g.look(g.left)
	return n, nil
}

func (g *generated) look(at int64) {
	if g.last-at > 8<<20 || g.last == 0 {
		g.last = at
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		g.peak = max(g.peak, m.HeapInuse)
	}
}

func TestABodyPassesInConstantMemory(t *testing.T) {
	const size, bound = 256 << 20, 32 << 20
	r := run(t, nil, nil)
	r.put(t, "/files/warm", "up")
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	body := &generated{left: size}
	if a := r.do(t, http.MethodPut, "/files/big", body); a.status != 201 {
		t.Fatalf("PUT: %+v", a)
	}
	if grown := int64(body.peak) - int64(before.HeapInuse); grown > bound {
		t.Errorf("a PUT of %d MiB took %d MiB of heap", size>>20, grown>>20)
	}
	resp, err := r.client.Get(r.url + "/files/big")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	want := &generated{left: size}
	got, expected := make([]byte, 1<<20), make([]byte, 1<<20)
	for want.left > 0 {
		if _, err := io.ReadFull(resp.Body, got); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(want, expected); err != nil || !bytes.Equal(got, expected) {
			t.Fatalf("the bytes before the last %d are others, %v", want.left, err)
		}
	}
	if grown := int64(want.peak) - int64(before.HeapInuse); grown > bound {
		t.Errorf("a GET of %d MiB took %d MiB of heap", size>>20, grown>>20)
	}
}
