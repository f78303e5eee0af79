package cache

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
)

// check looks through all of a cache: each slot finds its record and the other way
// round, and no more chunks are used than there may be.
func check(t testing.TB, c *Cache) {
	t.Helper()
	for n, s := range c.shards {
		alive := 0
		for _, q := range []*queue{&s.small, &s.main} {
			for i := range q.n {
				chunk := q.chunks[(q.first+i)%len(q.chunks)]
				for offset := 0; offset+headerSize <= chunkSize; {
					p := refTo(chunk, offset)
					r := s.at(p)
					if r.size() == 0 {
						break
					}
					if !r.dead() {
						alive++
						if got := s.slots[s.indexOf(p, r)].ref; got != p {
							t.Fatalf("shard %d: the record at %x is found at %x", n, p, got)
						}
					}
					offset += r.size()
				}
			}
		}
		if alive != s.used {
			t.Fatalf("shard %d: %d records, %d slots in use", n, alive, s.used)
		}
		if in := s.small.n + s.main.n + len(s.free); in != s.owned || s.owned > s.limit {
			t.Fatalf("shard %d: %d chunks in queues or free, %d owned, %d allowed", n, in, s.owned, s.limit)
		}
	}
}

func address(t testing.TB, name string, ttl uint32) Entry {
	t.Helper()
	return Entry{Kind: Records, Rank: RankAnswer, TTL: ttl, Source: "ns", Records: []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: []byte{192, 0, 2, 1},
	}}}
}

func TestAFloodOfNamesNeitherGrowsTheCacheNorEvictsThePopular(t *testing.T) {
	c, now := newCache(t, nil)
	popular := make([]string, 100)
	for i := range popular {
		popular[i] = fmt.Sprintf("popular%d.example.com.", i)
		c.Put(popular[i], dns.TypeA, address(t, popular[i], 86400))
		for range 3 {
			ask(t, c, *now, popular[i], dns.TypeA, nil)
		}
	}
	lost := 0
	for i := range 100_000 {
		name := fmt.Sprintf("%x.flood.example.org.", rand.Uint64())
		c.Put(name, dns.TypeA, address(t, name, 86400))
		if i%50 == 0 { // one client in fifty wants what everybody wants
			if _, _, ok := ask(t, c, *now, popular[i/50%100], dns.TypeA, nil); !ok {
				lost++
			}
		}
	}
	check(t, c)
	st := c.Stats()
	if st.Bytes > MinBytes || st.MaxBytes > MinBytes || st.Entries > 20_000 {
		t.Errorf("%d entries take %d of %d octets", st.Entries, st.Bytes, st.MaxBytes)
	}
	if st.Entries < 5_000 || st.Evicted == 0 {
		t.Errorf("%d entries are kept, %d were evicted", st.Entries, st.Evicted)
	}
	if lost > 0 {
		t.Errorf("%d times a popular name was gone", lost)
	}
}

func TestEntriesOfEverySizeFindTheirPlace(t *testing.T) {
	c, now := newCache(t, nil)
	var names []string
	for i := range 2000 {
		name := fmt.Sprintf("n%d.example.com.", rand.IntN(300))
		names = append(names, name)
		e := address(t, name, uint32(rand.IntN(1000)))
		for range rand.IntN(1 << rand.IntN(11)) {
			e.Records = append(e.Records, e.Records[0])
		}
		for range rand.IntN(5) {
			c.Get(names[rand.IntN(len(names))], dns.TypeA)
		}
		c.Put(name, dns.TypeA, e)
		if rand.IntN(10) == 0 {
			c.Remove(names[rand.IntN(len(names))])
		}
		if i%100 == 0 {
			check(t, c)
			*now = now.Add(10 * time.Second)
		}
	}
	check(t, c)
	t.Run("what is larger than a chunk is not kept, and counted", func(t *testing.T) {
		e := address(t, "large.", 60)
		for range 3000 {
			e.Records = append(e.Records, e.Records[0])
		}
		c.Put("large.", dns.TypeA, e)
		if _, s := c.Get("large.", dns.TypeA); s != Missing || c.Stats().TooLarge != 1 {
			t.Errorf("it is %s; %d were counted", s, c.Stats().TooLarge)
		}
	})
}

func TestANameThatComesBackSkipsTheSmallQueue(t *testing.T) {
	c, _ := newCache(t, nil)
	s := c.shards[0]
	put := func(name string) { c.Put(name, dns.TypeA, address(t, name, 86400)) }
	find := func(name string) int {
		wire, err := wireName(name)
		if err != nil {
			t.Fatal(err)
		}
		_, h := c.shardOf(wire)
		return s.find(keyHash(h, dns.TypeA, false), wire, dns.TypeA, false)
	}
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("back%d.", i))
		put(names[i])
	}
	for i := 0; slices.ContainsFunc(names, func(n string) bool { return find(n) >= 0 }); i++ {
		put(fmt.Sprintf("n%d.flood.example.org.", i))
		if i > 100_000 {
			t.Fatal("they never leave")
		}
	}
	skipped := 0
	for _, name := range names {
		put(name)
		chunk := s.slots[find(name)].ref.chunk()
		for i := range s.main.n {
			if s.main.chunks[(s.main.first+i)%len(s.main.chunks)] == chunk {
				skipped++
			}
		}
	}
	// An eighth is forgotten: others that left at the same time took its place.
	if skipped < len(names)/2 {
		t.Errorf("%d of %d are in the main queue", skipped, len(names))
	}
}

