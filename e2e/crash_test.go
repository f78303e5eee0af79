package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// crashRounds is how often the object store is killed; `make crash-s3` says more.
var crashRounds = flag.Int("crash-rounds", 5, "how often TestKilledObjectStorage kills the object store")

// The object store is killed at random moments under a mixed load. After each
// start every acknowledged object reads back byte for byte, a write whose answer
// was lost is there whole or not at all, and the lists agree with what is read.
//
// Each writer has keys of its own, so that it knows what they hold; only the
// contest for one key, by conditional writes, is shared.
func TestKilledObjectStorage(t *testing.T) {
	s := newStorage(t, `buckets = ["files", "crash", "versions"]`, `scrub_interval = "1s"`, `lifecycle_interval = "1s"`)
	s.start(t)
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	defer transport.CloseIdleConnections()
	hc := &http.Client{Transport: transport, Timeout: patience}
	c := &crash{storage: s, http: hc, s3: newS3("http://"+s.address, hc, pathStyle)}
	if _, err := c.s3.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String(versionsBucket),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	const writers = 8
	for n := range writers {
		c.writers = append(c.writers, newWriter(c, n))
	}
	for round := range *crashRounds {
		c.round(t, round)
		if t.Failed() {
			return
		}
		if round%25 == 24 {
			t.Logf("killed %d times so far: %d writes acknowledged, and all there", round+1, c.acknowledged.Load())
		}
	}
	objects := 0
	for _, w := range c.writers {
		objects += w.present()
	}
	t.Logf("killed %d times, and %d times while it started; %d writes acknowledged, %d in doubt (%d of them happened); %d objects are there",
		*crashRounds, c.earlyKills, c.acknowledged.Load(), c.doubtful.Load(), c.happened.Load(), objects)
}

const (
	crashBucket    = "crash"
	versionsBucket = "versions"
)

// crash is what the writers share.
type crash struct {
	storage *storage
	http    *http.Client
	s3      *s3.Client
	writers []*writer

	started, acknowledged, doubtful, happened atomic.Int64
	earlyKills                                int
	killed                                    atomic.Bool // from just before the kill to the next start

	mu       sync.Mutex
	contests map[string]*contest
}

// round writes until the store is killed, starts it again, and looks.
func (c *crash) round(t *testing.T, round int) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c.mu.Lock()
	c.contests = map[string]*contest{}
	c.mu.Unlock()
	c.started.Store(0)
	var group sync.WaitGroup
	for _, w := range c.writers {
		group.Go(func() {
			for ctx.Err() == nil && !c.killed.Load() {
				w.step(ctx, t, round)
			}
		})
	}
	// The moment: when so many requests have begun, and a little later.
	after := 10 + rand.Int64N(500)
	eventually(t, "requests are sent", func() error {
		if n := c.started.Load(); n < after && !t.Failed() {
			return fmt.Errorf("%d of %d", n, after)
		}
		return nil
	})
	little := time.NewTimer(rand.N(20 * time.Millisecond))
	<-little.C
	c.killed.Store(true)
	c.storage.kill()
	stop()
	group.Wait()
	c.http.CloseIdleConnections()
	if round%4 == 3 { // recovery is cut off too
		c.storage.launch(t)
		little.Reset(rand.N(60 * time.Millisecond))
		<-little.C
		c.storage.kill()
		c.earlyKills++
	}
	c.storage.start(t)
	c.killed.Store(false)
	c.check(t, round)
}

// check compares what is there with what was promised.
func (c *crash) check(t *testing.T, round int) {
	var group sync.WaitGroup
	for _, w := range c.writers {
		group.Go(func() { w.check(t, round) })
	}
	group.Wait()
	for key, contest := range c.contests {
		contest.check(t, c, round, key)
	}
	if t.Failed() {
		return
	}
	want := map[string]*content{}
	for _, w := range c.writers {
		for key, state := range w.keys {
			if state.now() != nil && !strings.HasPrefix(key, "files/") {
				want[key] = state.now()
			}
		}
	}
	seen := 0
	last := ""
	pages := s3.NewListObjectsV2Paginator(c.s3, &s3.ListObjectsV2Input{Bucket: aws.String(crashBucket), MaxKeys: aws.Int32(100), Prefix: aws.String("w")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("round %d: list: %v", round, err)
		}
		for _, o := range page.Contents {
			seen++
			if w := want[*o.Key]; w == nil || int64(w.size) != aws.ToInt64(o.Size) || *o.Key <= last {
				t.Errorf("round %d: the list has %s with %d bytes behind %s, expected %v", round, *o.Key, aws.ToInt64(o.Size), last, w)
			}
			last = *o.Key
		}
	}
	if seen != len(want) {
		t.Errorf("round %d: the list has %d objects, expected %d", round, seen, len(want))
	}
}

// A contest is for one key, which each writer wants to create. It is emptied with
// its round.
type contest struct {
	mu      sync.Mutex
	entered []*content
	winners []*content // acknowledged: at most one
}

func (c *crash) contest(key string) *contest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.contests[key] == nil {
		c.contests[key] = &contest{}
	}
	return c.contests[key]
}

func (x *contest) check(t *testing.T, c *crash, round int, key string) {
	if len(x.winners) > 1 {
		t.Errorf("round %d: %d writers were told that they created %s", round, len(x.winners), key)
	}
	got, err := c.read(t.Context(), crashBucket, key, "", append(slices.Clone(x.entered), nil))
	switch {
	case err != nil:
		t.Errorf("round %d: %s holds none of the %d bodies that it was to be created with: %v", round, key, len(x.entered), err)
	case len(x.winners) == 1 && got != x.winners[0]:
		t.Errorf("round %d: %s holds %v, but %v was acknowledged", round, key, got, x.winners[0])
	}
	if _, err := c.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(crashBucket), Key: &key}); err != nil {
		t.Errorf("round %d: delete %s: %v", round, key, err)
	}
}
