package disk

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestRecentGivesWhatWasPutLastOrNothing(t *testing.T) {
	for _, size := range []int64{0, 64 << 10, 256 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRecent(size)
			random := rand.New(rand.NewPCG(1, uint64(size)))
			want := map[string]string{}
			found := 0
			for n := range 100_000 {
				key := fmt.Sprintf("c0001key-%d", random.IntN(3000))
				switch random.IntN(10) {
				case 0:
					r.drop([]byte(key))
					delete(want, key)
				case 1, 2, 3:
					value := strings.Repeat(fmt.Sprint(n, ","), random.IntN(60))
					r.put([]byte(key), []byte(value))
					want[key] = value
				default:
					got, ok := r.get([]byte("before "), []byte(key))
					if !ok {
						continue
					}
					found++
					if value, there := want[key]; !there || string(got) != "before "+value {
						t.Fatalf("the row of %s is %q, want %q, %v", key, got, value, there)
					}
				}
			}
			if (found == 0) != (size == 0) {
				t.Errorf("%d rows were found", found)
			}
			for i := range r.shards {
				if n := cap(r.shards[i].now.rows) + cap(r.shards[i].last.rows); n > 5*r.size {
					t.Errorf("a shard holds %d bytes, want about %d", n, 2*r.size)
				}
			}
		})
	}
}

func TestRecentKeepsNoLongRow(t *testing.T) {
	r := newRecent(4 << 20)
	key := []byte("key")
	r.put(key, []byte("short"))
	r.put(key, make([]byte, recentLongest))
	if got, ok := r.get(nil, key); ok {
		t.Errorf("it has %d bytes, want none", len(got))
	}
}

// Whoever is asked for is kept over the generations.
func TestRecentForgetsWhatNobodyAsksFor(t *testing.T) {
	r := newRecent(64 << 10)
	asked, ignored := []byte("asked for"), []byte("ignored")
	r.put(asked, []byte("1"))
	r.put(ignored, []byte("1"))
	for n := range 5000 {
		r.put(fmt.Appendf(nil, "row %d", n), make([]byte, 100))
		if _, ok := r.get(nil, asked); !ok {
			t.Fatalf("after %d rows it is forgotten", n)
		}
	}
	if _, ok := r.get(nil, ignored); ok {
		t.Error("what nobody asked for is there")
	}
}

// A read never gives what a write before it replaced, from wherever it has it.
func TestReadsSeeTheLastWriteOfAKey(t *testing.T) {
	s := open(t, vfs.NewMem(), Options{CacheSize: 256 << 10})
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(n)))
			for round := range 300 {
				key := fmt.Sprintf("%d/%d", n, random.IntN(20))
				want := fmt.Sprint(round)
				var err error
				if random.IntN(4) == 0 {
					want, err = "-", remove(t, s, key)
				} else {
					err = put(t, s, key, want)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if got := value(t, s, key); got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
					return
				}
				_, _ = s.Head(t.Context(), bucketName, fmt.Sprintf("%d/%d", random.IntN(8), random.IntN(20)), "")
			}
		})
	}
	all.Wait()
	agree(t, s)
}

func TestABodyReadsNothingOnceItIsClosed(t *testing.T) {
	s := open(t, vfs.NewMem(), Options{})
	if err := put(t, s, "k", "body"); err != nil {
		t.Fatal(err)
	}
	o, err := s.Get(t.Context(), bucketName, "k", "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // closing twice gives its buffer back once
		if err := o.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := o.Body.Read(make([]byte, 10)); n > 0 || err == nil {
		t.Errorf("it gave %d bytes, %v", n, err)
	}
}

func TestCountsOutliveARestart(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs, Options{})
	s.count(t.Context())
	for n := range 5 {
		if err := put(t, s, fmt.Sprint(n), "body"); err != nil {
			t.Fatal(err)
		}
	}
	reopen := func(fs *vfs.MemFS, change func(*Store)) *Store {
		t.Helper()
		if change != nil {
			change(s)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, fs, Options{})
		return s
	}
	check := func(counted bool, objects int64) {
		t.Helper()
		if st := s.Stats(); st.Counted != counted || counted && (st.Objects != objects || st.Bytes != 4*objects) {
			t.Errorf("it has %d objects of %d bytes, counted %v; want %d, %v", st.Objects, st.Bytes, st.Counted, objects, counted)
		}
	}
	reopen(fs, nil)
	check(true, 5)
	if err := remove(t, s, "0"); err != nil {
		t.Fatal(err)
	}
	reopen(fs, nil)
	check(true, 4)

	// The power fails: the counts of the process before say nothing any more.
	if err := put(t, s, "new", "body"); err != nil {
		t.Fatal(err)
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	reopen(crashed, nil)
	check(false, 0)
	s.count(t.Context())
	check(true, 5)

	// Nobody knows what a damaged record was counted for.
	reopen(crashed, func(s *Store) {
		row, _ := recordOf(t, s, "new")
		setRow(t, s, row, flip(3))
		if err := put(t, s, "new", "body"); err != nil {
			t.Fatal(err)
		}
	})
	check(false, 0)
	s.count(t.Context())
	check(true, 5)

	reopen(crashed, func(s *Store) {
		b := s.engine.DB().NewBatch()
		_ = b.Set(countsRow(), []byte("damaged"), nil)
		s.saveCounts()
		if err := s.engine.DB().Apply(b, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		s.counts.complete.Store(false) // so that Close leaves the row as it is
	})
	check(false, 0)
}