func TestManyReadAndWriteAtOnce(t *testing.T) {
	c, now := newCache(t, nil)
	at := *now
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3000 {
				name := fmt.Sprintf("n%d.example.com.", rand.IntN(20_000))
				if rand.IntN(3) == 0 {
					c.Put(name, dns.TypeA, address(t, name, 60))
				}
				ask(t, c, at, name, dns.TypeA, nil)
				switch rand.IntN(100) {
				case 0:
					c.Remove(name)
				case 1:
					c.Dump(name)
				case 2:
					c.Stats()
				default:
					c.Get(name, dns.TypeAAAA)
				}
			}
		})
	}
	all.Wait()
	check(t, c)
}

func TestShards(t *testing.T) {
	for size, shards := range map[int64]int{1: 1, 1 << 20: 1, 3 << 20: 2, 64 << 20: 32, 1 << 30: 32} {
		c := New(Config{MaxBytes: size})
		if len(c.shards) != shards {
			t.Errorf("%d octets: %d shards, expected %d", size, len(c.shards), shards)
		}
		if st := c.Stats(); st.MaxBytes > max(size, MinBytes) || st.MaxBytes < max(size, MinBytes)*9/10 {
			t.Errorf("%d octets: %d may be used", size, st.MaxBytes)
		}
		c.Put("a.", dns.TypeA, address(t, "a.", 60))
		if _, s := c.Get("a.", dns.TypeA); s != Fresh {
			t.Errorf("%d octets: nothing is kept", size)
		}
	}
}

// resident returns how much memory the process has, in octets.
func resident(t testing.TB) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("needs /proc")
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func TestAHundredThousandNamesTakeLittleMemory(t *testing.T) {
	debug.FreeOSMemory() // what other tests left
	before := resident(t)
	c := New(Config{})
	for i := range 100_000 {
		name := fmt.Sprintf("host-%d.some-zone-%d.example.com.", i, i%1000)
		c.Put(name, dns.TypeA, address(t, name, 3600))
	}
	if n := c.Stats().Entries; n != 100_000 {
		t.Errorf("%d entries are kept", n)
	}
	debug.FreeOSMemory() // what the names took before they were packed
	grown := resident(t) - before
	t.Logf("%d octets for each entry; the process grew by %d MiB", c.Stats().Bytes/100_000, grown>>20)
	if grown > 60<<20 {
		t.Errorf("the process grew by %d MiB", grown>>20)
	}
}

func BenchmarkAnswerFast(b *testing.B) {
	c := New(Config{})
	now := time.Now()
	for _, e := range []struct{ name, qtype, text string }{
		{"www.example.com.", "A", "answer ns: www.example.com. 60 IN A 192.0.2.1"},
		{"alias.example.com.", "CNAME", "answer ns: alias.example.com. 60 IN CNAME www.example.com."},
		{"gone.example.com.", "A", "answer dns-com: NXDOMAIN " + soa},
	} {
		c.Put(e.name, dns.StringToType[e.qtype], entry(b, e.text))
	}
	for kind, name := range map[string]string{"address": "www.example.com.", "alias": "alias.example.com.", "nxdomain": "gone.example.com.", "cut": "a.b.gone.example.com.", "unknown": "unknown.example.com."} {
		b.Run(kind, func(b *testing.B) {
			run := asker(b, c, now, name)
			b.ReportAllocs()
			for b.Loop() {
				if run() == (kind == "unknown") {
					b.Fatal("answered wrongly")
				}
			}
		})
	}
	b.Run("thousand", func(b *testing.B) {
		var runs []func() bool
		for i := range 1000 {
			name := fmt.Sprintf("n%d.example.com.", i)
			c.Put(name, dns.TypeA, address(b, name, 3600))
			runs = append(runs, asker(b, c, now, name))
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			runs[i%1000]()
			i++
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			run := asker(b, c, now, "www.example.com.")
			for pb.Next() {
				run()
			}
		})
	})
}

func BenchmarkPut(b *testing.B) {
	c := New(Config{})
	names := make([]string, 1<<20)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.example.com.", i)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		name := names[i&(1<<20-1)]
		c.Put(name, dns.TypeA, address(b, name, 3600))
		i++
	}
}

var _ server.Fast = (*Cache)(nil)
