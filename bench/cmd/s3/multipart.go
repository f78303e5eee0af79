//go:build linux

package main

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"minicloud.internal/bench/internal/proc"
)

// uploads runs multipart uploads, one after another, until the time is over and
// the last has ended; what is counted are whole ones.
func (g *generator) uploads(ready io.Writer) error {
	u := uploader{g: g, callers: make([]caller, g.workload.clients)}
	for i := range u.callers {
		u.callers[i].address = g.spec.Address
		defer u.callers[i].hangUp()
	}
	if g.spec.Warmup > 0 {
		if err := u.upload("warm-up"); err != nil {
			return g.give(err)
		}
	}
	fmt.Fprintln(ready, proc.ReadyLine)
	before, err := g.clocks()
	if err != nil {
		return err
	}
	began := time.Now()
	for i := 0; i == 0 || time.Since(began) < g.spec.Duration; i++ {
		at := time.Now()
		if err := u.upload(strconv.Itoa(i)); err != nil {
			return g.give(err)
		}
		g.latency.Record(time.Since(at))
	}
	g.result.Requests, g.result.P50, g.result.P99 = g.latency.Total(), g.latency.Quantile(0.50), g.latency.Quantile(0.99)
	return g.account(before, began)
}

// An uploader makes one upload at a time, with the parts spread over its callers.
type uploader struct {
	g       *generator
	callers []caller
}

// number is how many parts there are.
func (u *uploader) number() int { return u.g.workload.size / partSize }

// upload makes one whole upload.
func (u *uploader) upload(name string) error {
	for i := range u.callers {
		u.callers[i].extend(time.Now().Add(4 * proc.Patience))
	}
	path := fmt.Sprintf("/%s/upload-%d-%s", u.g.workload.bucket(), u.g.spec.Seed, name)
	begin := u.g.signer.request(http.MethodPost, path, url.Values{"uploads": {""}}, nil, "")
	var begun struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		UploadID string   `xml:"UploadId"`
	}
	if err := u.call(&begin, &begun); err != nil {
		return fmt.Errorf("begin an upload: %w", err)
	}
	if err := u.parts(path, begun.UploadID); err != nil {
		return err
	}
	text, etag := completion(u.g.bodies, u.number())
	end := u.g.signer.request(http.MethodPost, path, url.Values{"uploadId": {begun.UploadID}}, text, "")
	var ended struct {
		XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
		ETag    string   `xml:"ETag"`
	}
	if err := u.call(&end, &ended); err != nil {
		return fmt.Errorf("complete an upload: %w", err)
	}
	if got := strings.Trim(ended.ETag, `"`); got != etag {
		return fmt.Errorf("the ETag %s of an upload, expected %s", got, etag)
	}
	u.g.result.Checked++
	u.g.result.Stored += int64(u.g.workload.size)
	return nil
}

// call makes a request and reads the XML of its answer.
func (u *uploader) call(r *request, into any) error {
	body, err := u.callers[0].call(r)
	if err != nil {
		return err
	}
	return xml.Unmarshal(body, into)
}

// parts sends all of them.
func (u *uploader) parts(path, id string) error {
	var next atomic.Int64
	errs := make([]error, len(u.callers))
	var all sync.WaitGroup
	for i := range u.callers {
		all.Go(func() {
			for n := int(next.Add(1)); n <= u.number() && errs[i] == nil; n = int(next.Add(1)) {
				b := u.g.bodies.of(n)
				query := url.Values{"partNumber": {strconv.Itoa(n)}, "uploadId": {id}}
				r := u.g.signer.request(http.MethodPut, path, query, b.bytes, b.sha256)
				r.want.etag = b.etag
				if _, err := u.callers[i].call(&r); err != nil {
					errs[i] = fmt.Errorf("part %d: %w", n, err)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// completion is the document that names the n parts, and the ETag of the object
// that becomes of them: the MD5 of their MD5s, and their number.
func completion(all bodies, n int) (text []byte, etag string) {
	sums := md5.New()
	text = []byte("<CompleteMultipartUpload>")
	for i := 1; i <= n; i++ {
		b := all.of(i)
		_, _ = sums.Write(b.md5[:])
		text = fmt.Appendf(text, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i, b.etag)
	}
	return append(text, "</CompleteMultipartUpload>"...), fmt.Sprintf("%s-%d", hex.EncodeToString(sums.Sum(nil)), n)
}
