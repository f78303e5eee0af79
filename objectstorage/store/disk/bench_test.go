package disk

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"minicloud.internal/objectstorage/store"
)

const clients = 32

func openBench(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	if err := s.CreateBucket(b.Context(), store.Bucket{Name: bucketName}); err != nil {
		b.Fatal(err)
	}
	return s
}

// fill puts n objects of a size.
func fill(b *testing.B, s *Store, n, size int) {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	body := random(size)
	for range 256 { // many share an fsync
		all.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if err := putSized(b, s, fmt.Sprintf("dir-%03d/object-%07d", i%100, i), body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// putSized puts as a door does that knows the length.
func putSized(b *testing.B, s *Store, key, body string) error {
	u, err := s.Stage(b.Context(), strings.NewReader(body), int64(len(body)))
	if err != nil {
		return err
	}
	_, _, err = u.Commit(b.Context(), bucketName, key, store.Attributes{ContentType: "text/plain"}, store.Condition{})
	return err
}

func benchmarkPut(b *testing.B, size int) {
	s := openBench(b)
	body := random(size)
	b.SetParallelism(clients / runtime.GOMAXPROCS(0))
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var n atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := putSized(b, s, fmt.Sprintf("object-%07d", n.Add(1)), body); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	m := s.engine.DB().Metrics()
	written := m.WAL.BytesWritten
	for _, l := range m.Levels {
		written += l.TableBytesFlushed + l.TableBytesCompacted + l.BlobBytesFlushed
	}
	b.ReportMetric(float64(written)/float64(int64(b.N)*int64(size)), "db-bytes/byte")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
}

func BenchmarkPut4K(b *testing.B)  { benchmarkPut(b, 4<<10) }
func BenchmarkPut16K(b *testing.B) { benchmarkPut(b, 16<<10) }
func BenchmarkPut32K(b *testing.B) { benchmarkPut(b, 32<<10) }
func BenchmarkPut64K(b *testing.B) { benchmarkPut(b, 64<<10) }
func BenchmarkPut1M(b *testing.B)  { benchmarkPut(b, 1<<20) }

func BenchmarkPut4KAlone(b *testing.B) {
	s := openBench(b)
	body := random(4 << 10)
	for n := 0; b.Loop(); n++ {
		if err := putSized(b, s, fmt.Sprintf("object-%07d", n), body); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkGet(b *testing.B, count, size int) {
	s := openBench(b)
	fill(b, s, count, size)
	b.SetParallelism(clients / runtime.GOMAXPROCS(0))
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var n atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			i := int(n.Add(7919))%count + 1
			o, err := s.Get(b.Context(), bucketName, fmt.Sprintf("dir-%03d/object-%07d", i%100, i), "")
			if err != nil {
				b.Error(err)
				return
			}
			if k, err := io.Copy(io.Discard, o.Body); err != nil || k != int64(size) {
				b.Errorf("%d bytes, %v", k, err)
			}
			_ = o.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "gets/s")
}

func BenchmarkGet4K(b *testing.B) { benchmarkGet(b, 10_000, 4<<10) }
func BenchmarkGet1M(b *testing.B) { benchmarkGet(b, 100, 1<<20) }

func BenchmarkListAndOpen100k(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.CreateBucket(b.Context(), store.Bucket{Name: bucketName}); err != nil {
		b.Fatal(err)
	}
	const n = 100_000
	fill(b, s, n, 100)
	b.Run("List1000", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p, err := s.List(b.Context(), bucketName, store.Query{After: fmt.Sprintf("dir-%03d/", i%90), Limit: 1000})
			if err != nil || len(p.Objects) != 1000 {
				b.Fatalf("%d objects, %v", len(p.Objects), err)
			}
		}
	})
	b.Run("ListDelimiter", func(b *testing.B) {
		for b.Loop() {
			p, err := s.List(b.Context(), bucketName, store.Query{Delimiter: "/", Limit: 1000})
			if err != nil || len(p.Prefixes) != 100 {
				b.Fatalf("%d prefixes, %v", len(p.Prefixes), err)
			}
		}
	})
	b.Run("Head", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			k := i*7919%n + 1
			if _, err := s.Head(b.Context(), bucketName, fmt.Sprintf("dir-%03d/object-%07d", k%100, k), ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			if s, err = Open(dir, Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
