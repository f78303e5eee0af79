//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"minicloud.internal/bench/internal/proc"
)

// filling is how many clients fill a server at once.
const filling = 48

// fill makes the buckets of a server and the objects that are read.
func fill(spec loadSpec) error {
	s, deadline := signer{spec.Address}, time.Now().Add(fillTime)
	first := caller{address: spec.Address, deadline: deadline}
	defer first.hangUp()
	for _, bucket := range []string{bucketObjects, bucketLarge, bucketWritten} {
		r := s.request(http.MethodPut, "/"+bucket, nil, nil, "")
		if _, err := first.call(&r); err != nil {
			return fmt.Errorf("create the bucket %s: %w", bucket, err)
		}
	}
	small, large := newBodies(objectSize), newBodies(largeSize)
	var next atomic.Int64
	errs := make([]error, filling)
	var all sync.WaitGroup
	for i := range filling {
		c := caller{address: spec.Address, deadline: deadline}
		all.Go(func() {
			defer c.hangUp()
			for errs[i] == nil {
				n := int(next.Add(1) - 1)
				var r request
				switch {
				case n < spec.Objects:
					r = s.put(bucketObjects, key(n), small.of(n))
				case n < spec.Objects+spec.Large:
					n -= spec.Objects
					r = s.put(bucketLarge, key(n), large.of(n))
				default:
					return
				}
				_, errs[i] = c.call(&r)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// fillTime bounds it: 100,000 objects at 160 a second.
const fillTime = 60 * proc.Patience
