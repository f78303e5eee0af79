//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
)

// tooMany errors end a run: it has failed anyway.
const tooMany = 20

// A loadSpec is what the generator's process is asked to do.
type loadSpec struct {
	Workload string // empty: fill the server
	Address  string
	ETags    bool          // the server knows those of S3
	Warmup   time.Duration // not counted; begins when all clients have an answer
	Duration time.Duration
	Server   []int  // the processes whose CPU time is read, by the generator itself
	Objects  int    // of 4 KB, in their bucket
	Large    int    // of 1 MB
	Seed     uint64 // of this round: what is read, and the names of what is written
	// Prepare is how many requests are signed before anything is sent, so that
	// signing takes no time from the server. Further ones are signed when they
	// are due.
	Prepare int
}

// A loadResult is what it found.
type loadResult struct {
	Requests int64 // answered within Elapsed
	Elapsed  time.Duration
	P50, P99 time.Duration
	// CPU time within Elapsed; Machine is that of all there is, interrupts and
	// what the hypervisor kept back included.
	Server, Generator, Machine time.Duration

	Checked    int64 // answers of the whole run, every one of them as expected
	Stored     int64 // bytes that it has sent, of objects that were acknowledged
	Errors     int64
	FirstError string
}

// loadMain is the generator's process. It prints a line when the warm-up is
// over, and its result as JSON.
func loadMain(arg string) error {
	var spec loadSpec
	if err := json.Unmarshal([]byte(arg), &spec); err != nil {
		return err
	}
	if spec.Workload == "" {
		return fill(spec)
	}
	w, err := workloadNamed(spec.Workload)
	if err != nil {
		return err
	}
	// A collection in the middle would be a pause that no server is to blame for.
	debug.SetGCPercent(-1)
	g := newGenerator(w, spec)
	if w.kind == multipart {
		err = g.uploads(os.Stdout)
	} else {
		g.prepare(spec.Prepare)
		err = g.run(os.Stdout)
	}
	if err != nil && !errors.Is(err, errFailed) {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(g.result)
}

// errFailed ends a run early; what happened stands in the result.
var errFailed = errors.New("too many errors")

// A generator runs a workload once: one thread around one epoll instance, which
// spends a few microseconds per request, nearly all of it in the kernel.
type generator struct {
	workload workload
	spec     loadSpec
	signer   signer
	bodies   bodies
	prepared []request
	next     int64 // the number of the next request

	epoll     int
	clients   []client
	fresh     int // clients without an answer
	active    int // clients with a request under way
	buf       []byte
	stopping  bool // no further request
	measuring bool
	latency   report.Histogram
	result    loadResult
}

// A client is one connection.
type client struct {
	index   int
	fd      int      // -1 while it has none
	out     [][]byte // of the request, what was not sent yet
	small   []byte   // a small request, as one piece
	want    want
	kept    bool // the body of this answer is kept and compared
	reply   reply
	began   time.Time
	answers int
}

func newGenerator(w workload, spec loadSpec) *generator {
	g := &generator{workload: w, spec: spec, signer: signer{spec.Address}, epoll: -1, buf: make([]byte, 64<<10)}
	if w.size > 0 {
		g.bodies = newBodies(min(w.size, partSize))
	}
	return g
}

// prepare signs the first n requests, on all cores.
func (g *generator) prepare(n int) {
	g.prepared = make([]request, n)
	var all sync.WaitGroup
	threads := runtime.GOMAXPROCS(0)
	for t := range threads {
		all.Go(func() {
			for i := t; i < n; i += threads {
				g.prepared[i] = g.request(int64(i))
			}
		})
	}
	all.Wait()
}

// request makes the request of a number.
func (g *generator) request(n int64) request {
	w := g.workload
	switch w.kind {
	case put:
		return g.signer.put(w.bucket(), fmt.Sprintf("%d-%d-%08d", w.size, g.spec.Seed, n), g.bodies.of(int(n)))
	case get:
		i := chosen(g.spec.Seed, n, w.stored(g.spec.Objects))
		return g.signer.get(w.bucket(), key(i), g.bodies.of(i), g.spec.ETags)
	default:
		return g.signer.list(w.bucket(), chosen(g.spec.Seed, n, g.spec.Objects-pageSize))
	}
}

// account notes what was used since then.
func (g *generator) account(before [3]time.Duration, began time.Time) error {
	g.result.Elapsed = time.Since(began)
	after, err := g.clocks()
	g.result.Server, g.result.Generator, g.result.Machine = after[0]-before[0], after[1]-before[1], after[2]-before[2]
	return err
}

// clocks reads the CPU time of the server, the generator and the machine.
func (g *generator) clocks() (t [3]time.Duration, err error) {
	if t[0], err = proc.CPU(g.spec.Server); err != nil {
		return t, err
	}
	if t[1], err = proc.CPU([]int{os.Getpid()}); err != nil {
		return t, err
	}
	t[2], err = proc.MachineCPU()
	return t, err
}

// give counts an error; it returns errFailed.
func (g *generator) give(err error) error {
	if g.result.Errors++; g.result.FirstError == "" {
		g.result.FirstError = err.Error()
	}
	return errFailed
}
