//go:build linux

package main

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
)

const (
	megabyte = 1 << 20

	objectSize = 4 << 10
	largeSize  = megabyte
	partSize   = 8 * megabyte
	uploadSize = 256 * megabyte
	pageSize   = 1000 // keys of a listing

	allObjects = 100_000 // that are listed and there at the start, unless -objects says otherwise

	// Of so many objects at most those that are read are chosen: 40 MB and
	// 64 MB, which no store's own cache holds and every page cache does.
	readObjects = 10_000
	readLarge   = 64
)

// The buckets of every server.
const (
	bucketObjects = "objects" // filled with objects of 4 KB, of which nothing changes
	bucketLarge   = "large"   // the same, of 1 MB
	bucketWritten = "written" // for what a workload writes
)

// A kind is what a client does.
type kind int

const (
	put kind = iota
	get
	list
	multipart
)

// A workload is what the clients do. They are a closed loop: each sends its next
// request when it has the whole answer to the last.
type workload struct {
	name    string
	kind    kind
	size    int // bytes of an object; of a multipart upload all parts together
	clients int // connections
	// check is of how many answers of a client one has its body compared; status,
	// length and ETag are compared always. Every one of the small ones; of the
	// large ones few, so that the generator leaves its core to the server.
	check int
}

// workloads in the order in which they are measured: those that read come first,
// before the others leave work behind.
var workloads = []workload{
	{name: "GET 4 KB, 1 client", kind: get, size: objectSize, clients: 1, check: 1},
	{name: "GET 4 KB, 32 clients", kind: get, size: objectSize, clients: 32, check: 1},
	{name: "GET 1 MB, 8 clients", kind: get, size: largeSize, clients: 8, check: 16},
	{name: "LIST 1,000 keys, 4 clients", kind: list, clients: 4, check: 1},
	{name: "PUT 4 KB, 1 client", kind: put, size: objectSize, clients: 1},
	{name: "PUT 4 KB, 32 clients", kind: put, size: objectSize, clients: 32},
	{name: "PUT 1 MB, 8 clients", kind: put, size: largeSize, clients: 8},
	{name: "multipart upload of 256 MB, 4 parts of 8 MiB at once", kind: multipart, size: uploadSize, clients: 4},
}

// startWork is the name under which -only takes memory and start.
const startWork = "start"

// workloadNamed finds a workload for a process that was given its name.
func workloadNamed(name string) (workload, error) {
	i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
	if i < 0 {
		return workload{}, fmt.Errorf("no workload is named %q", name)
	}
	return workloads[i], nil
}

// writes says whether a workload leaves something behind.
func (w workload) writes() bool { return w.kind == put || w.kind == multipart }

// of tells whether a server takes part: one of static files is read from only.
func (w workload) of(s server) bool { return s.s3 || w.kind == get }

// bucket is where its objects are.
func (w workload) bucket() string {
	switch {
	case w.writes():
		return bucketWritten
	case w.size == largeSize:
		return bucketLarge
	}
	return bucketObjects
}

// stored is how many objects it needs in its bucket, where objects is how many
// the bucket of those of 4 KB has in this run.
func (w workload) stored(objects int) int {
	switch {
	case w.writes():
		return 0
	case w.kind == list:
		return objects
	case w.size == largeSize:
		return readLarge
	}
	return min(objects, readObjects)
}

// key names the objects of a bucket, so that their order is that of their numbers.
func key(i int) string { return fmt.Sprintf("object-%08d", i) }

// bodies are the contents of objects of one size: several, so that an answer that
// belongs to another object is likely to be noticed. None of them compresses.
type bodies []body

type body struct {
	bytes  []byte
	etag   string // as a server sends it
	sha256 string
	md5    [md5.Size]byte
}

// variants is how many bodies there are of a size: fewer of those whose sums take
// long.
func variants(size int) int {
	if size > megabyte {
		return 4
	}
	return 16
}

func newBodies(size int) bodies {
	all := make(bodies, variants(size))
	const step = 64
	source := make([]byte, size+step*len(all))
	_, _ = rand.NewChaCha8([32]byte([]byte("the contents of all the objects."))).Read(source)
	for i := range all {
		b := source[i*step:][:size:size]
		sum, hash := md5.Sum(b), sha256.Sum256(b)
		all[i] = body{bytes: b, md5: sum, etag: `"` + hex.EncodeToString(sum[:]) + `"`, sha256: hex.EncodeToString(hash[:])}
	}
	return all
}

// of is the body of the object of a number.
func (b bodies) of(i int) body { return b[i%len(b)] }

// chosen is a number below n, picked by the seed of a round and the number of a
// request, evenly: the finaliser of MurmurHash3 over both.
func chosen(seed uint64, number int64, n int) int {
	x := seed*0x9e3779b97f4a7c15 + uint64(number)
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return int((x ^ x>>33) % uint64(n))
}
